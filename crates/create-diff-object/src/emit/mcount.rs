//! Lists the calls of `__fentry__` in `__mcount_loc` where nothing else will: in an object that goes into a
//! module as it is, without objtool or `recordmcount` behind. ftrace makes them NOPs when the module
//! loads. `recordmcount` (`scripts/recordmcount.c`) itself overlooks functions that have sections of their
//! own, and makes their calls NOPs; these become calls again, which is what ftrace expects of an entry.

use std::collections::HashSet;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;

use crate::check::FENTRY_WITHIN;
use crate::normalize::sections::FENTRY;
use crate::normalize::sections::MCOUNT_LOC;

/// Size of an entry: the address of a call instruction.
const ENTRY: usize = 8;

/// `call`, the distance empty.
const CALL: [u8; 5] = [0xe8, 0, 0, 0, 0];
/// What `recordmcount` and objtool put there.
const NOP: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/// Adds the entries that `object`, as [`crate::Difference::emit`] writes it, lacks.
pub fn complete(object: &mut ObjectFile) {
    let missing = missing(object);
    if missing.is_empty() {
        return;
    }
    let table = object.section_by_name(MCOUNT_LOC);
    let table =
        table.unwrap_or_else(|| object.add_section(Section::progbits(MCOUNT_LOC, ALLOC, 8)));
    for (section, call) in missing {
        restore(&mut object.sections[section.0 as usize], call);
        let symbol = section_symbol(object, section);
        let table = &mut object.sections[table.0 as usize];
        let at = table.data.len();
        table.data.resize(at + ENTRY, 0);
        table.size = table.data.len() as u64;
        let (offset, addend) = (at as u64, call as i64);
        table.relocations.push(Relocation { offset, kind: RelocationKind::ABS64, symbol, addend });
    }
}

/// Makes a NOP a call again.
fn restore(section: &mut Section, call: u64) {
    let field = call + 1;
    let relocation = section.relocations.iter_mut().find(|r| r.offset == field);
    let Some(relocation) = relocation.filter(|r| r.kind == RelocationKind::NONE) else { return };
    relocation.kind = RelocationKind::PC32;
    relocation.addend = field as i64 - (call as i64 + CALL.len() as i64);
    section.data[call as usize..][..CALL.len()].copy_from_slice(&CALL);
}

fn section_symbol(object: &mut ObjectFile, section: SectionId) -> SymbolId {
    let is_it =
        |symbol: &Symbol| symbol.kind == SymbolKind::Section && symbol.section() == Some(section);
    if let Some((id, _)) = object.symbols_with_ids().find(|(_, symbol)| is_it(symbol)) {
        return id;
    }
    object.add_symbol(Symbol {
        kind: SymbolKind::Section,
        definition: Definition::Section(section),
        ..Symbol::undefined("", Binding::Local)
    })
}

/// Whether a field is that of a call of `__fentry__`, or was.
fn is_fentry(object: &ObjectFile, section: SectionId, field: &Relocation) -> bool {
    let call = field.offset.checked_sub(1).and_then(|call| usize::try_from(call).ok());
    let is = |code: [u8; 5]| {
        call.and_then(|call| object[section].data.get(call..)?.get(..code.len())) == Some(&code)
    };
    let form = match field.kind {
        RelocationKind::NONE => is(NOP),
        kind => kind.is_pc_relative() && is(CALL),
    };
    form && object[field.symbol].name == FENTRY
}

/// Section and offset of each call at the beginning of a function that is not listed.
fn missing(object: &ObjectFile) -> Vec<(SectionId, u64)> {
    let listed: HashSet<(SectionId, i64)> = object
        .sections
        .iter()
        .filter(|section| section.name == MCOUNT_LOC)
        .flat_map(|section| &section.relocations)
        .filter_map(|r| {
            let symbol = &object[r.symbol];
            Some((symbol.section()?, (symbol.value as i64).wrapping_add(r.addend)))
        })
        .collect();
    let functions = object.symbols.iter().filter(|symbol| symbol.kind == SymbolKind::Function);
    let mut missing: Vec<(SectionId, u64)> = functions
        .filter_map(|function| {
            let section = function.section().filter(|id| object[*id].has(EXEC))?;
            let start = function.value;
            let fields = start..start.saturating_add(FENTRY_WITHIN + 1);
            let mut fields = object[section].relocations_in(fields).iter();
            let field = fields.find(|field| is_fentry(object, section, field))?;
            let call = field.offset - 1;
            (!listed.contains(&(section, call as i64))).then_some((section, call))
        })
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

//! Resolves every relocation to what it means: a symbol of another object, or an atom of this one with
//! an offset into it. A PC-relative field counts from the end of its instruction, so code is decoded
//! here; that also finds the branches that the assembler resolved by itself.

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::FlowControl;
use iced_x86::Instruction;
use iced_x86::Mnemonic;
use iced_x86::OpKind;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::Atoms;
use crate::normalize::resolved;
use crate::normalize::resolved::Resolved;
use crate::normalize::sections::ALTINSTRUCTIONS;
use crate::normalize::sections::Class;
use crate::normalize::sections::alt_replacement_len;
use crate::normalize::sections::classify;

/// Fewer sections than this are not worth a thread's attention.
const PER_THREAD: usize = 64;

/// What a relocation refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// An undefined, absolute or common symbol.
    Extern(SymbolId),
    /// A piece of this object.
    Atom(AtomId),
    /// A place in a section that has no atoms (a table, say).
    Section(SectionId),
    /// Nothing: a replacement of no bytes, or (without a symbol) a fixed address.
    Nothing,
}

/// A relocation with its meaning, or what would be one if the assembler had not resolved it.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// Where, in bytes from the start of the section.
    pub offset: u64,
    /// How the field is filled.
    pub kind: RelocationKind,
    /// What it refers to.
    pub target: Target,
    /// How far behind the target's origin, once `bias` is taken off.
    pub delta: i64,
    /// What the addend holds besides: minus the distance from the field to the end of the instruction
    /// for PC-relative fields in code, else 0.
    pub bias: i64,
    /// Whether the field is the target of a call or jump.
    pub branch: bool,
    /// The symbol that the relocation names.
    pub symbol: SymbolId,
}

/// The decoded facts of a code section.
#[derive(Debug, Default)]
pub struct Code {
    /// For each field offset that lies in an instruction with relocation, in ascending order: the end of
    /// the instruction and whether it is a branch.
    fields: Vec<(u64, (u64, bool))>,
    /// What the assembler resolved without a relocation, by offset.
    pub resolved: Vec<Resolved>,
    /// Offsets that do not decode.
    pub invalid: Vec<u64>,
    /// Offsets that the instruction before never goes on to, in ascending order.
    stops: Vec<u64>,
}

/// Decodes all code sections.
pub fn decode(object: &ObjectFile) -> FxHashMap<SectionId, Code> {
    let symbols = object.symbols_by_section();
    let code = object.sections_with_ids().filter(|(_, s)| classify(s) == Class::Code);
    let code: Vec<(SectionId, &Section)> = code.collect();
    let decode = |(id, section): (SectionId, &Section)| {
        // Decoding starts afresh at each function: what lies between need not be code.
        let functions = symbols.of(id).iter().map(|symbol| &object[*symbol]);
        let functions = functions.filter(|symbol| symbol.kind == SymbolKind::Function);
        let size = section.data.len() as u64;
        let mut starts = vec![0];
        starts.extend(functions.map(|symbol| symbol.value.min(size)));
        starts.dedup();
        let mut code = Code::default();
        let ends = starts.iter().skip(1).copied().chain([size]);
        for (start, end) in starts.iter().copied().zip(ends) {
            decode_range(section, start, end, &mut code);
        }
        (id, code)
    };
    code.into_par_iter()
        .with_min_len(PER_THREAD)
        .map(decode)
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn decode_range(section: &Section, start: u64, end: u64, code: &mut Code) {
    let bytes = &section.data[start as usize..end as usize];
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut goes_on = true;
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let (from, to) = (instruction.ip(), instruction.next_ip());
        if instruction.is_invalid() {
            code.invalid.push(from);
        }
        // What fills up behind a jump is not reached either.
        if !matches!(instruction.mnemonic(), Mnemonic::Int3 | Mnemonic::Nop) {
            goes_on = !matches!(
                instruction.flow_control(),
                FlowControl::UnconditionalBranch
                    | FlowControl::IndirectBranch
                    | FlowControl::Return
            );
        }
        if !goes_on {
            code.stops.push(to);
        }
        let relocations = section.relocations_in(from..to);
        let branch = is_near_branch(&instruction);
        for relocation in relocations {
            code.fields.push((relocation.offset, (to, branch)));
        }
        if branch || instruction.is_ip_rel_memory_operand() {
            let field = Resolved::of(&instruction, &decoder.get_constant_offsets(&instruction));
            if relocations.iter().all(|relocation| relocation.offset != field.offset) {
                code.resolved.push(field);
            }
        }
    }
}

/// Whether the instruction names the place that it goes to.
pub fn is_near_branch(instruction: &Instruction) -> bool {
    let flow = matches!(
        instruction.flow_control(),
        FlowControl::Call
            | FlowControl::UnconditionalBranch
            | FlowControl::ConditionalBranch
            | FlowControl::XbeginXabortXend
    );
    flow && instruction.op_count() > 0 && instruction.op0_kind() == OpKind::NearBranch64
}

/// The bias of a field and whether it is a branch. A field that no instruction holds (data in code)
/// counts from itself.
fn bias(code: Option<&Code>, relocation: &Relocation) -> (i64, bool) {
    let field = code.and_then(|code| {
        let found = code.fields.binary_search_by_key(&relocation.offset, |(offset, _)| *offset);
        found.ok().map(|index| code.fields[index].1)
    });
    match field {
        Some((end, branch)) if relocation.kind.is_pc_relative() => {
            (relocation.offset as i64 - end as i64, branch)
        }
        _ => (0, false),
    }
}

/// Where a relocation points, as an offset in the section that defines its symbol.
fn place(object: &ObjectFile, relocation: &Relocation, bias: i64) -> Option<(SectionId, i64)> {
    let symbol = &object[relocation.symbol];
    let section = symbol.section()?;
    Some((section, (symbol.value as i64).wrapping_add(relocation.addend).wrapping_sub(bias)))
}

/// The offsets of each section that something refers to. In code without a name only those count where
/// a piece of it begins: the replacement of an alternative, and what is reached from nowhere else but
/// there. The rest, such as an annotated instruction, lies inside a piece. In ascending order, each once.
pub fn referenced_offsets(
    object: &ObjectFile,
    code: &FxHashMap<SectionId, Code>,
) -> FxHashMap<SectionId, Vec<u64>> {
    let mut referenced: FxHashMap<SectionId, Vec<u64>> = FxHashMap::default();
    for (id, section) in object.sections_with_ids() {
        match classify(section) {
            Class::Ignored => continue,
            Class::Table(table) if table.follows_code => continue,
            _ => {}
        }
        for (index, relocation) in section.relocations.iter().enumerate() {
            let (bias, _) = bias(code.get(&id), relocation);
            if relocation.kind == RelocationKind::NONE || is_empty_replacement(section, index) {
                continue;
            }
            let Some((target, offset)) = place(object, relocation, bias) else { continue };
            let Ok(offset) = u64::try_from(offset) else { continue };
            let begins = section.name == ALTINSTRUCTIONS
                || code.get(&target).is_none_or(|code| code.stops.binary_search(&offset).is_ok());
            if begins {
                referenced.entry(target).or_default().push(offset);
            }
        }
    }
    for offsets in referenced.values_mut() {
        offsets.sort_unstable();
        offsets.dedup();
    }
    referenced
}

/// An alternative may have a replacement of no bytes; its relocation, the second of the entry, then
/// points at what happens to come next.
fn is_empty_replacement(section: &Section, index: usize) -> bool {
    section.name == ALTINSTRUCTIONS && index % 2 == 1 && {
        let size = match section.relocations.as_slice() {
            [first, _, second, ..] => second.offset.saturating_sub(first.offset),
            _ => section.size,
        };
        let entry = section.relocations[index - 1].offset as usize;
        section.data.get(entry + alt_replacement_len(size)) == Some(&0)
    }
}

/// The meaning of every relocation, and of what leaves a piece without one, by section and offset.
pub fn resolve(
    object: &ObjectFile,
    code: &FxHashMap<SectionId, Code>,
    atoms: &Atoms,
) -> FxHashMap<SectionId, Vec<Reference>> {
    let mut resolved = FxHashMap::default();
    for (id, section) in object.sections_with_ids() {
        let local = code.get(&id).map_or(&[][..], |code| code.resolved.as_slice());
        let is_empty = section.relocations.is_empty() && local.is_empty();
        if classify(section) == Class::Ignored || is_empty {
            continue;
        }
        let at_end = matches!(classify(section), Class::Table(table) if table.at_end);
        let references = section.relocations.iter().enumerate().map(|(index, relocation)| {
            let (bias, branch) = bias(code.get(&id), relocation);
            let (target, delta) = if relocation.kind == RelocationKind::NONE {
                nothing(object, relocation)
            } else if is_empty_replacement(section, index) {
                (Target::Nothing, 0)
            } else {
                meaning(object, atoms, relocation, bias, at_end)
            };
            Reference {
                offset: relocation.offset,
                kind: relocation.kind,
                target,
                delta,
                bias,
                branch,
                symbol: relocation.symbol,
            }
        });
        let mut references: Vec<Reference> = references.collect();
        let leaving = resolved::leaving(object, atoms, id, local);
        if !leaving.is_empty() {
            references.extend(leaving);
            references.sort_by_key(|reference| reference.offset);
        }
        resolved.insert(id, references);
    }
    resolved
}

/// A relocation that objtool took the effect of, with the jump or call that it filled: it refers to
/// nothing any more, but still says where the call to `__fentry__` was.
fn nothing(object: &ObjectFile, relocation: &Relocation) -> (Target, i64) {
    match object[relocation.symbol].definition {
        Definition::Undefined if relocation.symbol != SymbolId::NULL => {
            (Target::Extern(relocation.symbol), 0)
        }
        _ => (Target::Nothing, 0),
    }
}

fn meaning(
    object: &ObjectFile,
    atoms: &Atoms,
    relocation: &Relocation,
    bias: i64,
    at_end: bool,
) -> (Target, i64) {
    let Some((section, offset)) = place(object, relocation, bias) else {
        if relocation.symbol == SymbolId::NULL {
            return (Target::Nothing, relocation.addend.wrapping_sub(bias));
        }
        debug_assert!(!matches!(object[relocation.symbol].definition, Definition::Section(_)));
        return (Target::Extern(relocation.symbol), relocation.addend.wrapping_sub(bias));
    };
    // A name says what is meant, wherever the offset leads.
    let named = match object[relocation.symbol].kind {
        SymbolKind::Function | SymbolKind::Object => atoms.of_symbol(relocation.symbol),
        _ => None,
    };
    match named.or_else(|| atoms.at(section, offset.wrapping_sub(i64::from(at_end)))) {
        Some(atom) => (Target::Atom(atom), offset.wrapping_sub(atoms[atom].origin as i64)),
        None => (Target::Section(section), offset),
    }
}

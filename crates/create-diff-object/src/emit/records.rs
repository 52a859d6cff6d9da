//! The tables that the converter and the in-kernel core read.

use kpatch_elf::Binding;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::Strings;
use kpatch_elf::SymbolId;
use kpatch_elf::livepatch;
use kpatch_elf::section_flags::ALLOC;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::Emitter;

use crate::Difference;
use crate::kernel::symbols::Wanted;
use crate::normalize::atoms::AtomId;

/// Annotation of places without ENDBR that data refers to (`include/linux/objtool.h`).
const NOENDBR: &str = ".discard.noendbr";

/// What indirect branches must land on under IBT.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

impl Emitter<'_> {
    /// The tables that the in-kernel core reads.
    pub(super) fn core_tables(&mut self) {
        let mut strings = Strings::new(&mut self.output, livepatch::FUNCTION_STRINGS);
        self.function_table(&mut strings);
        self.callback_table(&mut strings);
    }

    /// [`livepatch::CALLBACKS`], sorted by kind; none without callbacks.
    fn callback_table(&mut self, strings: &mut Strings) {
        let callbacks = &self.difference.authors.callbacks;
        if callbacks.is_empty() {
            return;
        }
        let object = self.symbols.patched_object();
        let mut table = Section::progbits(livepatch::CALLBACKS, ALLOC, 8);
        for callback in callbacks {
            let at = table.data.len() as u64;
            let place = self.places.get(&callback.function);
            let Some(function) = place.and_then(|place| place.symbol) else { continue };
            table.data.resize(at as usize + livepatch::CALLBACK_RECORD, 0);
            table.data[at as usize + 16..][..8]
                .copy_from_slice(&callback.kind.number().to_le_bytes());
            table.relocations.push(pointer(at, function, 0));
            let (symbol, offset) = strings.add(&mut self.output, object);
            table.relocations.push(pointer(at + 8, symbol, offset));
        }
        self.output.add_section(table);
    }

    /// [`livepatch::FUNCTIONS`], sorted by name.
    fn function_table(&mut self, strings: &mut Strings) {
        let mut records = Vec::new();
        for id in self.difference.selection.changed.keys() {
            let Difference { original, correlation, .. } = self.difference;
            let Some(old) = correlation.original_of(*id) else { continue };
            let atom = &original.atoms[old];
            let symbols = atom.symbols.iter().map(|s| &original.object[*s]);
            // A label inside the function is no place that ftrace knows.
            let aliases = symbols.filter(|s| s.value == atom.origin);
            let mut first_refusal = None;
            let function = aliases.into_iter().find_map(|symbol| {
                let local = symbol.binding == Binding::Local;
                let wanted = Wanted { name: &symbol.name, defined_here: true, local };
                self.symbols
                    .patched_function(wanted)
                    .map_err(|r| first_refusal.get_or_insert(r).clone())
                    .ok()
            });
            match (function, first_refusal) {
                (Some(function), _) => records.push((function, *id)),
                (None, Some(refusal)) => {
                    let name = original.name(old);
                    self.refusals.push(crate::at(self.difference.name, name, refusal));
                }
                (None, None) => {}
            }
        }
        records.sort();
        let mut table = Section::progbits(livepatch::FUNCTIONS, ALLOC, 8);
        let mut noendbr = Section::progbits(NOENDBR, 0, 1);
        for (function, id) in records {
            let at = table.data.len() as u64;
            let Some(new) = self.places.get(&id).and_then(|place| place.symbol) else { continue };
            table.data.resize(at as usize + livepatch::FUNCTION_RECORD, 0);
            table.data[at as usize + 24..][..8]
                .copy_from_slice(&u64::from(function.position).to_le_bytes());
            table.relocations.push(pointer(at, new, 0));
            let (symbol, offset) = strings.add(&mut self.output, &function.name);
            table.relocations.push(pointer(at + 8, symbol, offset));
            let (symbol, offset) = strings.add(&mut self.output, &function.object);
            table.relocations.push(pointer(at + 16, symbol, offset));
            self.note_no_endbr(id, &mut noendbr);
        }
        self.output.add_section(table);
        if !noendbr.data.is_empty() {
            self.output.add_section(noendbr);
        }
    }

    /// Tells objtool that a function of the table has no ENDBR on purpose: ftrace reaches it by a
    /// return, which IBT does not watch.
    pub(super) fn note_no_endbr(&mut self, id: AtomId, noendbr: &mut Section) {
        let side = &self.difference.patched;
        let atom = &side.atoms[id];
        let entry = (atom.origin - atom.start) as usize;
        let Some(place) = self.places.get(&id).copied() else { return };
        if side.bytes(id).get(entry..).is_some_and(|code| code.starts_with(&ENDBR64)) {
            return;
        }
        let offset = noendbr.data.len() as u64;
        noendbr.data.extend_from_slice(&[0; 4]);
        noendbr.relocations.push(Relocation {
            offset,
            kind: RelocationKind::ABS32,
            symbol: self.section_symbol(place.section),
            addend: (place.start + entry as u64) as i64,
        });
    }

    /// [`livepatch::PLACEHOLDERS`].
    pub(super) fn placeholder_table(&mut self) {
        let mut strings = Strings::new(&mut self.output, livepatch::PLACEHOLDER_STRINGS);
        let mut table = Section::progbits(livepatch::PLACEHOLDERS, ALLOC, 8);
        for (placeholder, symbol) in &self.placeholders {
            if let Err(error) = placeholder.symbol.check() {
                let place = Place::object(self.difference.name).symbol(&placeholder.symbol.name);
                self.refusals.push(Refusal::new(Code::NameTooLong, place, error.to_string(), ""));
            }
            let at = table.data.len() as u64;
            table.data.resize(at as usize + livepatch::PLACEHOLDER_RECORD, 0);
            table.relocations.push(pointer(at, *symbol, 0));
            let (text, offset) = strings.add(&mut self.output, &placeholder.applied_with);
            table.relocations.push(pointer(at + 8, text, offset));
            let (text, offset) = strings.add(&mut self.output, &placeholder.symbol.to_string());
            table.relocations.push(pointer(at + 16, text, offset));
        }
        self.output.add_section(table);
    }
}

fn pointer(offset: u64, symbol: SymbolId, addend: u64) -> Relocation {
    Relocation { offset, kind: RelocationKind::ABS64, symbol, addend: addend as i64 }
}

//! Writes the selected pieces as an object: each in a section of its own, the special entries of
//! included functions behind them, references to the kernel as ordinary undefined symbols or as
//! placeholders, and the table of patched functions that the in-kernel core reads.

mod code;
mod entries;
mod keys;
pub mod mcount;
mod records;
pub mod runtime_const;
mod targets;
mod unwind;

use std::collections::BTreeMap;
use std::collections::HashMap;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::livepatch::Placeholder;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::GNU_RETAIN;
use kpatch_elf::section_flags::GROUP;
use kpatch_elf::section_flags::MERGE;
use kpatch_elf::section_flags::STRINGS;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::Difference;
use crate::kernel::symbols::Symbols;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::notices;
use crate::notices::Notice;

/// What is written for one object of the kernel.
#[derive(Debug)]
pub struct Emitted {
    /// The pieces that go into the patch.
    pub object: ObjectFile,
    /// What was left out of it and why, by place.
    pub notices: Vec<Notice>,
}

/// Writes the selection of `difference`.
///
/// # Errors
/// Every reference that `symbols` cannot resolve.
pub fn emit(difference: &Difference<'_>, symbols: &dyn Symbols) -> Result<Emitted, Refusals> {
    let mut emitter = Emitter {
        difference,
        symbols,
        output: ObjectFile::default(),
        places: HashMap::new(),
        section_symbols: HashMap::new(),
        outside: BTreeMap::new(),
        placeholders: BTreeMap::new(),
        refusals: Vec::new(),
        notices: Vec::new(),
        off_key: None,
    };
    emitter.place_atoms();
    emitter.name_atoms();
    emitter.relocate_atoms();
    emitter.tables();
    emitter.unwind_tables();
    emitter.core_tables();
    emitter.placeholder_table();
    let notices = notices::sorted(emitter.notices);
    Refusals::none_or(emitter.refusals, Emitted { object: emitter.output, notices })
}

/// Where an atom of the patched object is in the output.
#[derive(Clone, Copy)]
struct PlaceOf {
    section: SectionId,
    /// Where the atom's first byte is.
    start: u64,
    symbol: Option<SymbolId>,
}

struct Emitter<'a> {
    difference: &'a Difference<'a>,
    symbols: &'a dyn Symbols,
    output: ObjectFile,
    places: HashMap<AtomId, PlaceOf>,
    section_symbols: HashMap<SectionId, SymbolId>,
    /// Output symbols for what the patch needs of the kernel, by name and whether it is local.
    outside: BTreeMap<(String, bool, bool), Option<Outside>>,
    placeholders: BTreeMap<Placeholder, SymbolId>,
    refusals: Vec<Refusal>,
    notices: Vec<Notice>,
    /// Where [`keys::Site::Off`] leads.
    off_key: Option<SymbolId>,
}

/// A symbol outside the patch.
#[derive(Clone)]
struct Outside {
    symbol: SymbolId,
    /// The module whose loading applies relocations against it; `None` if the patch's own loading
    /// does.
    late: Option<String>,
}

/// Section flags that describe how the original object was linked, not what the content is.
const LINK_FLAGS: u64 = MERGE | STRINGS | GROUP | GNU_RETAIN;

impl Emitter<'_> {
    /// Gives every included atom its bytes in the output.
    fn place_atoms(&mut self) {
        let side = &self.difference.patched;
        let mut previous: Option<(AtomId, PlaceOf)> = None;
        for id in &self.difference.selection.included {
            let atom = &side.atoms[*id];
            // Nameless data that touches was one run, and users may count on it.
            let follows = previous.filter(|(last, _)| {
                let last = &side.atoms[*last];
                atom.kind == AtomKind::Anonymous
                    && last.kind == AtomKind::Anonymous
                    && last.section == atom.section
                    && last.end == atom.start
            });
            let place = match follows {
                Some((_, last)) => {
                    let section = &mut self.output.sections[last.section.0 as usize];
                    let start = section.size;
                    section.data.extend_from_slice(side.bytes(*id));
                    section.size += atom.end - atom.start;
                    PlaceOf { start, ..last }
                }
                None => {
                    let source = &side.object[atom.section];
                    let data = code::bytes(side, *id);
                    let section = self.output.add_section(Section {
                        name: source.name.clone(),
                        kind: source.kind,
                        flags: source.flags & !LINK_FLAGS,
                        align: alignment(source.align, atom.start),
                        entry_size: 0,
                        size: match source.kind {
                            SectionKind::Nobits => atom.end - atom.start,
                            _ => data.len() as u64,
                        },
                        data,
                        relocations: Vec::new(),
                        link: None,
                        group: None,
                    });
                    PlaceOf { section, start: 0, symbol: None }
                }
            };
            self.places.insert(*id, place);
            previous = Some((*id, place));
        }
    }

    /// Gives included atoms their names. A changed function becomes local, or other objects' calls
    /// would reach it past ftrace, before the consistency model lets them.
    fn name_atoms(&mut self) {
        let side = &self.difference.patched;
        for id in &self.difference.selection.included {
            let atom = &side.atoms[*id];
            let is_new = self.difference.correlation.original_of(*id).is_none();
            let Some(place) = self.places.get_mut(id) else { continue };
            for symbol in atom.prefixes.iter().map(|s| &side.object[*s]) {
                self.output.add_symbol(Symbol {
                    value: symbol.value.saturating_sub(atom.start) + place.start,
                    binding: Binding::Local,
                    definition: Definition::Section(place.section),
                    ..symbol.clone()
                });
            }
            // What was put behind a function belongs to it.
            let grown = match atom.kind {
                AtomKind::Function => self.output[place.section].size - (atom.end - atom.start),
                _ => 0,
            };
            for symbol in atom.symbols.iter().map(|s| &side.object[*s]) {
                let binding = if is_new { symbol.binding } else { Binding::Local };
                let added = self.output.add_symbol(Symbol {
                    value: symbol.value - atom.start + place.start,
                    size: match symbol.value.saturating_add(symbol.size) == atom.end {
                        true => symbol.size + grown,
                        false => symbol.size,
                    },
                    binding,
                    definition: Definition::Section(place.section),
                    ..symbol.clone()
                });
                // Aliases of one value are equal; references go through the first.
                if symbol.value == atom.origin {
                    place.symbol.get_or_insert(added);
                }
            }
        }
    }

    fn relocate_atoms(&mut self) {
        let side = &self.difference.patched;
        for id in &self.difference.selection.included {
            let place = self.places[id];
            let start = side.atoms[*id].start;
            let is_function = side.atoms[*id].kind == AtomKind::Function;
            let mut relocations = self.loads(*id, place);
            for reference in &code::references(side, *id) {
                let offset = reference.offset - start + place.start;
                if let Some((relocation, late)) = self.relocation(*id, reference, offset, false) {
                    // Such code is rewritten when the patch loads, before a late relocation comes.
                    if late.is_some() && !is_function && side.section(*id).has(EXEC) {
                        self.refuse_late(*id, &relocation);
                    }
                    relocations.push(relocation);
                }
            }
            relocations.sort_by_key(|relocation| relocation.offset);
            self.output.sections[place.section.0 as usize].relocations.extend(relocations);
        }
    }
}

/// The largest alignment that `start` has within a section of alignment `align`.
fn alignment(align: u64, start: u64) -> u64 {
    if start == 0 { align } else { align.min(1 << start.trailing_zeros()) }
}

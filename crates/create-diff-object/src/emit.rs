//! Writes the selected pieces as an object: each in a section of its own, the special entries of
//! included functions behind them, references to the kernel as ordinary undefined symbols or as
//! placeholders, and the table of patched functions that the in-kernel core reads.

use std::collections::BTreeMap;
use std::collections::HashMap;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch;
use kpatch_elf::livepatch::Placeholder;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::GNU_RETAIN;
use kpatch_elf::section_flags::GROUP;
use kpatch_elf::section_flags::MERGE;
use kpatch_elf::section_flags::STRINGS;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::Difference;
use crate::atoms::AtomId;
use crate::atoms::AtomKind;
use crate::references::Reference;
use crate::references::Target;
use crate::sections::JUMP_TABLE;
use crate::sections::Policy;
use crate::symbols::Resolution;
use crate::symbols::Symbols;
use crate::symbols::Wanted;

/// Writes the selection of `difference`.
///
/// # Errors
/// Every reference that `symbols` cannot resolve.
pub fn emit(difference: &Difference<'_>, symbols: &dyn Symbols) -> Result<ObjectFile, Refusals> {
    let mut emitter = Emitter {
        difference,
        symbols,
        output: ObjectFile::default(),
        places: HashMap::new(),
        section_symbols: HashMap::new(),
        outside: BTreeMap::new(),
        placeholders: BTreeMap::new(),
        refusals: Vec::new(),
    };
    emitter.place_atoms();
    emitter.name_atoms();
    emitter.relocate_atoms();
    emitter.tables();
    emitter.function_table();
    emitter.placeholder_table();
    Refusals::none_or(emitter.refusals, emitter.output)
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
}

/// A symbol outside the patch.
#[derive(Clone)]
struct Outside {
    symbol: SymbolId,
    /// The module whose loading applies relocations against it; `None` if the patch's own loading
    /// does.
    late: Option<String>,
}

/// Annotation of places without ENDBR that data refers to (`include/linux/objtool.h`).
const NOENDBR: &str = ".discard.noendbr";

/// What indirect branches must land on under IBT.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

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
                    let section = self.output.add_section(Section {
                        name: source.name.clone(),
                        kind: source.kind,
                        flags: source.flags & !LINK_FLAGS,
                        align: alignment(source.align, atom.start),
                        entry_size: 0,
                        size: atom.end - atom.start,
                        data: match source.kind {
                            SectionKind::Nobits => Vec::new(),
                            _ => side.bytes(*id).to_vec(),
                        },
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
            for symbol in atom.symbols.iter().map(|s| &side.object[*s]) {
                let binding = if is_new { symbol.binding } else { Binding::Local };
                let added = self.output.add_symbol(Symbol {
                    value: symbol.value - atom.start + place.start,
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
            for reference in side.references(*id) {
                let offset = reference.offset - start + place.start;
                let is_function = side.atoms[*id].kind == AtomKind::Function;
                if let Some((relocation, late)) = self.relocation(*id, reference, offset, false) {
                    // Such code is rewritten when the patch loads, before a late relocation comes.
                    if late.is_some() && !is_function && side.section(*id).has(EXEC) {
                        self.refuse_late(*id, &relocation, Code::UnsupportedSection);
                    }
                    self.output.sections[place.section.0 as usize].relocations.push(relocation);
                }
            }
        }
    }

    /// The entries of special sections that belong to included atoms.
    fn tables(&mut self) {
        let side = &self.difference.patched;
        let mut entries = Vec::new();
        for id in &self.difference.selection.included {
            let kept = side.entries.of(*id).iter().filter(|e| e.table.policy == Policy::Keep);
            entries.extend(kept.map(|entry| (entry.section, entry.start, *id, entry)));
        }
        entries.sort_by_key(|(section, start, ..)| (*section, *start));
        let mut tables: BTreeMap<SectionId, SectionId> = BTreeMap::new();
        for (source, start, owner, entry) in entries {
            let input = &side.object[source];
            let table = *tables.entry(source).or_insert_with(|| {
                self.output.add_section(Section {
                    data: Vec::new(),
                    size: 0,
                    relocations: Vec::new(),
                    flags: input.flags & !LINK_FLAGS,
                    link: None,
                    group: None,
                    ..input.clone()
                })
            });
            let at = self.output[table].size;
            let bytes = &input.data[start as usize..entry.end as usize];
            let mut relocations = Vec::new();
            for reference in side.references_in(source, start..entry.end) {
                let offset = reference.offset - start + at;
                if let Some((relocation, late)) = self.relocation(owner, reference, offset, true) {
                    if late.is_some() {
                        let code = match input.name.as_str() {
                            JUMP_TABLE => Code::ModuleOwnedKey,
                            _ => Code::UnsupportedSection,
                        };
                        self.refuse_late(owner, &relocation, code);
                    }
                    relocations.push(relocation);
                }
            }
            let section = &mut self.output.sections[table.0 as usize];
            section.data.extend_from_slice(bytes);
            section.size += bytes.len() as u64;
            section.relocations.extend(relocations);
        }
    }

    fn refuse_late(&mut self, owner: AtomId, relocation: &Relocation, code: Code) {
        let name = self.output[relocation.symbol].name.clone();
        let function = self.difference.patched.name(owner);
        self.refusals.push(Refusal::new(
            code,
            Place::object(self.difference.name).symbol(function),
            format!("`{function}` uses `{name}` in a place that the kernel reads before the module of that symbol need be there"),
            "use static_key_enabled() in place of a static branch, or move the use into a helper",
        ));
    }

    /// The output relocation for a reference, and the module whose loading applies it, if that is
    /// not the patch's own. `None` where resolving was refused.
    fn relocation(
        &mut self,
        owner: AtomId,
        reference: &Reference,
        offset: u64,
        in_table: bool,
    ) -> Option<(Relocation, Option<String>)> {
        let side = &self.difference.patched;
        let kind = reference.kind;
        let with = |symbol: SymbolId, delta: i64| Relocation {
            offset,
            kind,
            symbol,
            addend: delta.wrapping_add(reference.bias),
        };
        match reference.target {
            // A fixed address stays one; a replacement of no bytes is nowhere.
            Target::Nothing if reference.symbol == SymbolId::NULL => {
                Some((with(SymbolId::NULL, reference.delta), None))
            }
            Target::Nothing => None,
            Target::Section(_) => None,
            Target::Extern(symbol) => {
                let name = &side.object[symbol].name;
                let outside = self.outside(owner, name, false, false)?;
                Some((with(outside.symbol, reference.delta), outside.late))
            }
            Target::Atom(atom) => match self.places.get(&atom).copied() {
                Some(place) if in_table || !self.means_the_old_function(atom, reference) => {
                    Some((self.inside(atom, place, &with, reference.delta, in_table), None))
                }
                _ => {
                    let (name, local) = self.kernel_name(atom, reference.symbol);
                    let outside = self.outside(owner, &name, true, local)?;
                    Some((with(outside.symbol, reference.delta), outside.late))
                }
            },
        }
    }

    /// A pointer to a function of the kernel may outlive the patch module, so it must be the old
    /// function's address: calls through it reach the new code by ftrace, as all others do.
    fn means_the_old_function(&self, atom: AtomId, reference: &Reference) -> bool {
        let is_function = self.difference.patched.atoms[atom].kind == AtomKind::Function;
        let has_entry = self.difference.selection.changed.contains_key(&atom);
        is_function && has_entry && reference.delta == 0 && !reference.branch
    }

    fn inside(
        &mut self,
        atom: AtomId,
        place: PlaceOf,
        with: &dyn Fn(SymbolId, i64) -> Relocation,
        delta: i64,
        in_table: bool,
    ) -> Relocation {
        let atom = &self.difference.patched.atoms[atom];
        match place.symbol {
            // As assemblers write: objtool takes nothing but section symbols in its annotations, and
            // a branch to a function's symbol for a call out of the function.
            Some(symbol) if !in_table && delta == 0 => with(symbol, delta),
            _ => {
                let origin = (place.start + (atom.origin - atom.start)) as i64;
                let symbol = self.section_symbol(place.section);
                with(symbol, delta.wrapping_add(origin))
            }
        }
    }

    fn section_symbol(&mut self, section: SectionId) -> SymbolId {
        let output = &mut self.output;
        *self.section_symbols.entry(section).or_insert_with(|| {
            output.add_symbol(Symbol {
                kind: SymbolKind::Section,
                definition: Definition::Section(section),
                ..Symbol::undefined("", Binding::Local)
            })
        })
    }

    /// The name by which the kernel knows a piece, and whether it is local: as the *original* object
    /// says, for compilers number as they like. The symbol that the relocation names is preferred.
    fn kernel_name(&self, atom: AtomId, symbol: SymbolId) -> (String, bool) {
        let Difference { original, patched, correlation, .. } = self.difference;
        let named = &patched.object[symbol].name;
        let old = correlation.original_of(atom).and_then(|o| {
            let mut names = original.atoms[o].symbols.iter().map(|s| &original.object[*s]);
            names.find(|s| s.name == *named).or_else(|| original.symbol(o))
        });
        let symbol = old.or_else(|| patched.symbol(atom));
        symbol.map_or((String::new(), true), |s| (s.name.clone(), s.binding == Binding::Local))
    }

    fn outside(&mut self, owner: AtomId, name: &str, here: bool, local: bool) -> Option<Outside> {
        let key = (name.to_owned(), here, local);
        if let Some(known) = self.outside.get(&key) {
            return known.clone();
        }
        let wanted = Wanted { name, defined_here: here, local };
        let outside = match self.symbols.resolve(wanted) {
            Ok(Resolution::Ordinary) => {
                let symbol = self.output.add_symbol(Symbol::undefined(name, Binding::Global));
                Some(Outside { symbol, late: None })
            }
            Ok(Resolution::Livepatch { placeholder, plain_name }) => {
                let late = Some(placeholder.applied_with.clone());
                let late = late.filter(|object| object != livepatch::VMLINUX);
                let symbol = self.placeholder(placeholder, plain_name);
                Some(Outside { symbol, late })
            }
            Err(refusal) => {
                let function = self.difference.patched.name(owner);
                self.refusals.push(crate::at(self.difference.name, function, refusal));
                None
            }
        };
        self.outside.insert(key, outside.clone());
        outside
    }

    fn placeholder(&mut self, placeholder: Placeholder, plain_name: bool) -> SymbolId {
        let output = &mut self.output;
        *self.placeholders.entry(placeholder).or_insert_with_key(|placeholder| {
            let name = match plain_name {
                true => placeholder.symbol.name.clone(),
                false => placeholder.unique_name(),
            };
            output.add_symbol(Symbol::undefined(name, Binding::Weak))
        })
    }

    /// [`livepatch::FUNCTIONS`], sorted by name.
    fn function_table(&mut self) {
        let mut records = Vec::new();
        for id in self.difference.selection.changed.keys() {
            let Difference { original, correlation, .. } = self.difference;
            let Some(old) = correlation.original_of(*id) else { continue };
            let aliases = original.atoms[old].symbols.iter().map(|s| &original.object[*s]);
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
        let mut strings = Strings::new(&mut self.output, livepatch::FUNCTION_STRINGS);
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
    fn note_no_endbr(&mut self, id: AtomId, noendbr: &mut Section) {
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
    fn placeholder_table(&mut self) {
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

/// The largest alignment that `start` has within a section of alignment `align`.
fn alignment(align: u64, start: u64) -> u64 {
    if start == 0 { align } else { align.min(1 << start.trailing_zeros()) }
}

fn pointer(offset: u64, symbol: SymbolId, addend: u64) -> Relocation {
    Relocation { offset, kind: RelocationKind::ABS64, symbol, addend: addend as i64 }
}

/// A section of NUL-terminated strings, each stored once.
struct Strings {
    section: SectionId,
    symbol: SymbolId,
    offsets: BTreeMap<String, u64>,
}

impl Strings {
    fn new(output: &mut ObjectFile, name: &str) -> Self {
        let section = output.add_section(Section::progbits(name, ALLOC, 1));
        let symbol = output.add_symbol(Symbol {
            kind: SymbolKind::Section,
            definition: Definition::Section(section),
            ..Symbol::undefined("", Binding::Local)
        });
        Strings { section, symbol, offsets: BTreeMap::new() }
    }

    fn add(&mut self, output: &mut ObjectFile, text: &str) -> (SymbolId, u64) {
        let section = &mut output.sections[self.section.0 as usize];
        let offset = *self.offsets.entry(text.to_owned()).or_insert_with(|| {
            let offset = section.data.len() as u64;
            section.data.extend_from_slice(text.as_bytes());
            section.data.push(0);
            section.size = section.data.len() as u64;
            offset
        });
        (self.symbol, offset)
    }
}

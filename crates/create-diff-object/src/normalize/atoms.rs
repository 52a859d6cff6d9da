//! Cuts an object into *atoms*, the smallest pieces that can move into a patch by themselves:
//! functions, named data, strings, constants, and what lies nameless between them.
//!
//! The unit is the symbol, not the section: functions with a section attribute share a section even
//! with `-ffunction-sections`.

use std::ops::Range;

use kpatch_elf::ObjectFile;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags::EXEC;
use rustc_hash::FxHashMap;

use crate::normalize::sections::Class;
use crate::normalize::sections::classify;

/// More bytes than any kernel puts before a function: `CONFIG_FUNCTION_PADDING_BYTES` and a type check.
const MOST_PADDING: u64 = 64;

/// Index of an atom in [`Atoms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtomId(pub u32);

/// What an atom is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomKind {
    /// A function with the call padding before it.
    Function,
    /// Named data.
    Data,
    /// One string of a string section.
    String,
    /// One constant of a mergeable section.
    Constant,
    /// Data without a name, from one referenced place to the next.
    Anonymous,
    /// Code without a name: alternatives and what macros put out of line.
    Fragment,
}

/// One piece.
#[derive(Debug, Clone)]
pub struct Atom {
    /// Where it is.
    pub section: SectionId,
    /// First byte, call padding included.
    pub start: u64,
    /// End, exclusive.
    pub end: u64,
    /// What offsets into it count from: the symbol's value, which for a function lies behind the call
    /// padding; else the first byte.
    pub origin: u64,
    /// What it is.
    pub kind: AtomKind,
    /// All its names: several for aliases, none for nameless pieces.
    pub symbols: Vec<SymbolId>,
    /// Names of the call padding, which is no function of its own.
    pub prefixes: Vec<SymbolId>,
}

/// All atoms of an object.
#[derive(Debug)]
pub struct Atoms {
    list: Vec<Atom>,
    /// The index of each in `list`: those of a section lie side by side.
    ids: Vec<AtomId>,
    by_section: Vec<Range<usize>>,
    by_symbol: Vec<Option<AtomId>>,
}

impl Atoms {
    /// All atoms with their indices, by section and start.
    pub fn iter(&self) -> impl Iterator<Item = (AtomId, &Atom)> {
        (0u32..).map(AtomId).zip(&self.list)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The atom that a symbol names.
    pub fn of_symbol(&self, symbol: SymbolId) -> Option<AtomId> {
        self.by_symbol.get(symbol.0 as usize).copied().flatten()
    }

    /// The atoms of a section in order.
    pub fn of_section(&self, section: SectionId) -> &[AtomId] {
        self.by_section.get(section.0 as usize).map_or(&[], |range| &self.ids[range.clone()])
    }

    /// The nameless data that begins where nameless data ends.
    pub fn continuation(&self, id: AtomId) -> Option<AtomId> {
        let next = AtomId(id.0.checked_add(1)?);
        let (this, other) = (&self[id], self.list.get(next.0 as usize)?);
        let touches = other.section == this.section && other.start == this.end;
        let nameless = |atom: &Atom| atom.kind == AtomKind::Anonymous;
        (touches && nameless(this) && nameless(other)).then_some(next)
    }

    /// The atom that `offset` means. In a section with one atom that is the atom, even from outside
    /// its bounds: compilers fold `&array[i - 1]` into such offsets. Else the atom that holds the
    /// byte, or ends there if none does.
    pub fn at(&self, section: SectionId, offset: i64) -> Option<AtomId> {
        let ids = self.of_section(section);
        if let [only] = ids {
            return Some(*only);
        }
        let offset = u64::try_from(offset).ok()?;
        let next = ids.partition_point(|id| self[*id].start <= offset);
        let id = *ids.get(next.checked_sub(1)?)?;
        (offset <= self[id].end).then_some(id)
    }
}

impl std::ops::Index<AtomId> for Atoms {
    type Output = Atom;

    fn index(&self, id: AtomId) -> &Atom {
        &self.list[id.0 as usize]
    }
}

/// Cuts `object`. `referenced` says which offsets of nameless ranges something refers to: there a new
/// nameless piece begins.
pub fn cut(object: &ObjectFile, referenced: &FxHashMap<SectionId, Vec<u64>>) -> Atoms {
    let padding = padding_starts(object);
    let symbols = object.symbols_by_section();
    let mut atoms = Atoms {
        list: Vec::new(),
        ids: Vec::new(),
        by_section: Vec::with_capacity(object.sections.len()),
        by_symbol: vec![None; object.symbols.len()],
    };
    for (id, section) in object.sections_with_ids() {
        let class = classify(section);
        let referenced = referenced.get(&id).map_or(&[][..], Vec::as_slice);
        let pieces = match class {
            Class::Code | Class::Data => {
                let named = named_pieces(object, id, symbols.of(id), &padding);
                fill_gaps(named, id, section, class, referenced)
            }
            Class::Strings => strings(id, section),
            Class::Constants => constants(id, section),
            // Names are understood, what lies between them is not.
            Class::Unknown => {
                let named = named_pieces(object, id, symbols.of(id), &padding);
                named.into_iter().filter(|atom| atom.end <= section.size).collect()
            }
            Class::Ignored | Class::Table(_) => Vec::new(),
        };
        let first = atoms.list.len();
        for (piece_id, piece) in (first as u32..).map(AtomId).zip(&pieces) {
            for symbol in piece.symbols.iter().chain(&piece.prefixes) {
                atoms.by_symbol[symbol.0 as usize] = Some(piece_id);
            }
        }
        atoms.list.extend(pieces);
        atoms.by_section.push(first..atoms.list.len());
    }
    atoms.ids = (0..atoms.list.len() as u32).map(AtomId).collect();
    atoms
}

/// Call padding has names of its own once objtool or Clang's kCFI is through with an object.
fn is_prefix(symbol: &Symbol) -> bool {
    let named = |prefix| symbol.name.starts_with(prefix);
    symbol.kind == SymbolKind::Function && (named("__pfx_") || named("__cfi_"))
}

/// Where `-fpatchable-function-entry` put padding before functions, and where named padding begins, by
/// section.
fn padding_starts(object: &ObjectFile) -> FxHashMap<SectionId, Vec<u64>> {
    let mut starts: FxHashMap<SectionId, Vec<u64>> = FxHashMap::default();
    for section in object.sections.iter().filter(|s| s.name == "__patchable_function_entries") {
        for relocation in &section.relocations {
            let symbol = &object[relocation.symbol];
            let offset = symbol.value.wrapping_add_signed(relocation.addend);
            if let Some(id) = symbol.section() {
                starts.entry(id).or_default().push(offset);
            }
        }
    }
    for symbol in object.symbols.iter().filter(|symbol| is_prefix(symbol)) {
        if let Some(id) = symbol.section() {
            starts.entry(id).or_default().push(symbol.value);
        }
    }
    for offsets in starts.values_mut() {
        offsets.sort_unstable();
    }
    starts
}

fn named_pieces(
    object: &ObjectFile,
    id: SectionId,
    symbols: &[SymbolId],
    padding: &FxHashMap<SectionId, Vec<u64>>,
) -> Vec<Atom> {
    let mut pieces: Vec<Atom> = Vec::new();
    let executable = classify(&object[id]) == Class::Code;
    let padding = padding.get(&id).map_or(&[][..], Vec::as_slice);
    let mut prefixes = Vec::new();
    for symbol_id in symbols {
        let symbol = &object[*symbol_id];
        let names_it = match symbol.kind {
            SymbolKind::Function => executable,
            SymbolKind::Object => !executable,
            _ => false,
        };
        if !names_it {
            continue;
        }
        if is_prefix(symbol) {
            prefixes.push(*symbol_id);
            continue;
        }
        if let Some(last) = pieces.last_mut() {
            // An alias, or a name for a part of what already has one.
            if symbol.value == last.origin || symbol.value < last.end {
                last.end = last.end.max(symbol.value.saturating_add(symbol.size));
                last.symbols.push(*symbol_id);
                continue;
            }
        }
        let floor = pieces.last().map_or(0, |last| last.end);
        // Padding is at most a few instructions; anything farther belongs to another function.
        let floor = floor.max(symbol.value.saturating_sub(MOST_PADDING));
        let first = padding.partition_point(|start| *start < floor);
        let before = padding.get(first).filter(|start| **start <= symbol.value);
        let start = match before {
            Some(start) if executable => *start,
            _ => symbol.value,
        };
        let within = |prefix: &SymbolId| object[*prefix].value >= start;
        let own = prefixes.iter().position(within).unwrap_or(prefixes.len());
        pieces.push(Atom {
            section: id,
            start,
            end: symbol.value.saturating_add(symbol.size),
            origin: symbol.value,
            kind: if executable { AtomKind::Function } else { AtomKind::Data },
            symbols: vec![*symbol_id],
            prefixes: prefixes.split_off(own),
        });
    }
    pieces
}

/// Nameless pieces between the named ones.
fn fill_gaps(
    named: Vec<Atom>,
    id: SectionId,
    section: &Section,
    class: Class,
    referenced: &[u64],
) -> Vec<Atom> {
    let kind = if class == Class::Code { AtomKind::Fragment } else { AtomKind::Anonymous };
    let mut pieces = Vec::with_capacity(named.len());
    let mut at = 0;
    let gap = |from: u64, to: u64, pieces: &mut Vec<Atom>| {
        let mut start = from;
        while start < to {
            let next = referenced.partition_point(|at| *at <= start);
            let end = referenced.get(next).copied().filter(|at| *at < to).unwrap_or(to);
            pieces.push(nameless(id, start, end, kind));
            start = end;
        }
    };
    let size = section.size;
    for mut atom in named {
        atom.end = atom.end.min(size.max(atom.start));
        let next = atom.start.min(size);
        if !is_padding(section, at, next, referenced) {
            gap(at, next, &mut pieces);
        }
        at = atom.end;
        pieces.push(atom);
    }
    if !is_padding(section, at, size, referenced) {
        gap(at, size, &mut pieces);
    }
    pieces
}

/// Whether a range is only there for alignment: nothing refers to it, and it holds nothing but zeros
/// or, in code, fewer bytes than the alignment. A reference to the first byte behind a variable may mean
/// the variable's end, and does if what is there looks like padding.
fn is_padding(section: &Section, from: u64, to: u64, referenced: &[u64]) -> bool {
    if from >= to {
        return true;
    }
    let bytes = section.data.get(from as usize..to as usize);
    let zeros = section.kind == SectionKind::Nobits
        || bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    let short = to - from < section.align;
    let first = referenced.partition_point(|at| *at < from);
    let mut references = referenced[first..].iter().take_while(|at| **at < to);
    let behind = from > 0 && !section.has(EXEC) && zeros && short;
    if references.any(|at| *at != from || !behind) || !section.relocations_in(from..to).is_empty() {
        return false;
    }
    zeros || short
}

fn strings(id: SectionId, section: &Section) -> Vec<Atom> {
    let width = usize::try_from(section.entry_size.max(1)).unwrap_or(usize::MAX);
    let mut pieces = Vec::new();
    let mut start = 0;
    for (index, unit) in section.data.chunks(width).enumerate() {
        if unit.iter().all(|byte| *byte == 0) {
            let end = ((index + 1).saturating_mul(width) as u64).min(section.size);
            pieces.push(nameless(id, start, end, AtomKind::String));
            start = end;
        }
    }
    if start < section.size {
        pieces.push(nameless(id, start, section.size, AtomKind::String));
    }
    pieces
}

fn constants(id: SectionId, section: &Section) -> Vec<Atom> {
    let size = section.data.len() as u64;
    let starts = (0..size).step_by(usize::try_from(section.entry_size).unwrap_or(usize::MAX));
    let end = |start: u64| start.saturating_add(section.entry_size).min(size);
    starts.map(|start| nameless(id, start, end(start), AtomKind::Constant)).collect()
}

fn nameless(section: SectionId, start: u64, end: u64, kind: AtomKind) -> Atom {
    Atom { section, start, end, origin: start, kind, symbols: Vec::new(), prefixes: Vec::new() }
}

//! Cuts the special sections into entries and says whose each entry is. What does not have the shape
//! that its rule says is refused: an entry cut wrong would make the kernel patch the wrong bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use kpatch_elf::ObjectFile;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use rustc_hash::FxHashMap;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::atoms::Atoms;
use crate::normalize::record_sizes::RecordSizes;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::Class;
use crate::normalize::sections::EntrySize;
use crate::normalize::sections::Policy;
use crate::normalize::sections::Table;
use crate::normalize::sections::classify;

/// One entry of a special section.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which table.
    pub table: &'static Table,
    /// The section.
    pub section: SectionId,
    /// First byte.
    pub start: u64,
    /// End, exclusive.
    pub end: u64,
    /// What the entry describes, as an offset into the owner.
    pub at: i64,
    /// The bytes that belong to the entry in the section beside its own.
    pub beside: Option<(SectionId, Range<usize>)>,
}

/// A record size that was given and is not that of the object, which counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contradiction {
    /// Which of [`crate::normalize::record_sizes::VARIABLES`].
    pub variable: &'static str,
    /// The size that was given, in bytes.
    pub given: u64,
    /// The size that the object shows, in bytes.
    pub found: u64,
}

/// The entries of an object by owner.
#[derive(Debug, Default)]
pub struct Entries {
    by_owner: BTreeMap<AtomId, Vec<Entry>>,
    /// Sections that no rule covers, by the function that they refer to.
    pub unknown: BTreeMap<AtomId, Vec<SectionId>>,
    /// Sections whose records have another size than was said.
    pub contradicted: BTreeMap<SectionId, Contradiction>,
}

impl Entries {
    /// The entries of one atom, by name of the section, then in its order.
    pub fn of(&self, owner: AtomId) -> &[Entry] {
        self.by_owner.get(&owner).map_or(&[], Vec::as_slice)
    }
}

/// What entries are found in.
#[derive(Debug, Clone, Copy)]
pub struct Searched<'a> {
    /// What refusals call the object.
    pub name: &'a str,
    /// The object.
    pub object: &'a ObjectFile,
    /// Its pieces.
    pub atoms: &'a Atoms,
    /// The meaning of its relocations, by section.
    pub references: &'a FxHashMap<SectionId, Vec<Reference>>,
    /// Record sizes that are known from elsewhere.
    pub sizes: &'a RecordSizes,
}

/// Finds all entries.
///
/// # Errors
/// A refusal when a table that has to be taken apart does not have the shape that its rule says.
pub fn find(searched: &Searched<'_>) -> Result<Entries, Refusal> {
    let object = searched.object;
    let mut entries = Entries::default();
    for (id, section) in object.sections_with_ids() {
        let Some(references) = searched.references.get(&id) else { continue };
        match classify(section) {
            Class::Table(table) if table.policy != Policy::Drop => {
                table_entries(searched, table, (id, section, references), &mut entries)?;
            }
            Class::Unknown => {
                for reference in references {
                    if let Target::Atom(atom) = reference.target {
                        let users = entries.unknown.entry(atom).or_default();
                        if users.last() != Some(&id) {
                            users.push(id);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    // Which section comes first in a file depends on code that need not be the owner's.
    for list in entries.by_owner.values_mut() {
        list.sort_by_key(|entry| (&object[entry.section].name, entry.section, entry.start));
    }
    Ok(entries)
}

fn table_entries(
    searched: &Searched<'_>,
    table: &'static Table,
    (id, section, references): (SectionId, &Section, &[Reference]),
    entries: &mut Entries,
) -> Result<(), Refusal> {
    let malformed = |message: String| {
        Refusal::new(
            Code::UnsupportedSection,
            Place::object(searched.name).symbol(&section.name),
            message,
            "the kernel or the compiler is newer than this tool knows; please report it",
        )
    };
    let shape = || {
        let (name, size) = (&section.name, section.size);
        malformed(format!("section `{name}` of {size} bytes does not have the expected entries"))
    };
    let given = table.size.and_then(|variable| Some((variable, searched.sizes.get(variable)?)));
    let starts = starts(table, references, searched.atoms, given.map(|(_, size)| size));
    if starts.is_empty() {
        return Ok(());
    }
    let size = record_size(table, section, &starts, given.map(|(_, size)| size));
    let count = section.size.div_ceil(size);
    let short = matches!(table.entry, EntrySize::PaddedRelocations(_));
    let whole = section.size % size == 0 || short;
    let sparse = matches!(table.entry, EntrySize::Bytes(_));
    let in_place = starts.iter().all(|start| start % size == 0);
    if !whole || !in_place || (starts.len() as u64 != count && !sparse) {
        return Err(shape());
    }
    let beside = match table.beside {
        Some(name) => Some(beside(searched.object, name, count).ok_or_else(shape)?),
        None => None,
    };
    let sized = beside.as_ref().map_or(size, |(_, size)| *size as u64);
    if let Some((variable, given)) = given.filter(|(_, given)| *given != sized) {
        entries.contradicted.insert(id, Contradiction { variable, given, found: sized });
    }
    for start in starts {
        let end = section.size.min(start.saturating_add(size));
        let fields = fields_in(references, start..end);
        let expected = match table.entry {
            EntrySize::Relocations(number) | EntrySize::PaddedRelocations(number) => {
                fields.len() == number
            }
            EntrySize::Bytes(_) | EntrySize::UpToNextCode => true,
        };
        let width = |field: &Reference| field.kind.width().unwrap_or(0) as u64;
        let fits = |field: &Reference| field.offset.saturating_add(width(field)) <= end;
        let whole = end <= section.data.len() as u64 && fields.iter().all(fits);
        let first = fields.first().filter(|first| first.offset == start && expected && whole);
        let Target::Atom(owner) = first.ok_or_else(shape)?.target else { continue };
        let beside = beside.map(|(beside, bytes)| {
            let at = (start / size) as usize * bytes;
            (beside, at..at + bytes)
        });
        let at = fields[0].delta;
        let entry = Entry { table, section: id, start, end, at, beside };
        entries.by_owner.entry(owner).or_default().push(entry);
    }
    Ok(())
}

/// Where entries begin.
fn starts(table: &Table, references: &[Reference], atoms: &Atoms, given: Option<u64>) -> Vec<u64> {
    let offsets = references.iter().map(|reference| reference.offset);
    match table.entry {
        EntrySize::Bytes(size) => {
            let size = given.unwrap_or(size);
            let mut starts: Vec<u64> = offsets.map(|offset| offset / size * size).collect();
            starts.dedup();
            starts
        }
        EntrySize::Relocations(number) | EntrySize::PaddedRelocations(number) => {
            offsets.step_by(number).collect()
        }
        EntrySize::UpToNextCode => {
            let leads_into_code = |reference: &&Reference| match reference.target {
                Target::Atom(atom) => {
                    matches!(atoms[atom].kind, AtomKind::Function | AtomKind::Fragment)
                }
                _ => false,
            };
            references.iter().filter(leads_into_code).map(|reference| reference.offset).collect()
        }
    }
}

/// How long an entry is: as far as it is from the first to the second. One alone fills its section.
fn record_size(table: &Table, section: &Section, starts: &[u64], given: Option<u64>) -> u64 {
    let size = match (table.entry, starts) {
        (EntrySize::Bytes(size), _) => given.unwrap_or(size),
        (_, [first, second, ..]) => second - first,
        (EntrySize::PaddedRelocations(_), _) => given.unwrap_or(0).max(section.size),
        _ => section.size,
    };
    size.max(1)
}

/// The section beside a table of `count` entries, and the size of its records.
fn beside(object: &ObjectFile, name: &str, count: u64) -> Option<(SectionId, usize)> {
    let mut found = object.sections_with_ids().filter(|(_, section)| section.name == name);
    let (id, section) = found.next().filter(|_| count > 0)?;
    let bytes = section.data.len() as u64;
    let whole = bytes % count == 0 && bytes > 0 && section.relocations.is_empty();
    (whole && found.next().is_none()).then_some((id, (bytes / count) as usize))
}

fn fields_in(references: &[Reference], range: Range<u64>) -> &[Reference] {
    let first = references.partition_point(|r| r.offset < range.start);
    let end = references.partition_point(|r| r.offset < range.end);
    &references[first..end.max(first)]
}

#[cfg(test)]
mod tests {
    use kpatch_elf::Binding;
    use kpatch_elf::Definition;
    use kpatch_elf::Relocation;
    use kpatch_elf::RelocationKind;
    use kpatch_elf::Symbol;
    use kpatch_elf::SymbolKind;
    use kpatch_elf::section_flags::ALLOC;
    use kpatch_elf::section_flags::EXEC;

    use super::*;
    use crate::normalize::record_sizes;
    use crate::normalize::side::Side;

    /// An object with the function `f` and a table of `size` bytes with pointers to it.
    fn object(name: &str, size: usize, pointers: &[u64]) -> ObjectFile {
        let mut object = ObjectFile::default();
        let mut code = Section::progbits(".text.f", ALLOC | EXEC, 16);
        code.data = vec![0x90; 64];
        code.size = 64;
        let code = object.add_section(code);
        let symbol = object.add_symbol(Symbol {
            kind: SymbolKind::Function,
            size: 64,
            definition: Definition::Section(code),
            ..Symbol::undefined("f", Binding::Global)
        });
        let mut table = Section::progbits(name, ALLOC, 1);
        table.data = vec![0; size];
        table.size = size as u64;
        let kind = RelocationKind::PC32;
        let relocation = |offset: &u64| Relocation { offset: *offset, kind, symbol, addend: 8 };
        table.relocations = pointers.iter().map(relocation).collect();
        object.add_section(table);
        object
    }

    fn sizes(object: &ObjectFile) -> Result<Vec<u64>, Code> {
        given(object, None)
    }

    fn given(object: &ObjectFile, size: Option<(&str, u64)>) -> Result<Vec<u64>, Code> {
        let value =
            |name: &str| size.filter(|(known, _)| *known == name).map(|(_, size)| size.to_string());
        let known = RecordSizes::from_variables(value).unwrap();
        let side = Side::new("x.o", object, &known).map_err(|refusal| refusal.code)?;
        let (function, _) = side.atoms.iter().next().unwrap();
        Ok(side.entries.of(function).iter().map(|entry| entry.end - entry.start).collect())
    }

    #[test]
    fn entries_fill_their_section() {
        assert_eq!(sizes(&object(".smp_locks", 8, &[0, 4])), Ok(vec![4, 4]));
        assert_eq!(sizes(&object(".smp_locks", 4, &[0])), Ok(vec![4]));
        assert_eq!(sizes(&object("__jump_table", 48, &[0, 8, 16, 24, 32, 40])), Ok(vec![24, 24]));
        assert_eq!(sizes(&object(".parainstructions", 28, &[0, 16])), Ok(vec![16, 12]));
        for misshapen in [
            object(".smp_locks", 9, &[0, 4]),
            object(".smp_locks", 12, &[0, 4]),
            object(".smp_locks", 12, &[0, 8]),
            object(".smp_locks", 8, &[4]),
            object("__jump_table", 32, &[0, 4, 8, 16, 20]),
            object("__jump_table", 30, &[0, 4, 8, 16, 20, 24]),
            object("__ex_table", 20, &[0, 4, 12, 16]),
            object("__ex_table", 24, &[0, 4, 16, 20]),
            object(".orc_unwind_ip", 8, &[0, 4]),
        ] {
            assert_eq!(
                sizes(&misshapen),
                Err(Code::UnsupportedSection),
                "{:?}",
                misshapen.sections[1]
            );
        }
    }

    #[test]
    fn sizes_are_the_objects_where_it_shows_them() {
        let jumps = object("__jump_table", 32, &[0, 4, 8, 16, 20, 24]);
        assert_eq!(given(&jumps, Some((record_sizes::JUMPS, 24))), Ok(vec![16, 16]));
        let old = object("__ex_table", 16, &[0, 4, 8, 12]);
        assert_eq!(given(&old, Some((record_sizes::EXCEPTIONS, 8))), Ok(vec![8, 8]));
    }

    #[test]
    fn parallel_records_belong_to_entries() {
        let with = |bytes: usize| {
            let mut object = object(".orc_unwind_ip", 8, &[0, 4]);
            let mut records = Section::progbits(".orc_unwind", ALLOC, 2);
            records.data = (0..bytes as u8).collect();
            records.size = bytes as u64;
            object.add_section(records);
            object
        };
        let known = RecordSizes::default();
        let object = with(12);
        let side = Side::new("x.o", &object, &known).unwrap();
        let (function, _) = side.atoms.iter().next().unwrap();
        let found: Vec<_> = side.entries.of(function).iter().map(|e| e.beside.clone()).collect();
        assert_eq!(found, [Some((SectionId(2), 0..6)), Some((SectionId(2), 6..12))]);
        assert_eq!(sizes(&with(9)), Err(Code::UnsupportedSection));
    }
}

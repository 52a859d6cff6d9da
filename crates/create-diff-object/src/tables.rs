//! Cuts the special sections into entries and says whose each entry is.

use std::collections::BTreeMap;
use std::ops::Range;

use kpatch_elf::ObjectFile;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use rustc_hash::FxHashMap;

use crate::atoms::AtomId;
use crate::references::Reference;
use crate::references::Target;
use crate::sections::Class;
use crate::sections::EntrySize;
use crate::sections::Policy;
use crate::sections::Table;
use crate::sections::classify;

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
}

/// The entries of an object by owner.
#[derive(Debug, Default)]
pub struct Entries {
    by_owner: BTreeMap<AtomId, Vec<Entry>>,
    /// Sections that no rule covers, by the function that they refer to.
    pub unknown: BTreeMap<AtomId, Vec<SectionId>>,
}

impl Entries {
    /// The entries of one atom, by name of the section, then in its order.
    pub fn of(&self, owner: AtomId) -> &[Entry] {
        self.by_owner.get(&owner).map_or(&[], Vec::as_slice)
    }
}

/// Finds all entries.
///
/// # Errors
/// A refusal when a table that has to be taken apart does not have the shape that its rule says.
pub fn find(
    name: &str,
    object: &ObjectFile,
    references: &FxHashMap<SectionId, Vec<Reference>>,
) -> Result<Entries, Refusal> {
    let mut entries = Entries::default();
    for (id, section) in object.sections_with_ids() {
        let Some(references) = references.get(&id) else { continue };
        let table = match classify(section) {
            Class::Table(table) if table.policy != Policy::Drop => table,
            Class::Unknown => {
                for reference in references {
                    if let Target::Atom(atom) = reference.target {
                        let users = entries.unknown.entry(atom).or_default();
                        if users.last() != Some(&id) {
                            users.push(id);
                        }
                    }
                }
                continue;
            }
            _ => continue,
        };
        for (start, end) in bounds(table, section, references) {
            let fields = fields_in(references, start..end);
            let expected = match table.entry {
                EntrySize::Relocations(number) => fields.len() == number,
                EntrySize::Bytes(_) => true,
            };
            let whole = section.size % (end - start) == 0 && end <= section.data.len() as u64;
            let first = fields.first().filter(|first| first.offset == start && expected);
            let Some(first) = first.filter(|_| whole) else {
                return Err(Refusal::new(
                    Code::UnsupportedSection,
                    Place::object(name).symbol(&section.name),
                    format!("section `{}` does not have the expected entries", section.name),
                    "the kernel or the compiler is newer than this tool knows; please report it",
                ));
            };
            let Target::Atom(owner) = first.target else { continue };
            let entry = Entry { table, section: id, start, end, at: first.delta };
            entries.by_owner.entry(owner).or_default().push(entry);
        }
    }
    // Which section comes first in a file depends on code that need not be the owner's.
    for list in entries.by_owner.values_mut() {
        list.sort_by_key(|entry| (&object[entry.section].name, entry.section, entry.start));
    }
    Ok(entries)
}

/// First byte and end of each entry.
fn bounds(table: &Table, section: &Section, references: &[Reference]) -> Vec<(u64, u64)> {
    let size = match table.entry {
        EntrySize::Bytes(size) => size,
        EntrySize::Relocations(number) => {
            let count = references.len().div_ceil(number).max(1) as u64;
            // With a remainder, the last entry is too long, and no entry of its table.
            section.size / count
        }
    };
    let size = size.max(1);
    let mut starts: Vec<u64> = references.iter().map(|r| r.offset / size * size).collect();
    starts.dedup();
    starts.into_iter().map(|start| (start, start.saturating_add(size))).collect()
}

fn fields_in(references: &[Reference], range: Range<u64>) -> &[Reference] {
    let first = references.partition_point(|r| r.offset < range.start);
    let end = references.partition_point(|r| r.offset < range.end);
    &references[first..end.max(first)]
}

//! Cuts the special sections into entries and says whose each entry is.

use std::collections::BTreeMap;
use std::collections::HashMap;

use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::atoms::AtomId;
use crate::references::Reference;
use crate::references::Target;
use crate::sections::Class;
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
    /// The entries of one atom, in the order of the object's sections.
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
    references: &HashMap<SectionId, Vec<Reference>>,
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
        let count = references.len() / table.relocations;
        let size = section.size / count.max(1) as u64;
        for (index, fields) in references.chunks(table.relocations).enumerate() {
            let start = index as u64 * size;
            let whole = fields.len() == table.relocations
                && size * count as u64 == section.size
                && fields[0].offset == start
                && fields.iter().all(|f| f.offset < start + size);
            if !whole {
                return Err(Refusal::new(
                    Code::UnsupportedSection,
                    Place::object(name).symbol(&section.name),
                    format!("section `{}` does not have the expected entries", section.name),
                    "the kernel or the compiler is newer than this tool knows; please report it",
                ));
            }
            let Target::Atom(owner) = fields[0].target else { continue };
            let (end, at) = (start + size, fields[0].delta);
            let entry = Entry { table, section: id, start, end, at };
            entries.by_owner.entry(owner).or_default().push(entry);
        }
    }
    Ok(entries)
}

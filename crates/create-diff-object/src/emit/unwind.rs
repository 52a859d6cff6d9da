//! ORC unwinding data of objects that objtool is through with: two parallel arrays, where an entry
//! applies and what it says (`arch/x86/include/asm/orc_types.h`). An entry holds up to the next one, also
//! across the end of a function, so a piece without an entry at its start takes over the one before.

use std::collections::BTreeMap;
use std::ops::Range;

use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;

use super::Emitter;

use crate::normalize::references::Target;
use crate::normalize::resolved;
use crate::normalize::sections::ORC;
use crate::normalize::sections::ORC_IP;

/// Size of an entry of `.orc_unwind_ip`.
const IP_SIZE: u64 = 4;

/// The entries of a section of code, by offset: their places in [`ORC`].
type Entries = BTreeMap<SectionId, BTreeMap<u64, Range<usize>>>;

impl Emitter<'_> {
    /// The unwinding data of included code.
    pub(super) fn unwind_tables(&mut self) {
        let side = &self.difference.patched;
        let named = |name| side.object.section_by_name(name);
        let (Some(ips), Some(records)) = (named(ORC_IP), named(ORC)) else { return };
        let count = side.object[ips].size / IP_SIZE;
        let bytes = &side.object[records].data;
        let size = bytes.len() / usize::try_from(count.max(1)).unwrap_or(1);
        let entries = self.unwind_entries(ips, size);

        let empty = |id: SectionId| Section {
            data: Vec::new(),
            size: 0,
            relocations: Vec::new(),
            link: None,
            ..side.object[id].clone()
        };
        let (mut ip_table, mut record_table) = (empty(ips), empty(records));
        for id in &self.difference.selection.included {
            let atom = &side.atoms[*id];
            let (Some(entries), Some(place)) = (entries.get(&atom.section), self.places.get(id))
            else {
                continue;
            };
            let (section, at) = (place.section, place.start);
            let before = entries.range(..=atom.start).next_back();
            let before = before.map(|(_, record)| (atom.start, record.clone()));
            // What holds from the end on says nothing about the piece, but that it ends where all ends.
            let whole = u64::from(atom.end == side.object[atom.section].size);
            let end = atom.end.saturating_add(whole).max(atom.start + 1);
            let inside = entries.range(atom.start + 1..end);
            let inside = inside.map(|(offset, record)| (*offset, record.clone()));
            // In a jump behind the function holds what held in the branch that goes there.
            let stubs = resolved::stubs(side, *id).into_iter().filter_map(|stub| {
                let field = atom.start + stub.fields.first()?;
                let (_, record) = entries.range(..=field).next_back()?;
                Some((atom.start + stub.at, record.clone()))
            });
            for (offset, record) in before.into_iter().chain(inside).chain(stubs) {
                let Some(record) = bytes.get(record) else { continue };
                record_table.data.extend_from_slice(record);
                ip_table.relocations.push(Relocation {
                    offset: ip_table.data.len() as u64,
                    kind: RelocationKind::PC32,
                    symbol: self.section_symbol(section),
                    addend: (at + offset - atom.start) as i64,
                });
                ip_table.data.extend_from_slice(&[0; IP_SIZE as usize]);
            }
        }
        for mut table in [ip_table, record_table] {
            table.size = table.data.len() as u64;
            if table.size > 0 {
                self.output.add_section(table);
            }
        }
    }

    fn unwind_entries(&self, ips: SectionId, size: usize) -> Entries {
        let side = &self.difference.patched;
        let mut entries = Entries::new();
        let all = 0..side.object[ips].size;
        for field in side.references_in(ips, all) {
            let (section, offset) = match field.target {
                Target::Atom(atom) => {
                    let atom = &side.atoms[atom];
                    (atom.section, atom.origin.checked_add_signed(field.delta))
                }
                Target::Section(section) => (section, u64::try_from(field.delta).ok()),
                _ => continue,
            };
            let Some(offset) = offset else { continue };
            let at = (field.offset / IP_SIZE) as usize * size;
            entries.entry(section).or_default().insert(offset, at..at + size);
        }
        entries
    }
}

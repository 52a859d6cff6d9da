//! The special entries of included functions: exactly those, each table behind the other.

use std::collections::BTreeMap;

use kpatch_elf::Relocation;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::Emitter;
use super::LINK_FLAGS;
use super::keys::Site;

use crate::normalize::atoms::AtomId;
use crate::normalize::sections::Policy;

impl Emitter<'_> {
    /// The entries of special sections that belong to included atoms.
    pub(super) fn tables(&mut self) {
        let side = &self.difference.patched;
        let mut entries = Vec::new();
        for id in &self.difference.selection.included {
            let kept =
                side.entries.of(*id).iter().filter(|entry| {
                    entry.table.policy == Policy::Keep && entry.table.beside.is_none()
                });
            entries.extend(kept.map(|entry| (entry.section, entry.start, *id, entry)));
        }
        entries.sort_by_key(|(section, start, ..)| (*section, *start));
        let mut tables: BTreeMap<SectionId, SectionId> = BTreeMap::new();
        for (source, start, owner, entry) in entries {
            let site = self.site(owner, entry);
            if site == Site::LeftOut {
                continue;
            }
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
            let fields = side.references_in(source, start..entry.end);
            for (index, reference) in fields.iter().enumerate() {
                let offset = reference.offset - start + at;
                if site == Site::Off && index + 1 == fields.len() {
                    relocations.push(self.off_key(reference, offset));
                    continue;
                }
                if let Some((relocation, late)) = self.relocation(owner, reference, offset, true) {
                    if late.is_some() {
                        self.refuse_late(owner, &relocation);
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

    pub(super) fn refuse_late(&mut self, owner: AtomId, relocation: &Relocation) {
        let meant = self.placeholders.iter().find(|(_, symbol)| **symbol == relocation.symbol);
        let name = meant.map_or("", |(placeholder, _)| placeholder.symbol.name.as_str());
        let function = self.difference.patched.name(owner);
        self.refusals.push(Refusal::new(
            Code::UnsupportedSection,
            Place::object(self.difference.name).symbol(function),
            format!("`{function}` uses `{name}` in a place that the kernel reads before the module of that symbol need be there"),
            "move the use into a helper that is not patched",
        ));
    }
}

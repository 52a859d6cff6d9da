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

use crate::atoms::AtomId;
use crate::sections::JUMP_TABLE;
use crate::sections::Policy;

impl Emitter<'_> {
    /// The entries of special sections that belong to included atoms.
    pub(super) fn tables(&mut self) {
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

    pub(super) fn refuse_late(&mut self, owner: AtomId, relocation: &Relocation, code: Code) {
        let meant = self.placeholders.iter().find(|(_, symbol)| **symbol == relocation.symbol);
        let name = meant.map_or("", |(placeholder, _)| placeholder.symbol.name.as_str());
        let function = self.difference.patched.name(owner);
        self.refusals.push(Refusal::new(
            code,
            Place::object(self.difference.name).symbol(function),
            format!("`{function}` uses `{name}` in a place that the kernel reads before the module of that symbol need be there"),
            "use static_key_enabled() in place of a static branch, or move the use into a helper",
        ));
    }
}

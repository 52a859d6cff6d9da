//! One object of a pair with everything that the later phases ask about it.

use std::ops::Range;

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use rustc_hash::FxHashMap;

use crate::normalize::atoms;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::Atoms;
use crate::normalize::branch_tables;
use crate::normalize::branch_tables::BranchTables;
use crate::normalize::record_sizes::RecordSizes;
use crate::normalize::references;
use crate::normalize::references::Reference;
use crate::normalize::resolved;
use crate::normalize::sections::Policy;
use crate::normalize::tables;
use crate::normalize::tables::Entries;
use crate::normalize::tables::Searched;

/// The largest page of x86-64 that a section is ever aligned to.
const MOST_ALIGNMENT: u64 = 2 << 20;

/// An object, cut into atoms, with the meaning of its relocations.
#[derive(Debug)]
pub struct Side<'a> {
    /// The object as read.
    pub object: &'a ObjectFile,
    /// Its pieces.
    pub atoms: Atoms,
    /// Its special sections.
    pub entries: Entries,
    code: FxHashMap<SectionId, references::Code>,
    references: FxHashMap<SectionId, Vec<Reference>>,
    /// Content of the sections in which the assembler resolved references that leave their piece, as it
    /// would be with relocations.
    blanked: FxHashMap<SectionId, Vec<u8>>,
    branch_tables: BranchTables<'a>,
}

impl<'a> Side<'a> {
    /// Normalizes an object; `name` is what refusals call it, `sizes` what is known of its tables.
    ///
    /// # Errors
    /// A refusal when a special section cannot be taken apart, or no compiler makes such an object.
    pub fn new(name: &str, object: &'a ObjectFile, sizes: &RecordSizes) -> Result<Self, Refusal> {
        if let Some(section) = object.sections.iter().find(|s| s.align > MOST_ALIGNMENT) {
            return Err(Refusal::new(
                Code::UnsupportedObject,
                Place::object(name).symbol(&section.name),
                format!("section `{}` is aligned to {} bytes", section.name, section.align),
                "this is not what a compiler makes for the kernel",
            ));
        }
        let code = references::decode(object);
        let referenced = references::referenced_offsets(object, &code);
        let atoms = atoms::cut(object, &referenced);
        let references = references::resolve(object, &code, &atoms);
        let searched = Searched { name, object, atoms: &atoms, references: &references, sizes };
        let entries = tables::find(&searched)?;
        let blanked = resolved::blank(object, &references);
        let branch_tables = branch_tables::find(object, &atoms, &references);
        Ok(Side { object, atoms, entries, code, references, blanked, branch_tables })
    }

    /// The section of an atom.
    pub fn section(&self, atom: AtomId) -> &'a Section {
        &self.object[self.atoms[atom].section]
    }

    /// The symbol that an atom goes by: a global one if it has any, else the first.
    pub fn symbol(&self, atom: AtomId) -> Option<&'a Symbol> {
        self.symbol_id(atom).map(|id| &self.object[id])
    }

    /// The index of that symbol.
    pub fn symbol_id(&self, atom: AtomId) -> Option<SymbolId> {
        let symbols = &self.atoms[atom].symbols;
        let global = symbols.iter().find(|id| self.object[**id].binding != Binding::Local);
        global.or(symbols.first()).copied()
    }

    /// The name that an atom goes by, empty for a nameless one.
    pub fn name(&self, atom: AtomId) -> &'a str {
        self.symbol(atom).map_or("", |symbol| symbol.name.as_str())
    }

    /// The bytes of an atom, with nothing in the fields of its references; empty where the section has
    /// none.
    pub fn bytes(&self, atom: AtomId) -> &[u8] {
        let atom = &self.atoms[atom];
        let data = self.blanked.get(&atom.section).unwrap_or(&self.object[atom.section].data);
        data.get(atom.start as usize..atom.end as usize).unwrap_or(&[])
    }

    /// The nameless data in which nameless data goes on: what refers to the one may mean the other, too.
    pub fn continuation(&self, atom: AtomId) -> Option<AtomId> {
        self.atoms.continuation(atom).filter(|next| !self.branch_tables.part(atom, *next))
    }

    /// The references that lie in a range of a section.
    pub fn references_in(&self, section: SectionId, range: Range<u64>) -> &[Reference] {
        let all = self.references.get(&section).map_or(&[][..], Vec::as_slice);
        let start = all.partition_point(|r| r.offset < range.start);
        let end = all.partition_point(|r| r.offset < range.end);
        &all[start..end.max(start)]
    }

    /// The references of an atom.
    pub fn references(&self, atom: AtomId) -> &[Reference] {
        let atom = &self.atoms[atom];
        self.references_in(atom.section, atom.start..atom.end)
    }

    /// The references of an atom and of those entries of special sections that go with it.
    pub fn needed_references(&self, atom: AtomId) -> Vec<&Reference> {
        let mut references: Vec<&Reference> = self.references(atom).iter().collect();
        for entry in self.entries.of(atom) {
            if entry.table.policy == Policy::Keep {
                references.extend(self.references_in(entry.section, entry.start..entry.end));
            }
        }
        references
    }

    /// Whether an atom, or a kept entry of a special section that goes with it, ends outside its section
    /// or inside the field of a reference: the size of a symbol may be wrong.
    pub fn ends_wrongly(&self, atom: AtomId) -> bool {
        let cuts = |section, range: Range<u64>| {
            let mut references = self.references_in(section, range.clone()).iter().rev().take(8);
            references.any(|r| r.offset + r.kind.width().unwrap_or(0) as u64 > range.end)
        };
        let &atoms::Atom { section, start, end, .. } = &self.atoms[atom];
        let entries = self.entries.of(atom).iter();
        let mut kept = entries.filter(|entry| entry.table.policy == Policy::Keep);
        end > self.object[section].size
            || cuts(section, start..end)
            || kept.any(|entry| cuts(entry.section, entry.start..entry.end))
    }

    /// Whether something in an atom does not decode as an instruction.
    pub fn has_invalid_code(&self, atom: AtomId) -> bool {
        let &atoms::Atom { section, start, end, .. } = &self.atoms[atom];
        let invalid = self.code.get(&section).map_or(&[][..], |code| code.invalid.as_slice());
        invalid.iter().any(|offset| (start..end).contains(offset))
    }
}

//! Decides whether two pieces mean the same: equal bytes outside relocated fields, and references that
//! mean the same. Where code lies, how symbols are numbered and in which order strings come does not
//! count.

mod reason;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;

use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::section_flags::WRITE;

use crate::atoms::AtomId;
use crate::atoms::AtomKind;
use crate::correlate::Correlation;
use crate::names;
use crate::references::Reference;
use crate::references::Target;
use crate::sections::BUG_LINE;
use crate::sections::BUG_TABLE;
use crate::side::Side;
use crate::tables::Entry;

pub use reason::Reason;
pub use reason::What;

/// Compares pieces of two objects.
#[derive(Debug)]
pub struct Comparison<'a> {
    original: &'a Side<'a>,
    patched: &'a Side<'a>,
    correlation: &'a Correlation,
    /// Names of sections whose differences do not count.
    ignored: &'a BTreeSet<String>,
    /// Results for nameless pieces. A pair under comparison counts as equal: a cycle adds nothing.
    content: RefCell<HashMap<(AtomId, AtomId), bool>>,
}

impl<'a> Comparison<'a> {
    /// A comparison of two sides whose named pieces are matched; what sections of the names `ignored`
    /// hold counts as the same.
    pub fn new(
        original: &'a Side<'a>,
        patched: &'a Side<'a>,
        correlation: &'a Correlation,
        ignored: &'a BTreeSet<String>,
    ) -> Self {
        Comparison { original, patched, correlation, ignored, content: RefCell::default() }
    }

    /// The first difference between two pieces, their special entries included; `None` if they mean
    /// the same.
    pub fn difference(&self, original: AtomId, patched: AtomId) -> Option<Reason> {
        let (o, p) = (&self.original.atoms[original], &self.patched.atoms[patched]);
        let sections = (self.original.section(original), self.patched.section(patched));
        if self.ignored.contains(&sections.1.name) {
            return None;
        }
        if p.kind == AtomKind::Data && is_other_memory(sections.0, sections.1) {
            return Some(Reason::whole(What::Memory));
        }
        if o.end - o.start != p.end - p.start || o.origin - o.start != p.origin - p.start {
            return Some(Reason::whole(What::Size));
        }
        let offset = |at: usize| at as i64 - (o.origin - o.start) as i64;

        let (o_bytes, p_bytes) = (self.original.bytes(original), self.patched.bytes(patched));
        if o_bytes.len() != p_bytes.len() {
            return Some(Reason::whole(What::Size));
        }
        if let Some(at) = o_bytes.iter().zip(p_bytes).position(|(a, b)| a != b) {
            let what = match p.kind {
                AtomKind::Function | AtomKind::Fragment => What::Instruction,
                _ => What::Bytes,
            };
            return Some(Reason::at(what, offset(at)));
        }
        let o_refs = self.original.references(original);
        let p_refs = self.patched.references(patched);
        if let Some(at) = self.first_other_reference((o_refs, o.start), (p_refs, p.start)) {
            return Some(match at {
                Some(at) => Reason::at(What::Reference, offset(at as usize)),
                None => Reason::whole(What::References),
            });
        }
        self.other_entry(original, patched)
    }

    /// Whether two pieces have the same content.
    pub fn same_content(&self, original: AtomId, patched: AtomId) -> bool {
        if let Some(known) = self.content.borrow().get(&(original, patched)) {
            return *known;
        }
        self.content.borrow_mut().insert((original, patched), true);
        let same = self.difference(original, patched).is_none();
        self.content.borrow_mut().insert((original, patched), same);
        same
    }

    /// `Some(offset)` of the first reference that means something else (`None` inside if only their
    /// number differs); `None` if all mean the same.
    fn first_other_reference(
        &self,
        (original, o_start): (&[Reference], u64),
        (patched, p_start): (&[Reference], u64),
    ) -> Option<Option<u64>> {
        for (o, p) in original.iter().zip(patched) {
            if o.offset - o_start != p.offset - p_start || !self.same_reference(o, p) {
                return Some(Some(o.offset - o_start));
            }
        }
        (original.len() != patched.len()).then_some(None)
    }

    fn same_reference(&self, original: &Reference, patched: &Reference) -> bool {
        same_kind(original.kind, patched.kind)
            && original.bias == patched.bias
            && self.same_target((original.target, original.delta), (patched.target, patched.delta))
    }

    fn same_target(&self, original: (Target, i64), patched: (Target, i64)) -> bool {
        match (original, patched) {
            ((Target::Extern(o), a), (Target::Extern(p), b)) => {
                a == b && self.original.object[o].name == self.patched.object[p].name
            }
            ((Target::Atom(o), a), (Target::Atom(p), b)) => self.same_atom((o, a), (p, b)),
            ((Target::Section(o), a), (Target::Section(p), b)) => {
                a == b && self.original.object[o].name == self.patched.object[p].name
            }
            ((Target::Nothing, a), (Target::Nothing, b)) => a == b,
            _ => false,
        }
    }

    fn same_atom(&self, (o, a): (AtomId, i64), (p, b): (AtomId, i64)) -> bool {
        if let Some(match_) = self.correlation.patched_of(o) {
            return match_ == p && a == b;
        }
        if self.correlation.original_of(p).is_some() {
            return false;
        }
        let kinds = (self.original.atoms[o].kind, self.patched.atoms[p].kind);
        match kinds {
            // A reference into the middle of a string means the rest of it.
            (AtomKind::String, AtomKind::String) => {
                let rest = |side: &Side<'a>, atom, at: i64| {
                    usize::try_from(at)
                        .ok()
                        .and_then(|at| side.bytes(atom).get(at..).map(<[u8]>::to_vec))
                };
                let rests = (rest(self.original, o, a), rest(self.patched, p, b));
                rests.0.is_some() && rests.0 == rests.1
            }
            (AtomKind::Function, _) | (_, AtomKind::Function) => false,
            (AtomKind::Anonymous, AtomKind::Anonymous) => a == b && self.same_run(o, p),
            _ => a == b && self.may_stand_for(o, p) && self.same_content(o, p),
        }
    }

    /// Whether an unmatched old piece can be used in place of an unmatched new one of equal content.
    /// Equal bytes do not make two variables one: what the kernel has written to the old one counts.
    fn may_stand_for(&self, o: AtomId, p: AtomId) -> bool {
        let is_variable = self.patched.atoms[p].kind == AtomKind::Data
            && (self.patched.section(p).has(WRITE) || self.original.section(o).has(WRITE));
        let (old, new) = (self.original.name(o), self.patched.name(p));
        let same_name = names::base_name(old) == names::base_name(new);
        // Of one name they are unmatched because there are several of it, or since each use has one.
        !is_variable || same_name
    }

    /// Whether two nameless pieces are equal, and all that touches them behind. Such data is cut where
    /// something refers to it, and what uses the first piece may run on into the next.
    fn same_run(&self, o: AtomId, p: AtomId) -> bool {
        let (mut o, mut p) = (Some(o), Some(p));
        loop {
            match (o, p) {
                (None, None) => return true,
                (Some(old), Some(new)) if self.same_content(old, new) => {
                    o = self.original.atoms.continuation(old);
                    p = self.patched.atoms.continuation(new);
                }
                _ => return false,
            }
        }
    }

    /// The first entry of a special section that only one of the two has.
    fn other_entry(&self, original: AtomId, patched: AtomId) -> Option<Reason> {
        let counted = |side: &Side<'a>, entry: &&Entry| {
            !entry.table.follows_code && !self.ignored.contains(&side.object[entry.section].name)
        };
        let o_entries = self.original.entries.of(original).iter();
        let o_entries: Vec<&Entry> = o_entries.filter(|e| counted(self.original, e)).collect();
        let p_entries = self.patched.entries.of(patched).iter();
        let p_entries: Vec<&Entry> = p_entries.filter(|e| counted(self.patched, e)).collect();
        let name = |side: &Side<'a>, entry: &Entry| side.object[entry.section].name.clone();
        for (o, p) in o_entries.iter().zip(&p_entries) {
            let section = name(self.original, o);
            let same = section == name(self.patched, p)
                && o.at == p.at
                && entry_bytes(self.original, o) == entry_bytes(self.patched, p)
                && self
                    .first_other_reference(
                        (self.original.references_in(o.section, o.start..o.end), o.start),
                        (self.patched.references_in(p.section, p.start..p.end), p.start),
                    )
                    .is_none();
            if !same {
                let (original, patched) = (Some(o.at), Some(p.at));
                return Some(Reason { what: What::Entry(section), original, patched });
            }
        }
        let (o, p) = (o_entries.get(p_entries.len()), p_entries.get(o_entries.len()));
        let section = o.map(|e| name(self.original, e)).or(p.map(|e| name(self.patched, e)))?;
        let (original, patched) = (o.map(|entry| entry.at), p.map(|entry| entry.at));
        Some(Reason { what: What::Entry(section), original, patched })
    }
}

/// Whether code for data in the one section is wrong for data in the other. It may well read what it
/// could write.
fn is_other_memory(original: &Section, patched: &Section) -> bool {
    let per_cpu = |section: &Section| section.name.starts_with(".data..percpu");
    let writable = |section: &Section| section.has(WRITE) && section.name != ".data..ro_after_init";
    per_cpu(original) != per_cpu(patched) || writable(patched) && !writable(original)
}

/// The bytes of an entry that mean something: not the line number of a warning.
fn entry_bytes(side: &Side<'_>, entry: &Entry) -> Vec<u8> {
    let section = &side.object[entry.section];
    let mut bytes = section.data[entry.start as usize..entry.end as usize].to_vec();
    if section.name == BUG_TABLE && bytes.len() >= BUG_LINE.end {
        bytes[BUG_LINE].fill(0);
    }
    bytes
}

/// The kernel's loader treats PC32 and PLT32 alike, and compilers choose freely.
fn same_kind(a: RelocationKind, b: RelocationKind) -> bool {
    let plain = |kind| if kind == RelocationKind::PLT32 { RelocationKind::PC32 } else { kind };
    plain(a) == plain(b)
}

//! Decides whether two pieces mean the same: equal bytes outside relocated fields, and references that
//! mean the same. Where code lies, how it is aligned, how symbols are numbered and in which order
//! strings come does not count, nor does a line number ([`line`]).
//!
//! Nearly all code is equal byte by byte, and is not decoded again; what is not goes to [`code`].

mod callee;
mod code;
mod line;
mod reason;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::rc::Rc;

use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::section_flags::WRITE;

use crate::correlate::Correlation;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::BUG_LINE;
use crate::normalize::sections::BUG_TABLE;
use crate::normalize::side::Side;
use crate::normalize::tables::Entry;

use code::Alignment;
use code::Mismatch;
use line::LineNumbers;

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
    lines: LineNumbers<'a>,
    /// How far nameless data goes.
    extent: Extent,
    /// Results for nameless pieces. A pair under comparison counts as equal: a cycle adds nothing.
    content: RefCell<HashMap<(AtomId, AtomId), bool>>,
    /// Results for nameless pieces with all that touches them behind.
    runs: RefCell<HashMap<(AtomId, AtomId), bool>>,
    /// Pairs that were found equal, in that order, while others were under comparison.
    found_equal: RefCell<Vec<(AtomId, AtomId)>>,
    /// Runs, likewise.
    equal_runs: RefCell<Vec<(AtomId, AtomId)>>,
    /// Code that references lead into.
    alignments: RefCell<HashMap<(AtomId, AtomId), Rc<Aligned>>>,
}

type Aligned = Result<Alignment, Mismatch>;

/// How far the nameless data that a reference means goes.
#[derive(Debug, Clone, Copy)]
enum Extent {
    /// As far as pieces touch, in each object by itself.
    AsCut,
    /// As far as it does in the patched one.
    Patched,
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
        Comparison {
            original,
            patched,
            correlation,
            ignored,
            lines: LineNumbers::new(original, patched),
            extent: Extent::AsCut,
            content: RefCell::default(),
            runs: RefCell::default(),
            found_equal: RefCell::default(),
            equal_runs: RefCell::default(),
            alignments: RefCell::default(),
        }
    }

    /// The same for two objects of one source and one compiler, of which the patched one has a section for
    /// each function: what of the original's nameless data goes beyond the patched one's is other functions'.
    pub fn of_one_source(self) -> Self {
        Comparison { extent: Extent::Patched, ..self }
    }

    /// The first difference between two pieces, their special entries included; `None` if they mean
    /// the same.
    pub fn difference(&self, original: AtomId, patched: AtomId) -> Option<Reason> {
        let (o, p) = (&self.original.atoms[original], &self.patched.atoms[patched]);
        if self.ignored.contains(&self.patched.section(patched).name) {
            return None;
        }
        let is_code = |kind| matches!(kind, AtomKind::Function | AtomKind::Fragment);
        let alignment = if is_code(p.kind) && is_code(o.kind) {
            self.align(original, patched)
        } else {
            if let Some(reason) = self.other_data(original, patched) {
                return Some(reason);
            }
            Ok(Alignment::Identity)
        };
        let alignment = match &alignment {
            Ok(alignment) => alignment,
            Err(Mismatch { what, original, patched }) => {
                let (original, patched) = (Some(*original), Some(*patched));
                return Some(Reason { what: what.clone(), original, patched });
            }
        };
        self.other_reference(original, patched, alignment)
            .or_else(|| self.other_entry(original, patched, alignment))
    }

    /// A difference of what data holds, references left aside.
    fn other_data(&self, original: AtomId, patched: AtomId) -> Option<Reason> {
        let (o, p) = (&self.original.atoms[original], &self.patched.atoms[patched]);
        let sections = (self.original.section(original), self.patched.section(patched));
        if p.kind == AtomKind::Data && is_other_memory(sections.0, sections.1) {
            return Some(Reason::whole(What::Memory));
        }
        let (old, new) = (self.original.bytes(original), self.patched.bytes(patched));
        if o.end - o.start != p.end - p.start || old.len() != new.len() {
            return Some(Reason::whole(What::Size));
        }
        let at = old.iter().zip(new).position(|(a, b)| a != b)?;
        let is_line = self.lines.is_all_that_differs((original, old), (patched, new));
        (!is_line).then(|| Reason::at(What::Bytes, at as i64 - (o.origin - o.start) as i64))
    }

    /// Which place of two pieces of code is which, if their instructions are the same.
    fn align(&self, original: AtomId, patched: AtomId) -> Aligned {
        let (o, p) = (&self.original.atoms[original], &self.patched.atoms[patched]);
        if o.origin - o.start == p.origin - p.start
            && self.original.bytes(original) == self.patched.bytes(patched)
        {
            return Ok(Alignment::Identity);
        }
        code::align((self.original, original), (self.patched, patched), &|o, p, index| {
            self.lines.is_line(o, p, index)
        })
    }

    /// Whether a place in one piece of code is that place in another. The first byte always is.
    fn is_same_place(&self, (o, a): (AtomId, i64), (p, b): (AtomId, i64)) -> bool {
        if a == 0 && b == 0 {
            return true;
        }
        let known = self.alignments.borrow().get(&(o, p)).cloned();
        let alignment = known.unwrap_or_else(|| {
            let alignment = Rc::new(self.align(o, p));
            self.alignments.borrow_mut().insert((o, p), Rc::clone(&alignment));
            alignment
        });
        alignment.as_ref().as_ref().is_ok_and(|alignment| alignment.is_same_place(a, b))
    }

    /// Whether two pieces have the same content.
    pub fn same_content(&self, original: AtomId, patched: AtomId) -> bool {
        let pair = (original, patched);
        if let Some(known) = self.content.borrow().get(&pair) {
            return *known;
        }
        let before = self.found_equal.borrow().len();
        let runs_before = self.equal_runs.borrow().len();
        self.content.borrow_mut().insert(pair, true);
        self.found_equal.borrow_mut().push(pair);
        let same = self.difference(original, patched).is_none();
        if !same {
            // What was found equal since may be so only if this pair is.
            let mut content = self.content.borrow_mut();
            for pair in self.found_equal.borrow_mut().drain(before..) {
                content.remove(&pair);
            }
            for pair in self.equal_runs.borrow_mut().drain(runs_before..) {
                self.runs.borrow_mut().remove(&pair);
            }
            content.insert(pair, false);
        }
        same
    }

    /// The first reference that means something else, or is in another place.
    fn other_reference(
        &self,
        original: AtomId,
        patched: AtomId,
        alignment: &Alignment,
    ) -> Option<Reason> {
        let (o, p) = (&self.original.atoms[original], &self.patched.atoms[patched]);
        let (old, new) = (self.original.references(original), self.patched.references(patched));
        let at = |reference: &Reference, origin: u64| reference.offset as i64 - origin as i64;
        // The fields of branches may have other sizes.
        let end = |reference: &Reference, origin| at(reference, origin) - reference.bias;
        for (a, b) in old.iter().zip(new) {
            let in_same_place = match (a.branch, b.branch) {
                (true, true) => alignment.is_same_place(end(a, o.origin), end(b, p.origin)),
                (false, false) => {
                    alignment.is_same_place(at(a, o.origin), at(b, p.origin))
                        && same_kind(a.kind, b.kind)
                        && a.bias == b.bias
                }
                _ => false,
            };
            if !in_same_place || !self.same_target((a.target, a.delta), (b.target, b.delta)) {
                let (original, patched) = (Some(at(a, o.origin)), Some(at(b, p.origin)));
                return Some(Reason { what: What::Reference, original, patched });
            }
        }
        let original = old.get(new.len()).map(|reference| at(reference, o.origin));
        let patched = new.get(old.len()).map(|reference| at(reference, p.origin));
        let differ = original.is_some() || patched.is_some();
        differ.then_some(Reason { what: What::References, original, patched })
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
        let kinds = (self.original.atoms[o].kind, self.patched.atoms[p].kind);
        let is_code = |kind| matches!(kind, AtomKind::Function | AtomKind::Fragment);
        let same_place = || match is_code(kinds.0) && is_code(kinds.1) {
            true => self.is_same_place((o, a), (p, b)),
            false => a == b,
        };
        if let Some(match_) = self.correlation.patched_of(o) {
            return if match_ == p { same_place() } else { self.same_address((o, a), (p, b)) };
        }
        if self.correlation.original_of(p).is_some() {
            return self.same_address((o, a), (p, b));
        }
        match kinds {
            // A reference into the middle of a string means the rest of it.
            (AtomKind::String, AtomKind::String) => {
                let rest = |bytes: &'a [u8], at: i64| bytes.get(usize::try_from(at).ok()?..);
                match (rest(self.original.bytes(o), a), rest(self.patched.bytes(p), b)) {
                    (Some(old), Some(new)) => line::is_same_text(old, new),
                    _ => false,
                }
            }
            (AtomKind::Function, _) | (_, AtomKind::Function) => false,
            (AtomKind::Anonymous, AtomKind::Anonymous) => a == b && self.same_nameless(o, p),
            _ => same_place() && self.may_stand_for(o, p) && self.same_content(o, p),
        }
    }

    /// Whether two places are one address, although they are counted from different variables: an
    /// empty variable is where the next one begins, and `&array[i - 1]` may lie in the one before.
    fn same_address(&self, (o, a): (AtomId, i64), (p, b): (AtomId, i64)) -> bool {
        let Some(of_p) = self.correlation.original_of(p) else { return false };
        let (o, of_p) = (&self.original.atoms[o], &self.original.atoms[of_p]);
        let is_data = |kind| matches!(kind, AtomKind::Data | AtomKind::Anonymous);
        is_data(o.kind)
            && is_data(of_p.kind)
            && o.section == of_p.section
            && o.origin as i64 + a == of_p.origin as i64 + b
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

    fn same_nameless(&self, o: AtomId, p: AtomId) -> bool {
        match self.extent {
            Extent::AsCut => self.same_run(o, p),
            Extent::Patched => self.same_stretch(o, p),
        }
    }

    /// Whether two nameless pieces are equal, and all that touches them behind. Such data is cut where
    /// something refers to it, and what uses the first piece may run on into the next.
    fn same_run(&self, o: AtomId, p: AtomId) -> bool {
        // Each of many references into one run would walk it to its end.
        let mut walked = Vec::new();
        let (mut old, mut new) = (Some(o), Some(p));
        let same = loop {
            let (Some(o), Some(p)) = (old, new) else { break old.is_none() && new.is_none() };
            let known = self.runs.borrow().get(&(o, p)).copied();
            if let Some(known) = known {
                break known;
            }
            walked.push((o, p));
            if !self.same_content(o, p) {
                break false;
            }
            old = self.original.continuation(o);
            new = self.patched.continuation(p);
        };
        if same {
            self.equal_runs.borrow_mut().extend(walked.iter().copied());
        }
        self.runs.borrow_mut().extend(walked.into_iter().map(|pair| (pair, same)));
        same
    }

    /// Whether the original's nameless data from `o` on begins with all of the patched one's from `p` on,
    /// wherever they are cut.
    fn same_stretch(&self, o: AtomId, p: AtomId) -> bool {
        if let Some(known) = self.runs.borrow().get(&(o, p)) {
            return *known;
        }
        let (found, stretches) = (self.found_equal.borrow().len(), self.equal_runs.borrow().len());
        self.runs.borrow_mut().insert((o, p), true);
        self.equal_runs.borrow_mut().push((o, p));
        let same = self.begins_alike(o, p);
        if !same {
            // As in `same_content`.
            for pair in self.found_equal.borrow_mut().drain(found..) {
                self.content.borrow_mut().remove(&pair);
            }
            for pair in self.equal_runs.borrow_mut().drain(stretches..) {
                self.runs.borrow_mut().remove(&pair);
            }
            self.runs.borrow_mut().insert((o, p), false);
        }
        same
    }

    fn begins_alike(&self, o: AtomId, p: AtomId) -> bool {
        let (old, new) = (self.original, self.patched);
        let (o_section, p_section) = (old.atoms[o].section, new.atoms[p].section);
        let (o_start, p_start) = (old.atoms[o].start, new.atoms[p].start);
        let size = end_of_run(new, p) - p_start;
        let o_end = o_start.saturating_add(size);
        if o_end > end_of_run(old, o) {
            return false;
        }
        let bytes = |side: &Side<'a>, section: SectionId, start: u64| -> Option<&'a [u8]> {
            let end = start.saturating_add(size);
            side.object[section].data.get(start as usize..end as usize)
        };
        match (bytes(old, o_section, o_start), bytes(new, p_section, p_start)) {
            (Some(o_bytes), Some(p_bytes)) if o_bytes == p_bytes => {}
            // Memory without content is zero.
            (None, None) => {}
            _ => return false,
        }
        let o_references = old.references_in(o_section, o_start..o_end);
        let p_references = new.references_in(p_section, p_start..p_start + size);
        self.first_other_reference((o_references, o_start), (p_references, p_start)).is_none()
    }

    /// The first entry of a special section that only one of the two has.
    fn other_entry(
        &self,
        original: AtomId,
        patched: AtomId,
        alignment: &Alignment,
    ) -> Option<Reason> {
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
                && alignment.is_same_place(o.at, p.at)
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

/// Where the last of the nameless pieces ends that touch from `atom` on.
fn end_of_run(side: &Side<'_>, atom: AtomId) -> u64 {
    let mut last = atom;
    while let Some(next) = side.atoms.continuation(last) {
        last = next;
    }
    side.atoms[last].end
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

//! What assembly in a C file defines by names without a type or size: code that ftrace knows nothing
//! of, and data that is no variable of the compiler's. It is no piece of its own, so no phase but this
//! one compares it where nothing of the object refers to it. Bias: such a difference is refused.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::Symbol;
use kpatch_elf::SymbolKind;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::authors::Authors;
use crate::check::Checked;
use crate::compare::Comparison;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::sections::Class;
use crate::normalize::sections::classify;
use crate::normalize::side::Side;

/// Refuses every such name behind which the objects differ.
pub(crate) fn check(pair: &Checked<'_>, authors: &Authors) -> Vec<Refusal> {
    let (original, patched) = (Untyped::new(pair.original), Untyped::new(pair.patched));
    if patched.names.is_empty() {
        return Vec::new();
    }
    let ignored = &authors.ignored_sections;
    let comparison = Comparison::new(pair.original, pair.patched, pair.correlation, ignored);
    let mut refusals = Vec::new();
    for (name, new) in &patched.names {
        let Some(old) = original.names.get(name) else { continue };
        // Of one name in several files that were linked together, in their order.
        for (o, p) in old.iter().zip(new) {
            let (old, new) = (original.run(*o), patched.run(*p));
            let same = old.len() == new.len()
                && old.iter().zip(&new).all(|(o, p)| comparison.same_content(*o, *p));
            if !same {
                refusals.push(refusal(pair, name, *p));
            }
        }
    }
    refusals
}

fn refusal(pair: &Checked<'_>, name: &str, atom: AtomId) -> Refusal {
    let section = pair.patched.section(atom);
    let is_code = classify(section) == Class::Code;
    let is_gone = names::is_init_section(&section.name);
    let (code, message, hint) = match (is_gone, is_code) {
        (true, _) => (
            Code::InitChanged,
            format!("`{name}`, which assembly defines for boot or load, is changed"),
            "leave initialisation out of the patch",
        ),
        (_, true) => (
            Code::NoFtraceEntry,
            format!("the code behind `{name}`, which is assembly, is changed"),
            "change the functions that call it instead",
        ),
        _ => (
            Code::DataChanged,
            format!("the data behind `{name}`, which assembly defines, is changed"),
            "change the value at run time, in a callback or in the function that uses it",
        ),
    };
    let place = Place::object(pair.name).symbol(name);
    Refusal::new(code, place, message, hint)
}

/// Nameless pieces in which names without a type lead.
struct Untyped<'a> {
    side: &'a Side<'a>,
    names: BTreeMap<&'a str, Vec<AtomId>>,
    named: BTreeSet<AtomId>,
}

impl<'a> Untyped<'a> {
    fn new(side: &'a Side<'a>) -> Self {
        let mut untyped = Untyped { side, names: BTreeMap::new(), named: BTreeSet::new() };
        for symbol in &side.object.symbols {
            let has_name = symbol.kind == SymbolKind::None && !symbol.name.is_empty();
            let piece = if has_name { untyped.piece_at(symbol) } else { None };
            if let Some(piece) = piece {
                untyped.names.entry(symbol.name.as_str()).or_default().push(piece);
                untyped.named.insert(piece);
            }
        }
        untyped
    }

    fn piece_at(&self, symbol: &Symbol) -> Option<AtomId> {
        let section = symbol.section()?;
        if !matches!(classify(&self.side.object[section]), Class::Code | Class::Data) {
            return None;
        }
        let piece = self.side.atoms.at(section, i64::try_from(symbol.value).ok()?)?;
        self.is_nameless(piece).then_some(piece)
    }

    fn is_nameless(&self, piece: AtomId) -> bool {
        matches!(self.side.atoms[piece].kind, AtomKind::Fragment | AtomKind::Anonymous)
    }

    /// The pieces from `first` on, as far as they touch and no other name leads into them.
    fn run(&self, first: AtomId) -> Vec<AtomId> {
        let atoms = &self.side.atoms;
        let all = atoms.of_section(atoms[first].section);
        let start = all.partition_point(|id| *id < first);
        let mut run: Vec<AtomId> = Vec::new();
        for id in &all[start..] {
            if let Some(last) = run.last() {
                let touches = atoms[*last].end == atoms[*id].start;
                if !touches || !self.is_nameless(*id) || self.named.contains(id) {
                    break;
                }
            }
            run.push(*id);
        }
        run
    }
}

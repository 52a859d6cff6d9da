//! Follows functions whose suffix comes or goes: gcc calls what it made of `foo` `foo.isra.0`,
//! `foo.constprop.0` or `foo.part.0`, and a patch elsewhere in the file may be the reason for it or
//! take it away.
//!
//! The suffix mostly means another calling convention, and the kernel's callers use the old one. So two
//! functions of one name but for suffixes, both without a match and the only ones of it, are one if
//!
//! - their code means the same: then there is nothing to redirect; or
//! - a caller of the old one means the same as its match, which calls the new one: what passes the
//!   arguments is the same code, so the convention is.
//!
//! Else the one is new, and all callers of the other are changed, for they call something else.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::Binding;

use crate::compare::Comparison;
use crate::correlate::Correlation;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Target;
use crate::normalize::side::Side;
use crate::normalize::source_files::SourceFiles;
use crate::normalize::source_files::UNKNOWN;

/// How often candidates are looked at again when others turned out to be none.
const ROUNDS: usize = 16;

/// Adds the functions whose suffix came or went to `correlation`.
pub fn follow(original: &Side<'_>, patched: &Side<'_>, correlation: Correlation) -> Correlation {
    let old = unmatched(original, |atom| correlation.patched_of(atom).is_none());
    let new = unmatched(patched, |atom| correlation.original_of(atom).is_none());
    if old.is_empty() || new.is_empty() {
        return correlation;
    }
    let files = SourceFiles::of_both(original.object, patched.object);
    let old = by_stem(original, &files.0, &old);
    let new = by_stem(patched, &files.1, &new);
    let pair = |(stem, o): (&Stem<'_>, &Option<AtomId>)| Some(((*o)?, (*new.get(stem)?)?));
    let mut candidates: Vec<(AtomId, AtomId)> = old.iter().filter_map(pair).collect();
    if candidates.is_empty() {
        return correlation;
    }
    let callers = callers(original, &candidates);
    let nothing = BTreeSet::new();
    for _ in 0..ROUNDS {
        let tentative = correlation.with(&candidates);
        let comparison = Comparison::new(original, patched, &tentative, &nothing);
        let same = |o, p| comparison.difference(o, p).is_none();
        let calls_the_same_way =
            |caller: &AtomId| tentative.patched_of(*caller).is_some_and(|p| same(*caller, p));
        let before = candidates.len();
        candidates.retain(|(o, p)| {
            same(*o, *p) || callers.get(o).is_some_and(|all| all.iter().any(calls_the_same_way))
        });
        if candidates.len() == before {
            return tentative;
        }
    }
    correlation
}

/// The source file, a name without suffixes, and whether it is that of a cold part.
type Stem<'a> = (u32, &'a str, bool);

/// The static functions that `is_free` has no match for.
fn unmatched(side: &Side<'_>, is_free: impl Fn(AtomId) -> bool) -> Vec<AtomId> {
    let functions = side.atoms.iter().filter(|(_, atom)| atom.kind == AtomKind::Function);
    let is_static = |id| side.symbol(id).is_some_and(|symbol| symbol.binding == Binding::Local);
    functions.map(|(id, _)| id).filter(|id| is_static(*id) && is_free(*id)).collect()
}

/// Functions by stem, `None` where several have the same one.
fn by_stem<'a>(
    side: &'a Side<'_>,
    files: &SourceFiles,
    functions: &[AtomId],
) -> BTreeMap<Stem<'a>, Option<AtomId>> {
    let mut found = BTreeMap::new();
    for id in functions.iter().copied() {
        let name = side.name(id);
        let stem = name.split('.').next().unwrap_or_default();
        let file = side.symbol_id(id).map_or(UNKNOWN, |symbol| files.of_symbol(symbol));
        let key = (file, stem, names::parent_of_cold(name).is_some());
        found.entry(key).and_modify(|only| *only = None).or_insert(Some(id));
    }
    found
}

/// The functions that call each of the candidates' originals.
fn callers(side: &Side<'_>, candidates: &[(AtomId, AtomId)]) -> BTreeMap<AtomId, BTreeSet<AtomId>> {
    let mut callers: BTreeMap<AtomId, BTreeSet<AtomId>> =
        candidates.iter().map(|(o, _)| (*o, BTreeSet::new())).collect();
    for (id, _) in side.atoms.iter().filter(|(_, atom)| atom.kind == AtomKind::Function) {
        for reference in side.references(id).iter().filter(|reference| reference.branch) {
            let Target::Atom(callee) = reference.target else { continue };
            if callee != id && reference.delta == 0 {
                callers.entry(callee).and_modify(|all| {
                    all.insert(id);
                });
            }
        }
    }
    callers
}

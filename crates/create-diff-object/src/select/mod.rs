//! Decides what goes into the patch: every changed function, what is new, and all that these need
//! which the running kernel does not have.

pub(crate) mod callers;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::Binding;
use kpatch_elf::SymbolId;
use rustc_hash::FxHashMap;

use crate::authors::Authors;
use crate::compare::Comparison;
use crate::compare::Reason;
use crate::compare::What;
use crate::correlate::Correlation;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Target;
use crate::normalize::side::Side;
use crate::normalize::source_files::SourceFiles;
use crate::normalize::source_files::UNKNOWN;

/// What goes into the patch. Atoms are those of the patched object.
#[derive(Debug, Default)]
pub struct Selection {
    /// Changed functions and why they count as changed.
    pub changed: BTreeMap<AtomId, Reason>,
    /// Functions of the kernel that are taken along as new ones, for nothing can redirect them, and why;
    /// their callers are changed.
    pub copied: BTreeMap<AtomId, Reason>,
    /// Functions that the kernel does not have, and copies, cold parts left out.
    pub new_functions: BTreeSet<AtomId>,
    /// Everything that goes into the patch, the above included.
    pub included: BTreeSet<AtomId>,
    /// Data of the kernel whose content is another now.
    pub changed_data: BTreeMap<AtomId, Reason>,
    /// Functions whose differences the author ignores, and that have none.
    pub ignored_unchanged: BTreeSet<AtomId>,
}

/// Compares all matched pieces, as far as the patch's author does not ignore their differences, and
/// closes over what they refer to.
pub fn select(
    original: &Side<'_>,
    patched: &Side<'_>,
    correlation: &Correlation,
    authors: &Authors,
) -> Selection {
    let comparison = Comparison::new(original, patched, correlation, &authors.ignored_sections);
    let mut selection = Selection::default();
    for (o, p) in correlation.pairs() {
        let difference = comparison.difference(o, p);
        if authors.ignores(p) {
            if difference.is_none() {
                selection.ignored_unchanged.insert(p);
            }
            continue;
        }
        let Some(reason) = difference else { continue };
        if patched.atoms[p].kind == AtomKind::Function {
            selection.changed.insert(p, reason);
        } else {
            selection.changed_data.insert(p, reason);
        }
    }
    let cold_parts = cold_parts(patched);
    changed_cold_parts_change_their_function(&mut selection, &cold_parts, correlation);

    let known = callers::Known { original, patched, correlation, authors, cold_parts: &cold_parts };
    callers::patch_callers(known, &mut selection);

    let mut queue: Vec<AtomId> = selection.changed.keys().copied().collect();
    queue.extend(selection.copied.keys());
    queue.extend(new_globals(patched, correlation));
    queue.extend(authors.callbacks.iter().map(|callback| callback.function));
    while let Some(atom) = queue.pop() {
        if !selection.included.insert(atom) {
            continue;
        }
        let is_new =
            correlation.original_of(atom).is_none() || selection.copied.contains_key(&atom);
        let is_function = patched.atoms[atom].kind == AtomKind::Function;
        if is_function && is_new && !cold_parts.contains_key(&atom) {
            selection.new_functions.insert(atom);
        }
        if patched.atoms[atom].kind == AtomKind::Anonymous {
            queue.extend(neighbours(patched, atom));
        }
        for reference in patched.needed_references(atom) {
            let Target::Atom(target) = reference.target else { continue };
            let parent = cold_parts.get(&target);
            let own_cold_part = parent.is_some_and(|parent| selection.included.contains(parent));
            if own_cold_part || correlation.original_of(target).is_none() {
                queue.push(target);
            }
        }
    }
    selection
}

/// The cold parts of functions, with the function of each.
pub(crate) fn cold_parts(side: &Side<'_>) -> FxHashMap<AtomId, AtomId> {
    let files = SourceFiles::of(side.object);
    let mut functions: FxHashMap<(u32, &str), AtomId> = FxHashMap::default();
    for (id, atom) in side.atoms.iter().filter(|(_, a)| a.kind == AtomKind::Function) {
        let name = |s: &SymbolId| ((files.of_symbol(*s), side.object[*s].name.as_str()), id);
        functions.extend(atom.symbols.iter().map(name));
    }
    let parent = |id| {
        let name = names::parent_of_cold(side.name(id))?;
        let file = files.of_symbol(side.symbol_id(id)?);
        functions.get(&(file, name)).or_else(|| functions.get(&(UNKNOWN, name)))
    };
    side.atoms.iter().filter_map(|(id, _)| Some((id, *parent(id)?))).collect()
}

/// A cold part has no entry of its own that could be redirected: its function has to be.
fn changed_cold_parts_change_their_function(
    selection: &mut Selection,
    cold_parts: &FxHashMap<AtomId, AtomId>,
    correlation: &Correlation,
) {
    let cold: Vec<AtomId> =
        selection.changed.keys().copied().filter(|id| cold_parts.contains_key(id)).collect();
    for part in cold {
        let Some(reason) = selection.changed.remove(&part) else { continue };
        let function = cold_parts[&part];
        // A function without original is new, and comes with its cold part if anything needs it.
        if correlation.original_of(function).is_some() {
            let reason =
                Reason { what: What::ColdPart { part, what: Box::new(reason.what) }, ..reason };
            selection.changed.entry(function).or_insert(reason);
        }
    }
}

/// New pieces that other objects of the patch may refer to.
fn new_globals(patched: &Side<'_>, correlation: &Correlation) -> Vec<AtomId> {
    let atoms = patched.atoms.iter().map(|(id, _)| id);
    let new = atoms.filter(|id| correlation.original_of(*id).is_none());
    new.filter(|id| patched.symbol(*id).is_some_and(|s| s.binding != Binding::Local))
        .filter(|id| !names::is_init_section(&patched.section(*id).name))
        .collect()
}

/// Nameless data is only cut where something refers to it. What uses it may run on into the next
/// piece, so pieces that touch stay together.
fn neighbours(side: &Side<'_>, atom: AtomId) -> Vec<AtomId> {
    let before = atom.0.checked_sub(1).map(AtomId);
    let before = before.filter(|before| side.continuation(*before) == Some(atom));
    before.into_iter().chain(side.continuation(atom)).collect()
}

//! Changed functions that nothing can redirect, since no call to ftrace begins them: `notrace` ones, and
//! `inline` ones that the compiler did not inline (`include/linux/compiler_types.h` makes these
//! `notrace`). If all that the running kernel does with such a function is to call it from functions of
//! the same object, the patch takes a copy along, and the callers are what it redirects.
//!
//! Bias: whoever else may know the function goes on with the old one, so one pointer to it, one caller
//! that cannot be redirected, or a section of code with rules of its own, and it stays a function that
//! cannot be patched.

use std::collections::BTreeSet;

use kpatch_elf::Binding;
use kpatch_refusal::Place;
use rustc_hash::FxHashMap;
use rustc_hash::FxHashSet;

use crate::authors::Authors;
use crate::check;
use crate::compare::Reason;
use crate::compare::What;
use crate::correlate::Correlation;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::Class;
use crate::normalize::sections::Policy;
use crate::normalize::sections::classify;
use crate::normalize::side::Side;
use crate::notices::Notice;
use crate::select::Selection;

/// Sections of code that may be interrupted, instrumented and moved to a module like any other.
const PLAIN: &[&str] = &[".text", ".sched.text", ".ref.text"];

/// Tables that hold addresses of code, but make nobody call it.
const HARMLESS: &[&str] = &["__patchable_function_entries", ".eh_frame"];

/// What is known when changed functions have been found.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) original: &'a Side<'a>,
    pub(crate) patched: &'a Side<'a>,
    pub(crate) correlation: &'a Correlation,
    pub(crate) authors: &'a Authors,
    /// Cold parts of the patched object and their functions.
    pub(crate) cold_parts: &'a FxHashMap<AtomId, AtomId>,
}

/// Moves what can be copied from [`Selection::changed`] to [`Selection::copied`], and puts the callers in
/// its place.
pub(crate) fn patch_callers(known: Known<'_>, selection: &mut Selection) {
    let changed = selection.changed.keys().copied();
    let roots: Vec<AtomId> = changed.filter(|id| !known.is_redirectable(*id)).collect();
    if roots.is_empty() {
        return;
    }
    let original = Uses::find(known.original, &FxHashMap::default());
    let patched = Uses::find(known.patched, known.cold_parts);
    for root in roots {
        let Some(Closure { copied, callers }) = close(known, &original, &patched, root) else {
            continue;
        };
        let reason = selection.changed.get(&root).or(selection.copied.get(&root)).cloned();
        let Some(reason) = reason else { continue };
        let what = What::Callee { function: root, what: Box::new(reason.what) };
        let because = Reason { what, ..reason };
        for id in copied {
            let reason = selection.changed.remove(&id).unwrap_or_else(|| because.clone());
            selection.copied.entry(id).or_insert(reason);
        }
        for id in callers {
            selection.changed.entry(id).or_insert_with(|| because.clone());
        }
    }
}

/// Which functions are taken along as copies.
pub(crate) fn notices(name: &str, patched: &Side<'_>, selection: &Selection) -> Vec<Notice> {
    let notice = |id: &AtomId| {
        let function = patched.name(*id);
        Notice::new(
            Place::object(name).symbol(function),
            format!("`{function}` has no ftrace entry: its callers are patched in its place"),
        )
    };
    selection.copied.keys().map(notice).collect()
}

/// What a function takes along.
struct Closure {
    /// The function, and callers that nothing can redirect either.
    copied: BTreeSet<AtomId>,
    /// The callers that are redirected.
    callers: BTreeSet<AtomId>,
}

fn close(known: Known<'_>, original: &Uses, patched: &Uses, root: AtomId) -> Option<Closure> {
    let mut closure = Closure { copied: BTreeSet::new(), callers: BTreeSet::new() };
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if !closure.copied.insert(id) {
            continue;
        }
        let old = known.correlation.original_of(id)?;
        let escapes = original.escapes.contains(&old) || patched.escapes.contains(&id);
        if escapes || !known.may_be_copied(old, id) {
            return None;
        }
        // Without a caller, who runs it is not known.
        for caller in patched.callers.get(&id)? {
            if known.correlation.is_ambiguous(*caller) || known.authors.ignores(*caller) {
                return None;
            }
            if names::is_init_section(&known.patched.section(*caller).name) {
                return None;
            }
            if known.correlation.original_of(*caller).is_none() {
                // New, and part of the patch if anything calls it.
            } else if known.is_redirectable(*caller) {
                closure.callers.insert(*caller);
            } else {
                stack.push(*caller);
            }
        }
    }
    Some(closure)
}

impl Known<'_> {
    /// Whether ftrace can lead from a function of the kernel to a new one.
    fn is_redirectable(&self, id: AtomId) -> bool {
        let old = self.correlation.original_of(id);
        old.is_some_and(|old| check::has_ftrace_entry(self.original, old))
    }

    fn may_be_copied(&self, original: AtomId, patched: AtomId) -> bool {
        let fits = |side: &Side<'_>, id: AtomId| {
            let section = side.section(id).name.as_str();
            let is_plain = PLAIN.contains(&section) || section.starts_with(".text.");
            let mut symbols = side.atoms[id].symbols.iter().map(|s| &side.object[*s]);
            is_plain && symbols.all(|symbol| symbol.binding == Binding::Local)
        };
        let is_part = self.cold_parts.contains_key(&patched);
        !is_part && fits(self.original, original) && fits(self.patched, patched)
    }
}

/// Who uses the functions of one object.
#[derive(Default)]
struct Uses {
    /// The functions that call or jump to the start of each, others than itself; a cold part stands for
    /// its function.
    callers: FxHashMap<AtomId, BTreeSet<AtomId>>,
    /// Functions to which there is a pointer, or another use than a call.
    escapes: FxHashSet<AtomId>,
}

impl Uses {
    fn find(side: &Side<'_>, cold_parts: &FxHashMap<AtomId, AtomId>) -> Self {
        let mut uses = Uses::default();
        for (id, section) in side.object.sections_with_ids() {
            let class = classify(section);
            for reference in side.references_in(id, 0..u64::MAX) {
                let Target::Atom(target) = reference.target else { continue };
                if side.atoms[target].kind != AtomKind::Function {
                    continue;
                }
                let owner = match class {
                    Class::Code => side.atoms.at(id, reference.offset as i64),
                    _ => None,
                };
                uses.note(side, cold_parts, (class, owner), (target, reference));
            }
        }
        uses
    }

    fn note(
        &mut self,
        side: &Side<'_>,
        cold_parts: &FxHashMap<AtomId, AtomId>,
        (class, owner): (Class, Option<AtomId>),
        (target, reference): (AtomId, &Reference),
    ) {
        let whole = |id: AtomId| cold_parts.get(&id).copied().unwrap_or(id);
        let is_code = owner.is_some_and(|id| side.atoms[id].kind == AtomKind::Function);
        match (class, owner) {
            (_, Some(owner)) if is_code && whole(owner) == whole(target) => {}
            (_, Some(owner)) if is_code && reference.branch && reference.delta == 0 => {
                self.callers.entry(target).or_default().insert(whole(owner));
            }
            // A switch table of the function, or an entry about a place in it.
            (Class::Data | Class::Table(_), _) if reference.delta != 0 => {}
            (Class::Table(table), _)
                if table.policy != Policy::Drop || HARMLESS.contains(&table.name) => {}
            _ => {
                self.escapes.insert(target);
            }
        }
    }
}

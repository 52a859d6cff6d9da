//! Holds what was compiled against what runs: the object of kbuild's exact flags against image or module,
//! and the object with sections, from which the patch is cut, against that. What matches gives the place
//! of every symbol that the object has or needs.
//!
//! Bias: a function that is to be patched must be what runs, proven; other functions of its object need
//! not be.

mod mismatch;
mod suspect;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use create_diff_object::same_source;
use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolId;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use run_pre::Matched;
use run_pre::Running;
use run_pre::Verdict;
use run_pre::Vmlinux;

use crate::compile::Unit;
use crate::compile_database::Owner;
use crate::modules::Modules;
use crate::objects;
use crate::target::Target;

/// What is known of one object.
#[derive(Debug)]
pub struct Proof {
    /// The object as kbuild names it.
    pub object: String,
    exact: ObjectFile,
    matched: Matched,
    /// Functions that are other code when they have sections of their own, and what is different.
    relaid: BTreeMap<String, Option<String>>,
    by_name: BTreeMap<String, Vec<SymbolId>>,
    suspect: String,
}

/// How many functions of an object are what runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those of kernel text.
    pub functions: usize,
    /// Those that are what runs.
    pub matched: usize,
    /// Weak ones in whose place another definition runs.
    pub overridden: usize,
}

/// Matches one object with what it is linked into.
///
/// # Errors
/// An object that cannot be read; what speaks against comparing it.
pub fn prove(
    unit: &Unit,
    (exact, original): (&Path, &ObjectFile),
    target: &Target,
    modules: &Modules,
) -> Result<Proof> {
    let exact = objects::read(&unit.object, exact)?;
    let (matched, relaid) = rayon::join(
        || with_running(&unit.owner, target, modules, |it| run_pre::match_object(&exact, it)),
        || same_source::different_functions(&unit.object, &exact, original),
    );
    let matched = matched?;
    let relaid = relaid?.into_iter().map(|other| {
        let reason = other.reason.map(|reason| format!("{:?}", reason.what));
        (other.function, reason)
    });
    let mut by_name: BTreeMap<String, Vec<SymbolId>> = BTreeMap::new();
    for (id, symbol) in exact.symbols_with_ids().filter(|(_, symbol)| !symbol.name.is_empty()) {
        by_name.entry(symbol.name.clone()).or_default().push(id);
    }
    let suspect = suspect::of(&exact, &matched, target);
    let object = unit.object.clone();
    Ok(Proof { object, relaid: relaid.collect(), by_name, suspect, exact, matched })
}

/// Calls `work` with what `owner` is when it runs.
fn with_running<T>(
    owner: &Owner,
    target: &Target,
    modules: &Modules,
    work: impl FnOnce(&dyn Running) -> T,
) -> Result<T> {
    match owner {
        Owner::Vmlinux => Ok(work(&Vmlinux { image: &target.image, kallsyms: &target.kallsyms })),
        Owner::Module { name, .. } => {
            let module = modules.get(name);
            let module = module.with_context(|| format!("module `{name}` was not read"))?;
            Ok(work(&module.loadable))
        }
    }
}

impl Proof {
    /// How much of it runs. Code for boot and load is not counted: it may be gone from the image.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (id, verdict) in &self.matched.functions {
            let section = self.exact[*id].section().map(|section| &self.exact[section]);
            if section.is_none_or(|section| is_init(&section.name)) {
                continue;
            }
            counts.functions += 1;
            match verdict {
                Verdict::Matched(_) => counts.matched += 1,
                Verdict::Overridden(_) => counts.overridden += 1,
                Verdict::Ambiguous(_) | Verdict::Absent | Verdict::Different(_) => {}
            }
        }
        counts
    }

    /// The functions of kernel text that are not what runs, with the reason, by name.
    pub fn unmatched(
        &self,
        owner: &Owner,
        target: &Target,
        modules: &Modules,
    ) -> Result<Vec<Refusal>> {
        let functions = self.matched.functions.iter().filter(|(id, verdict)| {
            let section = self.exact[**id].section().map(|section| &self.exact[section]);
            let counts = section.is_some_and(|section| !is_init(&section.name));
            counts && !matches!(verdict, Verdict::Matched(_) | Verdict::Overridden(_))
        });
        let names = functions.map(|(id, _)| self.exact[*id].name.clone());
        let mut names: BTreeSet<String> = names.collect();
        names.extend(self.relaid.keys().cloned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.check(&names, owner, target, modules)
    }

    /// Whether a function of the object is, by its name, code that runs: its own body, not another
    /// definition's.
    pub fn runs(&self, function: &str) -> bool {
        matches!(self.verdict(function), Some(Verdict::Matched(_)))
    }

    fn verdict(&self, function: &str) -> Option<&Verdict> {
        self.by_name.get(function)?.iter().find_map(|id| self.matched.functions.get(id))
    }

    /// The function of the object whose code is at an address of vmlinux, given by its lower half.
    pub fn function_at(&self, address: u32) -> Option<&str> {
        self.matched.functions.iter().find_map(|(id, verdict)| {
            let Verdict::Matched(run_pre::Place::Address(start)) = verdict else { return None };
            let symbol = &self.exact[*id];
            let at = u64::from(address.wrapping_sub(*start));
            (at < symbol.size).then_some(symbol.name.as_str())
        })
    }

    /// Where a symbol is that the object defines or needs, by what relocated fields tell. `None` if none
    /// tells, or if the object has several of the name.
    pub fn place(&self, name: &str, local: bool) -> Option<run_pre::Place> {
        let ids = self.by_name.get(name)?.iter().copied();
        let mut fitting = ids.filter(|id| (self.exact[*id].binding == Binding::Local) == local);
        let (first, second) = (fitting.next()?, fitting.next());
        if second.is_some() {
            return None;
        }
        self.matched.facts.symbol(&self.exact, first).filter(|place| !place.is_nothing())
    }

    /// Why the functions `names`, which are to be patched, cannot be: refusals for each that is not
    /// proven to be what runs.
    ///
    /// # Errors
    /// When what runs is not there to be shown.
    pub fn check(
        &self,
        names: &[&str],
        owner: &Owner,
        target: &Target,
        modules: &Modules,
    ) -> Result<Vec<Refusal>> {
        with_running(owner, target, modules, |running| {
            let mut refusals = Vec::new();
            for name in names {
                refusals.extend(self.check_one(name, owner, running));
            }
            for difference in &self.matched.data {
                refusals.push(mismatch::data(self, difference, running));
            }
            refusals
        })
    }

    fn check_one(&self, name: &str, owner: &Owner, running: &dyn Running) -> Option<Refusal> {
        let place = Place::object(&self.object).symbol(name);
        let candidates = |places: &[run_pre::Place]| {
            let named: Vec<String> =
                places.iter().map(|place| mismatch::at(*place, running)).collect();
            named.join(", ")
        };
        let refuse = |code, message: String, hint: &str| {
            Some(Refusal::new(code, place.clone(), message, hint))
        };
        match self.verdict(name) {
            Some(Verdict::Matched(_)) => {
                let what = self.relaid.get(name)?.as_deref().unwrap_or("it is not there");
                refuse(
                    Code::NotWhatRuns,
                    format!("`{name}` is other code when it has a section of its own: {what}"),
                    "the compiler cannot cut this function out; patch what calls it",
                )
            }
            Some(Verdict::Overridden(places)) => refuse(
                Code::WeakChanged,
                format!(
                    "`{name}` of this object is weak, and the kernel runs another definition, at {}",
                    candidates(places)
                ),
                "patch the definition that the kernel uses",
            ),
            Some(Verdict::Ambiguous(places)) => refuse(
                Code::SymbolNotUnique,
                format!(
                    "the code of `{name}` is at several places of `{}`: {}",
                    owner.name(),
                    candidates(places)
                ),
                "nothing tells which of them is this file's; patch what calls it",
            ),
            Some(Verdict::Absent) | None => refuse(
                Code::NotWhatRuns,
                format!("`{}` has no code named `{name}`", owner.name()),
                &self.suspect,
            ),
            Some(Verdict::Different(difference)) => {
                Some(mismatch::function(self, name, difference, running))
            }
        }
    }
}

/// Code that is gone after boot or load, or never linked.
fn is_init(section: &str) -> bool {
    [".init", ".exit", ".discard"].iter().any(|prefix| section.starts_with(prefix))
}

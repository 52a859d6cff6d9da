//! What is known of the running kernel's symbols, for the rules of [`create_diff_object::kernel::rules`]:
//! by name from the shipped image and modules, by place from what relocated fields of matched code tell
//! ([`crate::run_pre`]). A name that could still mean two symbols is refused: the wrong one would be
//! patched or called.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use create_diff_object::kernel::rules;
use create_diff_object::kernel::rules::Exporter;
use create_diff_object::kernel::rules::Kernel;
use create_diff_object::kernel::rules::Rules;
use create_diff_object::kernel::symbols::Resolution;
use create_diff_object::kernel::symbols::Symbols;
use create_diff_object::kernel::symbols::Wanted;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::candidates;
use crate::candidates::Candidate;
use crate::compile_database::Owner;
use crate::modules::Modules;
use crate::patchable;
use crate::run_pre::Proof;
use crate::target::Target;

/// Everything that resolving needs, for all objects of a patch.
#[derive(Debug)]
pub struct Knowledge<'a> {
    target: &'a Target,
    modules: &'a Modules,
    /// Functions that objtool knows not to return, by name.
    noreturns: BTreeSet<String>,
    /// Symbols that the patch defines anew, by the object that they are for.
    new_globals: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Knowledge<'a> {
    /// What is known of `target`; objtool's list is read from the source tree.
    pub fn new(target: &'a Target, modules: &'a Modules, source: &Path) -> Self {
        let noreturns = noreturns(source);
        Knowledge { target, modules, noreturns, new_globals: BTreeMap::new() }
    }

    /// Notes what `object` (of the kernel: `name`) defines anew.
    ///
    /// # Errors
    /// A refusal for each name that the kernel has as a global already: a copy in the patch would
    /// split its state, or leave the old code to those who call it.
    pub fn add_new_globals(
        &mut self,
        name: &str,
        object: &str,
        new: Vec<&str>,
    ) -> Result<(), Refusals> {
        let taken = new.iter().filter(|new| self.has_global(object, new)).map(|new| {
            Refusal::new(
                Code::AmbiguousMatch,
                Place::object(name).symbol(*new),
                format!("`{new}` is new in this file, but `{object}` has a global of that name"),
                "do not move it between files; give what is really new another name",
            )
        });
        Refusals::none_or(taken.collect(), ())?;
        let names = new.into_iter().map(str::to_owned);
        self.new_globals.entry(object.to_owned()).or_default().extend(names);
        Ok(())
    }

    fn has_global(&self, object: &str, name: &str) -> bool {
        let all = match self.modules.get(object) {
            Some(module) => candidates::in_module(module, name),
            None => candidates::in_kernel(&self.target.kallsyms, name),
        };
        all.iter().any(|candidate| candidate.global && !candidate.weak)
    }

    /// The build-id of a patched module, if it has one.
    pub fn module_build_id(&self, name: &str) -> Option<Vec<u8>> {
        self.modules.get(name)?.shipped.build_id.clone()
    }

    /// The view of one object, with what is proven of it.
    pub fn of(&'a self, owner: &'a Owner, proof: &'a Proof) -> ObjectSymbols<'a> {
        ObjectSymbols { knowledge: self, owner, proof }
    }
}

/// `NORETURN(name)` lines of objtool's list; none where a kernel has no such list.
fn noreturns(source: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(source.join("tools/objtool/noreturns.h")).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_prefix("NORETURN(")?.strip_suffix(')'));
    names.map(str::to_owned).collect()
}

/// The symbols that one object sees.
#[derive(Debug, Clone, Copy)]
pub struct ObjectSymbols<'a> {
    knowledge: &'a Knowledge<'a>,
    owner: &'a Owner,
    proof: &'a Proof,
}

impl ObjectSymbols<'_> {
    fn object(&self) -> &str {
        match self.owner {
            Owner::Vmlinux => VMLINUX,
            Owner::Module { name, .. } => name,
        }
    }

    /// All symbols of a name that `object` has, as the kernel counts them.
    fn candidates(&self, object: &str, name: &str) -> Vec<Candidate> {
        match self.knowledge.modules.get(object) {
            Some(module) => candidates::in_module(module, name),
            None if object == VMLINUX => {
                candidates::in_kernel(&self.knowledge.target.kallsyms, name)
            }
            None => Vec::new(),
        }
    }

    /// Which of `all` is meant; there is at least one.
    fn choose(
        &self,
        object: &str,
        all: &[Candidate],
        wanted: Wanted<'_>,
    ) -> Result<Candidate, Refusal> {
        let refuse = |code, message: String, hint: &str| {
            Refusal::new(code, Place::default().symbol(wanted.name), message, hint)
        };
        // What an object of the patched module or of vmlinux refers to is known by its place.
        let told = (object == self.object()).then(|| self.proof.place(wanted.name, wanted.local));
        if let Some(place) = told.flatten() {
            return all.iter().find(|candidate| candidate.place == Some(place)).cloned().ok_or_else(|| {
                refuse(
                    Code::NotWhatRuns,
                    format!(
                        "`{}` is at a place of `{object}` where no symbol of that name is ({place:?}); it has {}",
                        wanted.name,
                        candidates::list(all)
                    ),
                    "the image's symbol table and its code do not agree; report this kernel",
                )
            });
        }
        // What the object does not define itself, another one gives to all.
        let fitting: Vec<&Candidate> = match wanted.local {
            true => all.iter().filter(|candidate| !candidate.global).collect(),
            false => all.iter().filter(|candidate| candidate.global).collect(),
        };
        match (fitting.as_slice(), all) {
            ([one], _) => Ok((*one).clone()),
            // Binding is not known of all symbols: unique is unique.
            ([], [one]) if wanted.defined_here => Ok(one.clone()),
            _ => Err(refuse(
                Code::SymbolNotUnique,
                format!(
                    "`{object}` has several symbols named `{}`, and no field of the code that runs \
                     tells which is meant: {}",
                    wanted.name,
                    candidates::list(all)
                ),
                "refer to it in a function that does so already, or do without it",
            )),
        }
    }

    fn symbol(&self, object: &str, wanted: Wanted<'_>) -> Result<Option<Candidate>, Refusal> {
        let all = self.candidates(object, wanted.name);
        if all.is_empty() {
            return Ok(None);
        }
        self.choose(object, &all, wanted).map(Some)
    }
}

fn livepatch_symbol(
    object: &str,
    name: &str,
    candidate: &Candidate,
) -> Result<LivepatchSymbol, Refusal> {
    let position = candidate.position.ok_or_else(|| {
        Refusal::new(
            Code::SymbolNotUnique,
            Place::default().symbol(name),
            format!("livepatch cannot name `{name}` of `{object}`: {}", candidate.shown),
            "its position depends on when the module is patched, or its address is 0; do without it",
        )
    })?;
    let (object, name) = (object.to_owned(), name.to_owned());
    Ok(LivepatchSymbol { object, name, position })
}

impl Kernel for ObjectSymbols<'_> {
    fn find(&self, object: &str, wanted: Wanted<'_>) -> Result<Option<LivepatchSymbol>, Refusal> {
        let found = self.symbol(object, wanted)?;
        found.map(|candidate| livepatch_symbol(object, wanted.name, &candidate)).transpose()
    }

    fn exporter(&self, name: &str) -> Option<Exporter<'_>> {
        let export = self.knowledge.target.exports.get(name)?;
        Some(Exporter { module: &export.module, namespace: export.namespace.is_some() })
    }

    fn exported(&self, module: &str, name: &str) -> Result<LivepatchSymbol, Refusal> {
        let needed = self.knowledge.modules.needed(module).map_err(candidates::first)?;
        let all = candidates::in_file(&needed, name);
        let mut globals = all.iter().filter(|candidate| candidate.global);
        match (globals.next(), globals.next()) {
            (Some(one), None) => livepatch_symbol(module, name, one),
            _ => Err(rules::not_found(module, name)),
        }
    }

    fn is_new(&self, object: &str, name: &str) -> bool {
        self.knowledge.new_globals.get(object).is_some_and(|names| names.contains(name))
    }

    fn is_needed_by_patched(&self, module: &str) -> bool {
        let patched = self.knowledge.modules.get(self.object());
        patched.is_some_and(|patched| patched.shipped.depends.iter().any(|needed| needed == module))
    }

    fn is_noreturn(&self, name: &str) -> bool {
        self.knowledge.noreturns.contains(name)
    }

    fn unknown(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        Err(rules::not_found(self.object(), wanted.name))
    }
}

impl Symbols for ObjectSymbols<'_> {
    fn patched_object(&self) -> &str {
        self.object()
    }

    fn resolve(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        Rules { object: self.object(), kernel: self }.resolve(wanted)
    }

    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal> {
        let object = self.object();
        let found = self.symbol(object, wanted)?;
        let candidate = found.ok_or_else(|| rules::not_found(object, wanted.name))?;
        let module = self.knowledge.modules.get(object);
        patchable::check(self.knowledge.target, module, wanted.name, &candidate)?;
        livepatch_symbol(object, wanted.name, &candidate)
    }
}

//! What is known of the running kernel's symbols, from the shipped image and modules, for the rules of
//! [`create_diff_object::kernel::rules`]. A name that could mean two symbols is refused: the wrong one would
//! be patched or called.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
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
use shipped_kernel::Found;
use shipped_kernel::Module;
use shipped_kernel::modules;
use shipped_kernel::modules::Binding;
use shipped_kernel::modules::SymbolSection;
use shipped_kernel::symbols;

use crate::compile_database::Owner;
use crate::target::Target;

/// Everything that resolving needs, for all objects of a patch.
#[derive(Debug)]
pub struct Knowledge<'a> {
    /// The kernel.
    pub target: &'a Target,
    /// The modules that are patched, by name.
    pub modules: BTreeMap<String, Module>,
    /// Functions that objtool knows not to return, by name.
    pub noreturns: BTreeSet<String>,
    /// Symbols that the patch defines anew, by the object that they are for.
    new_globals: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Knowledge<'a> {
    /// Reads the modules among `owners` and objtool's list in the source tree.
    ///
    /// # Errors
    /// A refusal when a module is not there or cannot be read.
    pub fn new(target: &'a Target, source: &Path, owners: &[Owner]) -> Result<Self> {
        let mut modules = BTreeMap::new();
        for owner in owners {
            if let Owner::Module { name, .. } = owner {
                let path = modules::find_module(&target.parts.modules, name)?;
                modules.insert(name.clone(), Module::read(&path)?);
            }
        }
        let noreturns = noreturns(source);
        Ok(Knowledge { target, modules, noreturns, new_globals: BTreeMap::new() })
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
        let kallsyms = &self.target.kallsyms;
        match self.modules.get(object) {
            Some(module) => module.symbols.iter().any(|symbol| {
                symbol.name == name
                    && symbol.binding == Binding::Global
                    && symbol.section != SymbolSection::Undefined
            }),
            // Upper case is global, but for weak ones (scripts/kallsyms.c, nm).
            None => kallsyms.positions(name).iter().any(|index| {
                let kind = kallsyms.get(*index).map_or('?', |symbol| symbol.kind);
                kind.is_ascii_uppercase() && !matches!(kind, 'W' | 'V')
            }),
        }
    }

    /// The view of one object.
    pub fn of(&'a self, owner: &'a Owner) -> OwnerSymbols<'a> {
        OwnerSymbols { knowledge: self, owner }
    }
}

/// `NORETURN(name)` lines of objtool's list; none where a kernel has no such list.
fn noreturns(source: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(source.join("tools/objtool/noreturns.h")).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_prefix("NORETURN(")?.strip_suffix(')'));
    names.map(str::to_owned).collect()
}

/// The symbols that the objects of one owner see.
#[derive(Debug, Clone, Copy)]
pub struct OwnerSymbols<'a> {
    knowledge: &'a Knowledge<'a>,
    owner: &'a Owner,
}

impl OwnerSymbols<'_> {
    fn object(&self) -> &str {
        match self.owner {
            Owner::Vmlinux => VMLINUX,
            Owner::Module { name, .. } => name,
        }
    }

    fn found(&self, object: &str, name: &str) -> Found {
        match self.knowledge.modules.get(object) {
            Some(module) => symbols::find_in_module(module, name),
            None if object == VMLINUX => {
                symbols::find_in_kernel(&self.knowledge.target.kallsyms, name)
            }
            None => Found::None,
        }
    }

    /// The symbol of `object`, if it is there and unique.
    fn unique(&self, object: &str, name: &str) -> Result<Option<LivepatchSymbol>, Refusal> {
        match self.found(object, name) {
            Found::None => Ok(None),
            Found::Unique => Ok(Some(rules::livepatch_symbol(object, name))),
            Found::Many(count) => Err(Refusal::new(
                Code::SymbolNotUnique,
                Place::default().symbol(name),
                format!("`{object}` has {count} symbols named `{name}`"),
                "this version cannot tell them apart; patch a function that does not need it",
            )),
        }
    }
}

impl Kernel for OwnerSymbols<'_> {
    fn find(&self, object: &str, wanted: Wanted<'_>) -> Result<Option<LivepatchSymbol>, Refusal> {
        self.unique(object, wanted.name)
    }

    fn exporter(&self, name: &str) -> Option<Exporter<'_>> {
        let export = self.knowledge.target.exports.get(name)?;
        Some(Exporter { module: &export.module, namespace: export.namespace.is_some() })
    }

    fn is_new(&self, object: &str, name: &str) -> bool {
        self.knowledge.new_globals.get(object).is_some_and(|names| names.contains(name))
    }

    fn is_needed_by_patched(&self, module: &str) -> bool {
        let patched = self.knowledge.modules.get(self.object());
        patched.is_some_and(|patched| patched.depends.iter().any(|needed| needed == module))
    }

    fn is_noreturn(&self, name: &str) -> bool {
        self.knowledge.noreturns.contains(name)
    }

    fn unknown(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        Err(rules::not_found(self.object(), wanted.name))
    }
}

impl Symbols for OwnerSymbols<'_> {
    fn patched_object(&self) -> &str {
        self.object()
    }

    fn resolve(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        Rules { object: self.object(), kernel: self }.resolve(wanted)
    }

    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal> {
        Rules { object: self.object(), kernel: self }.patched_function(wanted)
    }
}

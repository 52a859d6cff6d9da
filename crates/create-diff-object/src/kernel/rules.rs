//! The rules by which references to the running kernel are resolved, whatever its symbols are known
//! from: ordinary references to what vmlinux exports, livepatch references to all else.
//!
//! Sources: `klp_resolve_symbols` and `klp_find_object_symbol` in `kernel/livepatch/core.c`.

use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::Placeholder;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::kernel::symbols::Resolution;
use crate::kernel::symbols::Symbols;
use crate::kernel::symbols::Wanted;

/// What `THIS_MODULE` refers to: in a patched module's code the module itself, not the patch.
const THIS_MODULE: &str = "__this_module";

/// An export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exporter<'a> {
    /// `vmlinux` or the module that exports it, as the kernel names it.
    pub module: &'a str,
    /// Whether a module has to import a namespace for it, which the patch does not.
    pub namespace: bool,
}

/// What is known of the running kernel.
pub trait Kernel {
    /// The symbol of `object` (`vmlinux` or a module) that `wanted` means.
    ///
    /// # Errors
    /// A refusal when it cannot be told from others.
    fn find(&self, object: &str, wanted: Wanted<'_>) -> Result<Option<LivepatchSymbol>, Refusal>;

    /// Who exports a name.
    fn exporter(&self, name: &str) -> Option<Exporter<'_>>;

    /// The symbol that `module`, which is not the patched one, exports.
    ///
    /// # Errors
    /// A refusal when that module does not have it, or livepatch cannot name it.
    fn exported(&self, module: &str, name: &str) -> Result<LivepatchSymbol, Refusal>;

    /// Whether another object of the patch, for `object` of the kernel, defines a name anew.
    fn is_new(&self, object: &str, name: &str) -> bool;

    /// Whether `module` is loaded whenever the patched module is.
    fn is_needed_by_patched(&self, module: &str) -> bool;

    /// Whether objtool knows the function not to return, by its name.
    fn is_noreturn(&self, name: &str) -> bool;

    /// How a name is resolved that nothing of the above knows.
    ///
    /// # Errors
    /// A refusal, as a rule.
    fn unknown(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal>;
}

/// The rules for the objects that are linked into one object of the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a, K> {
    /// That object: `vmlinux` or a module.
    pub object: &'a str,
    /// What is known.
    pub kernel: &'a K,
}

impl<K: Kernel> Rules<'_, K> {
    fn livepatch(&self, symbol: LivepatchSymbol) -> Resolution {
        // A section that belongs to a module may not name a symbol of vmlinux (kernel/livepatch).
        let vmlinux = symbol.object == VMLINUX;
        let applied_with = if vmlinux { VMLINUX } else { self.object }.to_owned();
        let plain_name = self.kernel.is_noreturn(&symbol.name);
        Resolution::Livepatch { placeholder: Placeholder { applied_with, symbol }, plain_name }
    }

    /// A symbol that another module exports.
    fn of_module(&self, module: &str, name: &str) -> Result<Resolution, Refusal> {
        let refusal = |message: String| {
            Refusal::new(
                Code::ModuleDependency,
                Place::default().symbol(name),
                message,
                "the module need not be loaded when the patch needs it; do without its symbol",
            )
        };
        if self.object == VMLINUX {
            return Err(refusal(format!("vmlinux code uses `{name}` of module `{module}`")));
        }
        if !self.kernel.is_needed_by_patched(module) {
            return Err(refusal(format!(
                "`{}` does not depend on module `{module}`, which has `{name}`",
                self.object
            )));
        }
        Ok(self.livepatch(self.kernel.exported(module, name)?))
    }
}

/// The only symbol of its name.
pub fn livepatch_symbol(object: &str, name: &str) -> LivepatchSymbol {
    LivepatchSymbol { object: object.to_owned(), name: name.to_owned(), position: 0 }
}

impl<K: Kernel> Symbols for Rules<'_, K> {
    fn patched_object(&self) -> &str {
        self.object
    }

    fn resolve(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        let Wanted { name, defined_here, local } = wanted;
        let kernel = self.kernel;
        if name == THIS_MODULE {
            return match kernel.find(self.object, wanted)? {
                Some(symbol) => Ok(self.livepatch(symbol)),
                None => kernel.unknown(wanted),
            };
        }
        // What is new in vmlinux is there for all; what is new in a module needs that module.
        if !defined_here && (kernel.is_new(self.object, name) || kernel.is_new(VMLINUX, name)) {
            return Ok(Resolution::Ordinary);
        }
        match kernel.exporter(name).filter(|_| !local) {
            Some(Exporter { module: VMLINUX, namespace: false }) => {
                return Ok(Resolution::Ordinary);
            }
            Some(Exporter { module, .. }) if module != VMLINUX && module != self.object => {
                return self.of_module(module, name);
            }
            _ => {}
        }
        if let Some(symbol) = kernel.find(self.object, wanted)? {
            return Ok(self.livepatch(symbol));
        }
        // Code of a module may use any symbol of vmlinux in a patch, exported or not.
        if !defined_here && self.object != VMLINUX {
            if let Some(symbol) = kernel.find(VMLINUX, wanted)? {
                return Ok(self.livepatch(symbol));
            }
        }
        kernel.unknown(wanted)
    }

    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal> {
        self.kernel.find(self.object, wanted)?.ok_or_else(|| not_found(self.object, wanted.name))
    }
}

/// A refusal for a symbol that `object` of the kernel does not have.
pub fn not_found(object: &str, name: &str) -> Refusal {
    let place = match object {
        VMLINUX => "the kernel's symbol table".to_owned(),
        module => format!("module `{module}` or the kernel's symbol table"),
    };
    Refusal::new(
        Code::SymbolNotFound,
        Place::default().symbol(name),
        format!("`{name}` is not in {place}"),
        "it may be inlined everywhere, discarded after boot, or new; patch what calls it",
    )
}

//! What the emitter asks about the running kernel. The driver answers from the shipped image; the
//! stand-alone tool from a symbol list.

use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::Placeholder;
use kpatch_refusal::Refusal;

/// A symbol that the patch needs and does not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its name in the object file.
    pub name: &'a str,
    /// Whether the object that is compared defines it itself.
    pub defined_here: bool,
    /// Whether it is local (static) there.
    pub local: bool,
}

/// How a reference is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// By the module loader, as in any module: exported by vmlinux, or defined by another object of
    /// the same patch.
    Ordinary,
    /// By the livepatch core.
    Livepatch {
        /// What is meant and when it is applied.
        placeholder: Placeholder,
        /// Whether the placeholder must keep the plain name: objtool knows functions that do not
        /// return by name.
        plain_name: bool,
    },
}

/// Knowledge of the running kernel.
pub trait Symbols {
    /// What the compared object is linked into: [`kpatch_elf::livepatch::VMLINUX`] or a module, by the
    /// name that livepatch knows it by.
    fn patched_object(&self) -> &str;

    /// How a reference to `wanted` is resolved.
    ///
    /// # Errors
    /// A refusal when the symbol is not in the kernel or cannot be told from others.
    fn resolve(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal>;

    /// The function of the kernel that is to be replaced.
    ///
    /// # Errors
    /// A refusal when it is not in the kernel or cannot be told from others.
    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal>;
}

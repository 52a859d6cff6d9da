//! Names and records that travel between the differ, the module link and the converter.
//!
//! The linker and objtool must see ordinary objects, so in between a reference that the kernel's
//! livepatch core will resolve is an ordinary relocation against a *placeholder*, a weak undefined
//! symbol, and [`PLACEHOLDERS`] says what each placeholder stands for. The converter turns them into
//! the form of `Documentation/livepatch/module-elf-format.rst`.

use std::fmt;

/// Table of placeholders: records of [`PLACEHOLDER_RECORD`] bytes, three `R_X86_64_64` pointers each:
/// to the placeholder, to the name of the object whose loading applies the relocation, and to the
/// final symbol name. The strings are in [`PLACEHOLDER_STRINGS`]. The converter removes both.
pub const PLACEHOLDERS: &str = ".kpatch.placeholders";
/// NUL-terminated strings of [`PLACEHOLDERS`].
pub const PLACEHOLDER_STRINGS: &str = ".kpatch.placeholder_strings";
/// Size of a record of [`PLACEHOLDERS`] in bytes.
pub const PLACEHOLDER_RECORD: usize = 24;

/// Table of patched functions, which the in-kernel core reads: records of [`FUNCTION_RECORD`] bytes,
/// `{ new function, old name, object name, position }`, the first three `R_X86_64_64` pointers, the
/// last a number. The strings are in [`FUNCTION_STRINGS`].
pub const FUNCTIONS: &str = ".kpatch.funcs";
/// NUL-terminated strings of [`FUNCTIONS`].
pub const FUNCTION_STRINGS: &str = ".kpatch.strings";
/// Size of a record of [`FUNCTIONS`] in bytes.
pub const FUNCTION_RECORD: usize = 32;

/// Table of callbacks, which the in-kernel core reads: records of [`CALLBACK_RECORD`] bytes,
/// `{ function, object name, kind }`, the first two `R_X86_64_64` pointers, the last a number, see
/// [`CallbackKind`]. The strings are in [`FUNCTION_STRINGS`]. At most one record for each object and
/// kind.
pub const CALLBACKS: &str = ".kpatch.callbacks";
/// Size of a record of [`CALLBACKS`] in bytes.
pub const CALLBACK_RECORD: usize = 24;

/// Table of what a patch was built for, which the in-kernel core checks: records of [`GATE_RECORD`]
/// bytes, `{ object name, start of notes, end of notes, size of the build-id, build-id }`. The first
/// three are `R_X86_64_64` pointers, those to notes livepatch symbols ([`NOTES`]) in the record of
/// [`VMLINUX`] and NULL in those of modules; the build-id is filled up to [`BUILD_ID_MAX`] bytes. One
/// record for the kernel and for each patched module. The strings are in [`FUNCTION_STRINGS`].
pub const GATE: &str = ".kpatch.gate";
/// Size of a record of [`GATE`] in bytes.
pub const GATE_RECORD: usize = 64;
/// Where in a record of [`GATE`] the size of the build-id is; the build-id follows.
pub const GATE_SIZE_AT: usize = 24;
/// Longest build-id that a record of [`GATE`] takes, in bytes.
pub const BUILD_ID_MAX: usize = 32;
/// The kernel's symbols for the beginning and the end of its ELF notes
/// (`include/asm-generic/vmlinux.lds.h`).
pub const NOTES: [&str; 2] = ["__start_notes", "__stop_notes"];
/// Key in `.modinfo` for what a patch was built for: `OBJECT:BUILD-ID` in hexadecimal digits, once for
/// each record of [`GATE`].
pub const BUILT_FOR: &str = "kpatch_built_for";
/// Key in `.modinfo` of a patch without [`GATE`]; its value is `off`.
pub const BUILD_ID_CHECK: &str = "kpatch_build_id_check";

/// When the kernel's livepatch core runs a callback: the members of `struct klp_callbacks`
/// (`include/linux/livepatch.h`), in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallbackKind {
    /// Before the object is patched; may refuse with a negative errno.
    PrePatch,
    /// When every task runs the new code.
    PostPatch,
    /// Before tasks go back to the old code.
    PreUnpatch,
    /// When no task runs the new code any more.
    PostUnpatch,
}

impl CallbackKind {
    /// All kinds, in the order of [`CallbackKind::number`].
    pub const ALL: [CallbackKind; 4] =
        [Self::PrePatch, Self::PostPatch, Self::PreUnpatch, Self::PostUnpatch];

    /// How a record of [`CALLBACKS`] says it.
    pub fn number(self) -> u64 {
        match self {
            Self::PrePatch => 0,
            Self::PostPatch => 1,
            Self::PreUnpatch => 2,
            Self::PostUnpatch => 3,
        }
    }

    /// The member of `struct klp_callbacks`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrePatch => "pre_patch",
            Self::PostPatch => "post_patch",
            Self::PreUnpatch => "pre_unpatch",
            Self::PostUnpatch => "post_unpatch",
        }
    }
}

/// What the kernel calls itself in livepatch names.
pub const VMLINUX: &str = "vmlinux";

/// Longest object name: `%55[^.]` in `klp_resolve_symbols` (`kernel/livepatch/core.c`), and
/// `MODULE_NAME_LEN` less the NUL.
pub const OBJECT_NAME_MAX: usize = 55;
/// Longest symbol name: `%511[^,]` in the same function (`KSYM_NAME_LEN` less the NUL).
pub const SYMBOL_NAME_MAX: usize = 511;

const SYMBOL_PREFIX: &str = ".klp.sym.";
const SECTION_PREFIX: &str = ".klp.rela.";
const PLACEHOLDER_PREFIX: &str = ".kpatch.placeholder.";

/// A symbol that the livepatch core looks up in kallsyms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LivepatchSymbol {
    /// The object that has the symbol: [`VMLINUX`] or a module.
    pub object: String,
    /// Its name in kallsyms.
    pub name: String,
    /// Which of several symbols of that name in the object, counted from 1 in the order of kallsyms;
    /// 0 says that the name is unique.
    pub position: u32,
}

/// Why a name cannot be a livepatch name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The kernel reads no further than the limit and would look up another name.
    #[error("`{0}` is longer than the kernel's livepatch core reads")]
    TooLong(String),
    /// A dot in an object name or a comma in a symbol name ends it for the kernel.
    #[error("`{0}` holds a character that ends the name for the kernel's livepatch core")]
    Separator(String),
    /// Not of the form that the kernel scans.
    #[error("`{0}` is not a livepatch name")]
    Malformed(String),
}

impl LivepatchSymbol {
    /// Checks the limits of the kernel's `sscanf`.
    ///
    /// # Errors
    /// [`NameError`] when the kernel would not read the name back whole.
    pub fn check(&self) -> Result<(), NameError> {
        check_object(&self.object)?;
        if self.name.len() > SYMBOL_NAME_MAX {
            return Err(NameError::TooLong(self.name.clone()));
        }
        if self.name.is_empty() || self.name.contains(',') {
            return Err(NameError::Separator(self.name.clone()));
        }
        Ok(())
    }

    /// Reads `.klp.sym.<object>.<name>,<position>`.
    ///
    /// # Errors
    /// [`NameError`] when the kernel could not read it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Malformed(text.to_owned());
        let rest = text.strip_prefix(SYMBOL_PREFIX).ok_or_else(malformed)?;
        let (object, rest) = rest.split_once('.').ok_or_else(malformed)?;
        let (name, position) = rest.split_once(',').ok_or_else(malformed)?;
        let position = position.parse().map_err(|_| malformed())?;
        let symbol = Self { object: object.to_owned(), name: name.to_owned(), position };
        symbol.check()?;
        Ok(symbol)
    }
}

impl fmt::Display for LivepatchSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SYMBOL_PREFIX}{}.{},{}", self.object, self.name, self.position)
    }
}

fn check_object(object: &str) -> Result<(), NameError> {
    if object.len() > OBJECT_NAME_MAX {
        return Err(NameError::TooLong(object.to_owned()));
    }
    if object.is_empty() || object.contains('.') {
        return Err(NameError::Separator(object.to_owned()));
    }
    Ok(())
}

/// A livepatch symbol together with the object whose loading applies the relocations against it. The
/// two differ when a patch to module B refers to a symbol of module A.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placeholder {
    /// The object whose `.klp.rela.<object>.*` sections hold the relocations.
    pub applied_with: String,
    /// What is meant.
    pub symbol: LivepatchSymbol,
}

impl Placeholder {
    /// A name that no other placeholder and no kernel symbol has, so that the linker never merges two
    /// that mean different things.
    pub fn unique_name(&self) -> String {
        let LivepatchSymbol { object, name, position } = &self.symbol;
        format!("{PLACEHOLDER_PREFIX}{}.{object}.{name}.{position}", self.applied_with)
    }
}

/// `.klp.rela.<object>.<section>`.
///
/// # Errors
/// [`NameError`] when the kernel could not read `object` back.
pub fn rela_section_name(object: &str, section: &str) -> Result<String, NameError> {
    check_object(object)?;
    Ok(format!("{SECTION_PREFIX}{object}.{section}"))
}

/// The object that a `.klp.rela.` section belongs to, as the kernel reads it.
///
/// # Errors
/// [`NameError`] when the name is not of that form.
pub fn rela_section_object(name: &str) -> Result<&str, NameError> {
    let malformed = || NameError::Malformed(name.to_owned());
    let rest = name.strip_prefix(SECTION_PREFIX).ok_or_else(malformed)?;
    let (object, _) = rest.split_once('.').ok_or_else(malformed)?;
    check_object(object)?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let symbol =
            LivepatchSymbol { object: "nf_tables".into(), name: "foo.isra.0".into(), position: 2 };
        assert_eq!(symbol.to_string(), ".klp.sym.nf_tables.foo.isra.0,2");
        assert_eq!(LivepatchSymbol::parse(&symbol.to_string()), Ok(symbol));
        let section = rela_section_name("vmlinux", ".text.foo").unwrap();
        assert_eq!(section, ".klp.rela.vmlinux..text.foo");
        assert_eq!(rela_section_object(&section), Ok("vmlinux"));
    }

    #[test]
    fn names_that_the_kernel_would_cut_are_refused() {
        let long = "x".repeat(OBJECT_NAME_MAX + 1);
        assert_eq!(rela_section_name(&long, ".text"), Err(NameError::TooLong(long)));
        assert!(LivepatchSymbol::parse(".klp.sym.vmlinux.a").is_err());
        assert!(rela_section_name("a.b", ".text").is_err());
    }
}

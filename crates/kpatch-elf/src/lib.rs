//! Object model of x86-64 relocatable files (objects and kernel modules).
//!
//! [`read`] gives an [`ObjectFile`], which the differ and the converter treat as immutable; what
//! they make is a new `ObjectFile` for [`write`]. Relocation sections are folded into the sections
//! that they apply to, so that indices mean content only. Livepatch relocation sections, of which
//! one section may have several, are kept apart.
//!
//! Inputs are the output of compilers, linkers and objtool. A malformed file is an error, never a
//! panic, but there is no defence against a file that is made to be slow.

mod foreign;
pub mod livepatch;
mod model;
mod read;
mod retain;
mod strings;
mod write;

pub use model::*;
pub use read::ReadError;
pub use read::read;
pub use retain::RetainError;
pub use retain::retain;
pub use strings::Strings;
pub use write::write;

/// `sh_flags` bit of a relocation section that the kernel's livepatch core applies
/// (`include/uapi/linux/elf.h`).
pub const SHF_RELA_LIVEPATCH: u64 = 0x0010_0000;
/// The largest alignment of a section: the largest page that the kernel is linked
/// with. What is written is padded to
/// alignments, so without a limit a few bytes could become a file of any size.
pub const MOST_ALIGNMENT: u64 = 2 << 20;

/// `st_shndx` of a symbol that the livepatch core resolves (`include/uapi/linux/elf.h`).
pub const SHN_LIVEPATCH: u16 = 0xff20;

/// Section flags of the ELF specification, as far as the tools look at them.
pub mod section_flags {
    /// Writable at run time.
    pub const WRITE: u64 = 0x1;
    /// Occupies memory at run time.
    pub const ALLOC: u64 = 0x2;
    /// Executable.
    pub const EXEC: u64 = 0x4;
    /// Equal entries may be merged.
    pub const MERGE: u64 = 0x10;
    /// Entries are NUL-terminated strings.
    pub const STRINGS: u64 = 0x20;
    /// `sh_info` is a section index.
    pub const INFO_LINK: u64 = 0x40;
    /// `sh_link` names the section whose order this one follows.
    pub const LINK_ORDER: u64 = 0x80;
    /// Member of a section group.
    pub const GROUP: u64 = 0x200;
    /// Thread-local.
    pub const TLS: u64 = 0x400;
    /// Compressed behind an `Elf64_Chdr`.
    pub const COMPRESSED: u64 = 0x800;
    /// Not to be discarded by the linker (GNU extension).
    pub const GNU_RETAIN: u64 = 0x20_0000;
}

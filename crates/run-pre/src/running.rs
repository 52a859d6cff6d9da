//! What runs, as the matching sees it: bytes by place, places by name, and what a relocated field
//! holds. [`crate::vmlinux`] and [`crate::module`] answer for the two kinds of kernel code.

use std::borrow::Cow;

use kpatch_elf::RelocationKind;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;

/// A place in what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In vmlinux: the lower half of the address to which it is linked. The kernel is in the highest
    /// 2 GiB and per-CPU symbols of kernels before 6.15 count from 0, so the upper half follows; fields
    /// of 32 bits say no more.
    Address(u32),
    /// In a module: a section of its file, and bytes from its start.
    Section(SectionId, i64),
    /// At, or so many bytes behind, a symbol that the module does not define itself.
    Outside(SymbolId, i64),
}

impl Place {
    /// The place so many bytes further on.
    #[must_use]
    pub fn offset(self, by: i64) -> Self {
        match self {
            Place::Address(address) => Place::Address(address.wrapping_add(by as u32)),
            Place::Section(section, at) => Place::Section(section, at.wrapping_add(by)),
            Place::Outside(symbol, at) => Place::Outside(symbol, at.wrapping_add(by)),
        }
    }

    /// What an undefined weak symbol becomes: nothing.
    pub fn is_nothing(self) -> bool {
        self == Place::Address(0)
    }
}

/// Code and data that run.
pub trait Running: Sync {
    /// The places of all symbols of a name, in the order in which the kernel counts them; of a name that
    /// a module takes from elsewhere, that.
    fn named(&self, name: &str) -> Vec<Place>;

    /// All bytes of the file from a place to the end of what they are part of; `None` if the file has
    /// none there.
    fn bytes(&self, place: Place) -> Option<&[u8]>;

    /// The place S by which a field at `slot` was filled with S and `addend`; `None` if it was filled by
    /// no relocation of that kind.
    fn symbol_of_slot(&self, slot: Place, kind: RelocationKind, addend: i64) -> Option<Place>;

    /// The place that a branch at `slot` leads to, whose field of `width` bytes is part of an instruction
    /// that ends at `end`; `to` is where the field's bytes alone lead.
    fn branch_target(&self, slot: Place, end: Place, to: Place) -> Option<Place>;

    /// Bytes from a place to the next one that has a name, or to the end of what it is part of.
    fn extent(&self, place: Place) -> Option<u64>;

    /// `symbol+0x12`, for messages.
    fn name_of(&self, place: Place) -> Cow<'_, str>;
}

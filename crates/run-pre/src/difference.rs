//! The first place where compiled code is not what runs.

use kpatch_elf::SectionId;

use crate::facts::Contradiction;
use crate::running::Place;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The section of the object.
    pub section: SectionId,
    /// Where in it, in bytes.
    pub ours: u64,
    /// Where in what runs.
    pub theirs: Place,
    /// What is different.
    pub what: What,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Bytes outside of relocated fields.
    Bytes,
    /// What runs has no bytes there.
    Missing,
    /// What runs goes on.
    Longer,
    /// The field holds no relocation of the kind that ours has.
    Field,
    /// The string or constant that is referred to.
    Content,
    /// The field refers to something that has another name.
    Name {
        /// What ours refers to.
        wanted: String,
    },
    /// The field and others tell two places of one thing.
    Contradiction(Contradiction),
}

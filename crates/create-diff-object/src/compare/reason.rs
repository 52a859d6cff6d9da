//! Why two pieces differ, in a form that messages and explanations are made from.

use crate::normalize::atoms::AtomId;

/// Why two pieces differ: the first difference found, and where it is on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What is different.
    pub what: What,
    /// Where in the original piece, in bytes from its origin; `None` if the difference is no place of
    /// it (something that only the patched piece has).
    pub original: Option<i64>,
    /// Where in the patched piece, in bytes from its origin; `None` as for `original`.
    pub patched: Option<i64>,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One is longer. In code that means instructions behind the end of the other.
    Size,
    /// One is per CPU, or writable, and the other is not.
    Memory,
    /// Bytes of data.
    Bytes,
    /// An instruction, by operation or operands; the place is in it.
    Instruction,
    /// What a field refers to: another symbol, offset, string or constant. The place is the field, or
    /// the instruction of a branch without relocation.
    Reference,
    /// One has references where the other has none.
    References,
    /// The entries of the special section of this name; the place is what the entry describes.
    Entry(String),
    /// The cold part that the compiler split off; the place is in that part.
    ColdPart {
        /// The part, a piece of the patched object.
        part: AtomId,
        /// What is different there.
        what: Box<What>,
    },
    /// A function that it calls, which nothing can redirect; the place is in that function.
    Callee {
        /// The function, a piece of the patched object.
        function: AtomId,
        /// What is different there.
        what: Box<What>,
    },
}

impl Reason {
    /// A difference at one offset of both pieces.
    pub fn at(what: What, offset: i64) -> Self {
        Reason { what, original: Some(offset), patched: Some(offset) }
    }

    /// A difference of the pieces as such.
    pub fn whole(what: What) -> Self {
        Reason { what, original: None, patched: None }
    }
}

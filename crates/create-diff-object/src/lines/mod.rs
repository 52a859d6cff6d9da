//! What the debug information of an object says about its source, for messages and for the numbers that
//! come from `__LINE__`: [`declarations`] of names, [`rows`] for code, which functions are [`inlined`]
//! into which, the [`scopes`] of static variables, and the [`layouts`] of types.
//!
//! DWARF 4 and 5, compressed or not. Bias: an object without debug information, or with one that is not
//! understood, has no lines; what was read before an error is used. Nothing is read before it is asked
//! for.

mod debug;
pub mod declarations;
pub mod inlined;
pub mod layouts;
pub mod rows;
pub mod scopes;

pub use declarations::Lines;
pub use inlined::Inlined;
pub use rows::RowAt;
pub use rows::Rows;
pub use scopes::Scopes;

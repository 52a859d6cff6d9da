//! What the stand-alone tool is told of the running kernel: the symbols of the parent object (vmlinux or
//! a module) as `readelf -s --wide` prints them, and the exports of `Module.symvers`.
//!
//! [`listing`] reads the text, [`files`] finds the source file's part of it, [`symbols`] answers the
//! emitter.

pub mod files;
pub mod listing;
pub mod symbols;

pub use listing::Listing;
pub use listing::ListingError;
pub use symbols::ParentSymbols;

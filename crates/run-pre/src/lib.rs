//! Run-pre matching: proves that what was compiled *is* what runs, and takes every address from there.
//!
//! The idea is Ksplice's (Arnold and Kaashoek, "Ksplice: Automatic Rebootless Kernel Updates", EuroSys
//! 2009, section 4): compiled code ("pre") is compared with the code that runs ("run"). If they
//! differ, source, configuration or compiler are not those of the kernel. Where they are the same, each
//! relocated field of the code that runs tells the true place of its symbol, so that which of several
//! symbols of one name is meant is known and not guessed.
//!
//! | What | Where |
//! |---|---|
//! | what runs: an image, a module's file | [`running`], [`vmlinux`], [`module`] |
//! | a section as one block | `block` |
//! | a function by itself, decoded | `functions` |
//! | rewrites that are no difference | `sites` |
//! | what relocated fields tell | [`facts`] |
//! | all of an object | [`matching`] |
//!
//! Bias: rules with names and no wildcards. What no rule explains is a difference, and two fields that
//! tell different places of one symbol are one, too.

mod block;
mod content;
pub mod difference;
pub mod facts;
mod functions;
pub mod listing;
pub mod matching;
pub mod module;
pub mod running;
mod sites;
pub mod vmlinux;

pub use difference::Difference;
pub use facts::Facts;
pub use matching::Matched;
pub use matching::Verdict;
pub use matching::match_object;
pub use module::LoadableModule;
pub use running::Place;
pub use running::Running;
pub use vmlinux::Vmlinux;

//! What the benchmarks compare.

pub(crate) mod listing;
pub(crate) mod real;
pub(crate) mod synthetic;

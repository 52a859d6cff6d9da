//! Says why something counts as changed, for people who have to trust the answer.
//!
//! Bias: nothing here decides anything. What is said comes from what the comparison found.

pub mod details;

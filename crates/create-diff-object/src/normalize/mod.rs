//! From an object as the compiler or objtool wrote it to what it means: pieces that can move by
//! themselves, references between them, and entries of special sections with their owners.
//!
//! [`side`] holds the result. [`sections`] is the one table of special sections.

pub mod atoms;
pub mod branch_tables;
pub mod names;
pub mod patterns;
pub mod record_sizes;
pub mod references;
pub mod resolved;
pub mod sections;
pub mod side;
pub mod source_files;
pub mod tables;

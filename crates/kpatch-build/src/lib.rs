//! From a source patch to a livepatch module.

pub mod apply;
pub mod author_headers;
pub mod cache;
pub mod candidates;
pub mod cli;
pub mod compile;
pub mod compile_database;
pub mod diff;
pub mod farm;
pub mod front;
pub mod line_directives;
pub mod link;
pub mod modules;
pub mod outcome;
pub mod patch_file;
pub mod patchable;
pub mod prepare;
pub mod progress;
pub mod report;
pub mod resolve;
pub mod run;
pub mod run_pre;
pub mod source_tree;
pub mod target;
pub mod toolchain;
pub mod unbuilt;

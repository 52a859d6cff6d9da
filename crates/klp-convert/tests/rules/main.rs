//! Each rule on a small hand-written module: kept once, broken once.

mod convert;
mod each_rule;
mod fixture;
mod gate;
mod kernel;
mod objtool_and_ibt;
mod verify;
mod whole;
mod with_kernel;

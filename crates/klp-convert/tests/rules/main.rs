//! Each rule on a small hand-written module: kept once, broken once.

mod convert;
mod fixture;
mod objtool_and_ibt;
mod verify;
mod whole;

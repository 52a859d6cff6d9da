// SPDX-License-Identifier: GPL-2.0-only

//! A livepatch in Rust that the kernel refuses.

use std::cell::RefCell;
use std::vec;
use std::vec::Vec;

use super::record;
use super::Module;
use super::EBUSY;
use super::ENABLE_RETURNS;
use super::LOGGED;
use crate::author;
use crate::Error;
use crate::Livepatch;
use crate::Patch;
use crate::Result;

std::thread_local! {
    static CALLED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn called(what: &'static str) {
    CALLED.with_borrow_mut(|all| all.push(what));
}

struct Refused;

impl Livepatch for Refused {
    const PATCH: Patch = Patch::new(&[]);

    fn init() -> Result {
        called("init");
        Ok(())
    }

    fn not_enabled(error: Error) {
        assert_eq!(error.to_errno(), EBUSY);
        called("not_enabled");
    }

    fn exit() {
        called("exit");
    }
}

fn load(module: &mut Module) -> i32 {
    // SAFETY: As in `Module::load`.
    unsafe { author::load::<Refused>(&module.params()) }
}

#[test]
fn the_livepatch_says_so_and_takes_back_what_it_did() {
    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
    ENABLE_RETURNS.set(EBUSY);
    assert_eq!(load(&mut module), EBUSY);
    assert_eq!(CALLED.take(), ["init", "not_enabled", "exit"]);
    assert_eq!(LOGGED.take(), None, "the core leaves that to the livepatch");
}

#[test]
fn what_the_core_refuses_the_core_says() {
    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 2);
    assert_eq!(load(&mut module), crate::EINVAL);
    assert_eq!(CALLED.take(), ["init", "exit"]);
    assert!(LOGGED.take().is_some());
}

#[test]
fn one_that_is_enabled_stays() {
    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
    assert_eq!(load(&mut module), 0);
    assert_eq!(CALLED.take(), ["init"]);
}

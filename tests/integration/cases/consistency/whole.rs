// SPDX-License-Identifier: GPL-2.0-only

//! Other parts, all of those that sleep among them: each says 2 where the module's own says 1. What calls two
//! parts and sleeps between them is in the patch, too, so that no task changes sides there.

#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

include!("parts.rs");

/// Replaces `int part_pair(struct completion *done, int *first, int *second)`.
unsafe extern "C" fn part_pair(done: *mut c_void, first: *mut c_int, second: *mut c_int) -> c_int {
    // SAFETY: The caller hands over a completion and two places. It may sleep, as with the old function.
    unsafe {
        first.write(part_first());
        if wait_for_completion_killable(done) != 0 {
            return EINTR;
        }
        second.write(part_second());
    }
    0
}

struct Whole;

impl Livepatch for Whole {
    // SAFETY: Each has the old one's parameters and result.
    const PATCH: Patch = Patch::new(&[Object::module(c"parts", unsafe {
        &[
            Func::new(c"part_first", part_first as *const c_void),
            Func::new(c"part_second", part_second as *const c_void),
            Func::new(c"part_pair", part_pair as *const c_void),
            Func::new(c"part_sleep", part_sleep as *const c_void),
            Func::new(c"part_nap", part_nap as *const c_void),
            Func::new(c"part_work", part_work as *const c_void),
            Func::new(c"part_fork", part_fork as *const c_void),
        ]
    })]);
}

livepatch!(Whole);

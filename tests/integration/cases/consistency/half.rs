// SPDX-License-Identifier: GPL-2.0-only

//! Two parts that must agree, without their caller: right for the callers that do not sleep between them, and
//! wrong for the one that does.

#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

/// Replaces `int part_first(void)`.
extern "C" fn part_first() -> c_int {
    2
}

/// Replaces `int part_second(void)`.
extern "C" fn part_second() -> c_int {
    2
}

struct Half;

impl Livepatch for Half {
    // SAFETY: Each has the old one's parameters and result.
    const PATCH: Patch = Patch::new(&[Object::module(c"parts", unsafe {
        &[
            Func::new(c"part_first", part_first as *const c_void),
            Func::new(c"part_second", part_second as *const c_void),
        ]
    })]);
}

livepatch!(Half);

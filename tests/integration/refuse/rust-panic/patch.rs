// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

static LENGTHS: [c_int; 4] = [1, 2, 3, 4];

unsafe extern "C" fn show(_: *mut c_void, index: usize) -> c_int {
    LENGTHS[index]
}

struct One;

impl Livepatch for One {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: It is never loaded.
        unsafe { Func::new(c"cmdline_proc_show", show as *const c_void) },
    ])]);
}

livepatch!(One);

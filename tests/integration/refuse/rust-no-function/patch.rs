// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

unsafe extern "C" fn show(_: *mut c_void, _: *mut c_void) -> c_int {
    0
}

struct One;

impl Livepatch for One {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: It is never loaded.
        unsafe { Func::new(c"cmdline_proc_shown", show as *const c_void) },
    ])]);
}

livepatch!(One);

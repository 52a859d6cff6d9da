// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

extern "C" {
    fn msleep(milliseconds: u32);
}

#[inline(never)]
extern "C" fn sleep(milliseconds: u32) -> c_int {
    // SAFETY: It may be called in process context, as `show` is.
    unsafe { msleep(milliseconds) };
    milliseconds as c_int
}

unsafe extern "C" fn show(_: *mut c_void, milliseconds: u32) -> c_int {
    sleep(milliseconds)
}

struct One;

impl Livepatch for One {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: It is never loaded.
        unsafe { Func::new(c"cmdline_proc_show", show as *const c_void) },
    ])]);
}

livepatch!(One);

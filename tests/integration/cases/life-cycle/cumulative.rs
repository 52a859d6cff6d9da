// SPDX-License-Identifier: GPL-2.0-only

//! A cumulative patch: it takes the place of all others, and has less than they have.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

extern "C" {
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
}

/// Replaces `static int uptime_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn show_all(file: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; there is nothing to format.
    unsafe { seq_printf(file, c"all layers\n".as_ptr()) };
    0
}

struct Cumulative;

impl Livepatch for Cumulative {
    // SAFETY: It has the old one's parameters and result, and shows a line, too.
    const PATCH: Patch = Patch::new(unsafe {
        &[Object::vmlinux(&[Func::new(c"uptime_proc_show", show_all as *const c_void)])]
    })
    .replace(true);
}

livepatch!(Cumulative);

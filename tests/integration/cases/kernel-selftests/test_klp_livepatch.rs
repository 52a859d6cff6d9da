// SPDX-License-Identifier: GPL-2.0-only

//! `/proc/cmdline` shows another line. In the place of `test_klp_livepatch.c`.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::Error;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

extern "C" {
    /// C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
}

/// Replaces `static int cmdline_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn cmdline_proc_show(file: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; the format needs no more.
    unsafe { seq_printf(file, c"test_klp_livepatch: this has been live patched\n".as_ptr()) };
    0
}

struct Patched;

impl Livepatch for Patched {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: Same parameters and result; the old one, too, does nothing but print a line.
        unsafe { Func::new(c"cmdline_proc_show", cmdline_proc_show as *const c_void) },
    ])]);

    /// The script expects the kernel's lines alone.
    fn not_enabled(_: Error) {}
}

livepatch!(Patched);

// SPDX-License-Identifier: GPL-2.0-only

//! `/proc/meminfo` shows another line; whether the patch replaces others is a parameter. In the place of
//! `test_klp_atomic_replace.c`.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::livepatch;
use kpatch_core::parameter;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

parameter! {
    /// Whether all earlier patches are replaced.
    REPLACE: c_int = 0, c"replace", 0o644
}

extern "C" {
    /// C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
}

/// Replaces `static int meminfo_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn meminfo_proc_show(file: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; the format needs no more.
    unsafe { seq_printf(file, c"test_klp_atomic_replace: this has been live patched\n".as_ptr()) };
    0
}

struct Patched;

impl Livepatch for Patched {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: Same parameters and result; the old one, too, does nothing but print lines.
        unsafe { Func::new(c"meminfo_proc_show", meminfo_proc_show as *const c_void) },
    ])]);

    fn replace() -> bool {
        REPLACE.get() != 0
    }
}

livepatch!(Patched);

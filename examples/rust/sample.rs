// SPDX-License-Identifier: GPL-2.0-only

//! The smallest livepatch in Rust: `cat /proc/cmdline` says that it is there.
//!
//!     kpatch-build rust -s linux examples/rust/sample.rs
//!
//! The kernel's function is `cmdline_proc_show()` in `fs/proc/cmdline.c`.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ffi::CStr;

use kpatch_core::livepatch;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;

/// `struct seq_file`, of which we know nothing.
#[repr(C)]
struct SeqFile {
    opaque: [u8; 0],
}

extern "C" {
    /// C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
    fn seq_printf(file: *mut SeqFile, format: *const c_char, ...);
}

const LINE: &CStr = c"this has been live patched";

/// Replaces `static int cmdline_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn cmdline_proc_show(file: *mut SeqFile, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; format and argument fit.
    unsafe { seq_printf(file, c"%s\n".as_ptr(), LINE.as_ptr()) };
    0
}

struct Sample;

impl Livepatch for Sample {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: Same parameters and result; the old one, too, does nothing but print a line.
        unsafe { Func::new(c"cmdline_proc_show", cmdline_proc_show as *const c_void) },
    ])]);
}

livepatch!(Sample);

// SPDX-License-Identifier: GPL-2.0-only

//! A layer on a function of the kernel, on one of a module, and on one of a module that may never come: each says
//! which layer it is. Built under several names, for a stack of them.

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
    /// Which layer it is.
    LAYER: c_int = 0, c"layer", 0o444
}

extern "C" {
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
    fn sysfs_emit(buffer: *mut c_char, format: *const c_char, ...) -> c_int;
}

/// Replaces `static int uptime_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn show_layer(file: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; format and argument fit.
    unsafe { seq_printf(file, c"layer %d\n".as_ptr(), LAYER.get()) };
    0
}

/// Replaces `int part_first(void)`.
extern "C" fn part_layer() -> c_int {
    LAYER.get()
}

/// Replaces `loop_attr_do_show_sizelimit(struct device *d, struct device_attribute *attr, char *b)`.
unsafe extern "C" fn emit_layer(_: *mut c_void, _: *mut c_void, buffer: *mut c_char) -> isize {
    // SAFETY: The caller hands us the page of an attribute; format and argument fit.
    unsafe { sysfs_emit(buffer, c"layer %d\n".as_ptr(), LAYER.get()) as isize }
}

struct Layer;

impl Livepatch for Layer {
    // SAFETY: All have the old ones' parameters and result, and do nothing but show a line or make a number.
    const PATCH: Patch = Patch::new(unsafe {
        &[
            Object::vmlinux(&[Func::new(c"uptime_proc_show", show_layer as *const c_void)]),
            Object::module(c"parts", &[Func::new(c"part_first", part_layer as *const c_void)]),
            Object::module(
                c"loop",
                &[Func::new(c"loop_attr_do_show_sizelimit", emit_layer as *const c_void)],
            ),
        ]
    });
}

livepatch!(Layer);

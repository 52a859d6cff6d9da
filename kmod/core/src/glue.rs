// SPDX-License-Identifier: GPL-2.0-only

//! What the module's C glue and the kernel offer to the core: all that it may call.
//!
//! The build compares these names with the symbols that the compiled core needs.

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ffi::CStr;

extern "C" {
    /// Enables a patch: `int klp_enable_patch(struct klp_patch *patch)`.
    ///
    /// C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)
    pub(crate) fn klp_enable_patch(patch: *mut c_void) -> c_int;

    /// Takes a reference on the module, for good (`__module_get` is inline in some configurations).
    pub(crate) fn kpatch_glue_pin();

    /// Writes an error to the kernel's log: a NUL-terminated text and a negative errno.
    fn kpatch_glue_log_failure(text: *const c_char, error: c_int);
}

/// Writes an error to the kernel's log: what failed, and the negative errno.
pub(crate) fn log_failure(text: &'static CStr, error: c_int) {
    // SAFETY: `text` is a NUL-terminated string.
    unsafe { kpatch_glue_log_failure(text.as_ptr(), error) };
}

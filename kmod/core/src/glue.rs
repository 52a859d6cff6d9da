// SPDX-License-Identifier: GPL-2.0-only

//! What the module's C glue and the kernel offer to the core: all that it may call.
//!
//! The build compares these names with the symbols that the compiled core needs.

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ffi::CStr;

use crate::name::Name;

extern "C" {
    /// Enables a patch: `int klp_enable_patch(struct klp_patch *patch)`.
    ///
    /// C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)
    pub(crate) fn klp_enable_patch(patch: *mut c_void) -> c_int;

    /// Takes a reference on the module, for good (`__module_get` is inline in some configurations).
    pub(crate) fn kpatch_glue_pin();

    /// Writes an error to the kernel's log: a NUL-terminated text and a negative errno.
    fn kpatch_glue_log_failure(text: *const c_char, error: c_int);

    /// Writes to the kernel's log that an object is not the one that the patch was built for: its name,
    /// the build-id that it should have, the one that it has (of no bytes if it has none).
    fn kpatch_glue_log_other_build(
        object: *const c_char,
        built_for: *const u8,
        built_for_size: usize,
        found: *const u8,
        found_size: usize,
    );
}

/// Writes an error to the kernel's log: what failed, and the negative errno.
pub(crate) fn log_failure(text: &'static CStr, error: c_int) {
    // SAFETY: `text` is a NUL-terminated string.
    unsafe { kpatch_glue_log_failure(text.as_ptr(), error) };
}

/// Writes to the kernel's log that `object` should have the build-id `built_for` and has `found`, which is
/// empty if it has none.
pub(crate) fn log_other_build(object: Name, built_for: &[u8], found: &[u8]) {
    // SAFETY: The name is a NUL-terminated string, and the pointers are to as many bytes as is said.
    unsafe {
        kpatch_glue_log_other_build(
            object.as_ptr(),
            built_for.as_ptr(),
            built_for.len(),
            found.as_ptr(),
            found.len(),
        );
    }
}

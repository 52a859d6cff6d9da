// SPDX-License-Identifier: GPL-2.0-only

//! What the module's C glue and the kernel offer to the core: all that it may call.
//!
//! The build compares these names with the symbols that the compiled core needs.

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_ulong;
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

    /// Where the module of a `klp_object` is in its life, as `enum module_state` counts; negative for the
    /// kernel itself.
    pub(crate) fn kpatch_glue_module_state(object: *const c_void) -> c_int;

    /// Writes a NUL-terminated line to the kernel's log, with a level from 0 (`KERN_EMERG`) to 7.
    pub(crate) fn kpatch_glue_print(level: c_int, line: *const c_char);

    /// `GFP_KERNEL`, whose value depends on the kernel.
    pub(crate) static kpatch_glue_gfp_kernel: u32;

    /// `GFP_ATOMIC`.
    pub(crate) static kpatch_glue_gfp_atomic: u32;

    /// Memory of a size, as flags say; NULL if there is none (`kmalloc` is a macro or inline).
    pub(crate) fn kpatch_glue_alloc(size: usize, flags: u32) -> *mut c_void;

    /// Frees such memory: `void kfree(const void *)`.
    ///
    /// C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)
    pub(crate) fn kfree(memory: *const c_void);

    /// The number of the running task (`current` is inline).
    pub(crate) fn kpatch_glue_current_pid() -> c_int;

    /// The number of its thread group in its own namespace.
    pub(crate) fn kpatch_glue_current_tgid_in_namespace() -> c_int;

    /// The state of an installed patch; NULL if there is none. In callbacks only.
    pub(crate) fn klp_get_prev_state(id: c_ulong) -> *mut c_void;

    /// The data of a shadow variable; NULL if there is none.
    pub(crate) fn klp_shadow_get(object: *mut c_void, id: c_ulong) -> *mut c_void;

    /// Makes a shadow variable; NULL if there is no memory, or one already, of which it warns.
    pub(crate) fn klp_shadow_alloc(
        object: *mut c_void,
        id: c_ulong,
        size: usize,
        flags: u32,
        constructor: Option<ShadowConstructor>,
        constructor_data: *mut c_void,
    ) -> *mut c_void;

    /// The same, but for one that is there already, which it returns.
    pub(crate) fn klp_shadow_get_or_alloc(
        object: *mut c_void,
        id: c_ulong,
        size: usize,
        flags: u32,
        constructor: Option<ShadowConstructor>,
        constructor_data: *mut c_void,
    ) -> *mut c_void;

    /// Takes a shadow variable away, if there is one.
    pub(crate) fn klp_shadow_free(
        object: *mut c_void,
        id: c_ulong,
        destructor: Option<ShadowDestructor>,
    );

    /// Takes all shadow variables with the number away.
    pub(crate) fn klp_shadow_free_all(id: c_ulong, destructor: Option<ShadowDestructor>);
}

/// `klp_shadow_ctor_t`: the object, the new data, the caller's data.
pub(crate) type ShadowConstructor =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int;

/// `klp_shadow_dtor_t`: the object, the data.
pub(crate) type ShadowDestructor = unsafe extern "C" fn(*mut c_void, *mut c_void);

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

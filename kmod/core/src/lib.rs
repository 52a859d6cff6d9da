// SPDX-License-Identifier: GPL-2.0-only

//! The in-kernel core of a patch module.
//!
//! It turns the tables that were linked into the module into the kernel's `klp_patch` and
//! enables it. Everything else, redirection of functions and the switch of every task, is done by
//! the kernel's own livepatch core. The tables come from the toolchain, which made them of a source patch, or
//! from an author who writes the livepatch in Rust ([`author`]).
//!
//! It needs nothing of the kernel's Rust support: only `core`, the functions of the module's C glue
//! and `klp_enable_patch`. It never allocates (the glue has static storage, sized at build time)
//! and never panics: a kernel without Rust has nothing that would catch a panic, so the build fails
//! if any call into `core` is left. Hence no indexing, no unchecked arithmetic, no `unwrap`.
//!
//! Bias: a table that is not exactly what the build announced is refused with `EINVAL` before the
//! kernel hears of the patch.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)

#![no_std]

pub mod author;
mod errno;
mod gate;
mod glue;
mod layout;
mod name;
mod notes;
mod tables;

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ffi::CStr;
use core::ptr;
use core::ptr::NonNull;

use name::Name;
use tables::build;

pub use author::callbacks::Callbacks;
pub use author::callbacks::ModuleState;
pub use author::callbacks::PatchedObject;
pub use author::memory::Alloc;
pub use author::memory::KBox;
pub use author::parameter::ArrayParameter;
pub use author::parameter::Parameter;
pub use author::patch::Func;
pub use author::patch::Object;
pub use author::patch::Patch;
pub use author::print::Hex;
pub use author::shadow::Shadow;
pub use author::state::State;
pub use author::state::StateList;
pub use author::state::States;
pub use author::task::current_pid;
pub use author::task::current_tgid_in_namespace;
pub use author::task::Pid;
pub use author::Livepatch;
pub use errno::to_result;
pub use errno::Error;
pub use errno::Result;
pub use tables::callbacks::CallbackRecord;
pub use tables::functions::Record;
pub use tables::params::Params;

/// The table and the storage do not fit together.
const EINVAL: c_int = Error::EINVAL.to_errno();

/// The kernel or a module is not the one that the patch was built for.
const ENOEXEC: c_int = Error::ENOEXEC.to_errno();

/// Builds the patch that `params` describes and enables it; if it asks for that, pins the module.
///
/// Called once, by the glue's `module_init`. Returns 0 or the negative errno that `module_init` has
/// to return. After a failure nothing has to be undone: there is no allocation, the reference on the
/// module is taken last, and `klp_enable_patch` takes its own steps back before it fails.
///
/// # Safety
///
/// `params` must point to a [`Params`] that upholds its invariants; nothing else may use the storage
/// it names while this runs, and only the kernel's livepatch core may afterwards.
#[no_mangle]
pub unsafe extern "C" fn kpatch_core_load(params: *const Params) -> c_int {
    // SAFETY: By this function's contract.
    match unsafe { load(params) } {
        Ok(()) => 0,
        Err(NotLoaded::Said(error)) => error,
        Err(NotLoaded::ByKernel(error)) => {
            // SAFETY: By this function's contract.
            let replace = unsafe { (*params).replace };
            glue::log_failure(not_enabled(replace, error), error);
            error
        }
    }
}

/// Why a patch is not loaded: a negative errno.
pub(crate) enum NotLoaded {
    /// The log has it.
    Said(c_int),
    /// `klp_enable_patch` failed. The kernel logs most of its reasons, but not all.
    ByKernel(c_int),
}

/// As [`kpatch_core_load`], but says nothing of what the kernel refuses.
///
/// # Safety
///
/// As there.
pub(crate) unsafe fn load(params: *const Params) -> core::result::Result<(), NotLoaded> {
    // SAFETY: By this function's contract `params` points to a valid `Params`.
    let params = unsafe { &*params };

    // SAFETY: By this function's contract the storage is valid and ours alone.
    let built = unsafe { build::build(params) };
    if let Err(malformed) = built {
        glue::log_failure(malformed.text(), EINVAL);
        return Err(NotLoaded::Said(EINVAL));
    }

    // SAFETY: As above.
    unsafe { check_kernel(params) }.map_err(NotLoaded::Said)?;

    // SAFETY: `build` has filled the patch; it lives in static storage of the module, which stays
    // until the patch is disabled. We are called from `module_init`, as the kernel demands.
    let error = unsafe { glue::klp_enable_patch(params.patch) };
    if error != 0 {
        return Err(NotLoaded::ByKernel(error));
    }

    if params.pin {
        // Last, so that a failed load leaves no reference behind. Nobody can unload the module in
        // between: its `module_init` has not returned.
        // SAFETY: The module is being loaded, so the kernel holds a reference on it.
        unsafe { glue::kpatch_glue_pin() };
    }
    Ok(())
}

/// What to say of a patch that the kernel did not enable, with a negative errno.
pub(crate) fn not_enabled(replace: bool, error: c_int) -> &'static CStr {
    // `klp_is_patch_compatible()`: the one thing that the kernel finds wrong with a patch as we make them.
    if error == EINVAL && replace {
        return c"the kernel did not enable the patch: one that replaces others must have all their states, in no older version";
    }
    c"the kernel did not enable the patch"
}

/// Checks that the running kernel is the one that the patch was built for. The error, a negative errno, has
/// been logged.
///
/// # Safety
///
/// `params` must point to a [`Params`] that upholds its invariants.
pub(crate) unsafe fn check_kernel(params: *const Params) -> core::result::Result<(), c_int> {
    // SAFETY: By this function's contract, both.
    unsafe { build::gate(&*params) }.check_kernel()
}

/// Checks that a module which the kernel is about to patch is the one that the patch was built for.
///
/// Called by the glue's pre-patch callback, with the module's read-only memory. Returns 0 or the negative
/// errno that the callback has to return; then the module is not patched.
///
/// # Safety
///
/// `params` must be what [`kpatch_core_load`] was called with, `object` a NUL-terminated string that lives
/// as long as the patch's module, and `memory` NULL or the address, a multiple of 4, of `size` bytes that
/// nothing writes while this runs.
#[no_mangle]
pub unsafe extern "C" fn kpatch_core_check_module(
    params: *const Params,
    object: *const c_char,
    memory: *const c_void,
    size: usize,
) -> c_int {
    let Some(object) = NonNull::new(object.cast_mut()) else { return EINVAL };
    // SAFETY: By this function's contract.
    let (params, object, memory) =
        unsafe { (&*params, Name::new(object), gate::memory(memory, size)) };
    // SAFETY: By this function's contract `params` points to a valid `Params`.
    let gate = unsafe { build::gate(params) };
    gate.check_module(object, memory).err().unwrap_or(0)
}

/// The callback that the patch's author wants to run before a module is patched, NULL if there is none.
///
/// # Safety
///
/// `params` must be what [`kpatch_core_load`] was called with, `object` a NUL-terminated string that lives
/// as long as the patch's module.
#[no_mangle]
pub unsafe extern "C" fn kpatch_core_author_pre_patch(
    params: *const Params,
    object: *const c_char,
) -> *mut c_void {
    let Some(object) = NonNull::new(object.cast_mut()) else { return ptr::null_mut() };
    // SAFETY: By this function's contract.
    let callback = unsafe { build::author_pre_patch(&*params, Name::new(object)) };
    callback.map_or(ptr::null_mut(), NonNull::as_ptr)
}

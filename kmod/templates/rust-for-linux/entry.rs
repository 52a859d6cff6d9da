// SPDX-License-Identifier: GPL-2.0-only

//! The entry points of a patch module by the kernel's own Rust support, for kernels that were built with it.
//!
//! `module!` makes them, and the modinfo that every module has. What modinfo says of livepatching comes from
//! the C glue, as in the other template: `module!` has no key for it.

use core::ffi::c_int;
use kernel::error::to_result;
use kernel::prelude::*;

extern "C" {
    /// Builds the patch and enables it. Returns 0 or a negative errno.
    ///
    /// C header: `glue.h`
    fn kpatch_glue_load() -> c_int;

    /// Lets the author's code clean up, if there is any. The kernel has let go of the patch before.
    ///
    /// C header: `glue.h`
    fn kpatch_glue_unload();
}

/// The module, while it is loaded. It owns nothing: the glue has static storage, and what the kernel's
/// livepatch core has made of it is taken back before the module can be unloaded.
struct PatchModule;

// `module! { type: PatchModule, name: ..., license: "GPL", }`: generated.
include!("module.rs");

impl kernel::Module for PatchModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: We are the module's initialisation, which happens once.
        to_result(unsafe { kpatch_glue_load() })?;
        Ok(Self)
    }
}

impl Drop for PatchModule {
    fn drop(&mut self) {
        // SAFETY: We are the module's exit, which happens once, after `init` went well.
        unsafe { kpatch_glue_unload() };
    }
}

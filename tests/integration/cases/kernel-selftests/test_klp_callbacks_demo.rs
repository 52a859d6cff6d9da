// SPDX-License-Identifier: GPL-2.0-only

//! Callbacks for the kernel and two modules, of which one has a function replaced. In the place of
//! `test_klp_callbacks_demo.c`.

#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::info;
use kpatch_core::livepatch;
use kpatch_core::parameter;
use kpatch_core::to_result;
use kpatch_core::Callbacks;
use kpatch_core::Error;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;

mod announce;

parameter! {
    /// What pre-patch callbacks return.
    PRE_PATCH_RET: c_int = 0, c"pre_patch_ret", 0o644
}

struct Announce;

impl Callbacks for Announce {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        announce::callback("pre_patch_callback", object);
        to_result(PRE_PATCH_RET.get())
    }

    fn post_patch(object: &PatchedObject<'_>) {
        announce::callback("post_patch_callback", object);
    }

    fn pre_unpatch(object: &PatchedObject<'_>) {
        announce::callback("pre_unpatch_callback", object);
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        announce::callback("post_unpatch_callback", object);
    }
}

/// Replaces `static void busymod_work_func(struct work_struct *work)`.
unsafe extern "C" fn patched_work_func(_: *mut c_void) {
    info!("patched_work_func");
}

struct Demo;

impl Livepatch for Demo {
    const PATCH: Patch = Patch::new(&[
        Object::vmlinux(&[]).callbacks::<Announce>(),
        Object::module(c"test_klp_callbacks_mod", &[]).callbacks::<Announce>(),
        Object::module(
            c"test_klp_callbacks_busy",
            // SAFETY: Both are functions of a work item; whoever queues that expects nothing of them.
            &[unsafe { Func::new(c"busymod_work_func", patched_work_func as *const c_void) }],
        )
        .callbacks::<Announce>(),
    ]);

    /// The script expects the kernel's lines alone.
    fn not_enabled(_: Error) {}
}

livepatch!(Demo);

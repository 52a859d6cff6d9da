// SPDX-License-Identifier: GPL-2.0-only

//! Callbacks: what a livepatch does beside replacing functions, and when.
//!
//! The kernel's own demonstration (`samples/livepatch/livepatch-callbacks-demo.c`) in Rust. It is about the
//! kernel itself and two modules, of which the kernel's source has the code; each may be loaded or not:
//!
//!     kpatch-build rust -s linux --module livepatch-callbacks-mod.ko \
//!         --module livepatch-callbacks-busymod.ko examples/rust/livepatch_callbacks_demo.rs
//!
//! With `pre_patch_ret=-19` its pre-patch callbacks fail.

#![no_std]

use core::ffi::c_int;
use core::ffi::c_void;

use kpatch_core::info;
use kpatch_core::livepatch;
use kpatch_core::parameter;
use kpatch_core::to_result;
use kpatch_core::Callbacks;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;

parameter! {
    /// What pre-patch callbacks return.
    PRE_PATCH_RET: c_int = 0, c"pre_patch_ret", 0o644
}

/// Says what is called.
struct Announce;

impl Announce {
    fn say(callback: &str, object: &PatchedObject<'_>) {
        match object.module_state() {
            Some(state) => info!(callback, ": ", object.name(), " -> ", state.describe()),
            None => info!(callback, ": vmlinux"),
        }
    }
}

impl Callbacks for Announce {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        Self::say("pre_patch_callback", object);
        to_result(PRE_PATCH_RET.get())
    }

    fn post_patch(object: &PatchedObject<'_>) {
        Self::say("post_patch_callback", object);
    }

    fn pre_unpatch(object: &PatchedObject<'_>) {
        Self::say("pre_unpatch_callback", object);
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        Self::say("post_unpatch_callback", object);
    }
}

/// Replaces `static void busymod_work_func(struct work_struct *work)`.
unsafe extern "C" fn patched_work_func(_: *mut c_void) {
    info!("patched_work_func");
}

struct CallbacksDemo;

impl Livepatch for CallbacksDemo {
    const PATCH: Patch = Patch::new(&[
        Object::vmlinux(&[]).callbacks::<Announce>(),
        Object::module(c"livepatch_callbacks_mod", &[]).callbacks::<Announce>(),
        Object::module(
            c"livepatch_callbacks_busymod",
            // SAFETY: Both are functions of a work item; whoever queues that expects nothing of them.
            &[unsafe { Func::new(c"busymod_work_func", patched_work_func as *const c_void) }],
        )
        .callbacks::<Announce>(),
    ]);
}

livepatch!(CallbacksDemo);

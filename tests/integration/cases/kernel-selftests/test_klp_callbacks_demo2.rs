// SPDX-License-Identifier: GPL-2.0-only

//! Callbacks for the kernel; whether the patch replaces others is a parameter. In the place of
//! `test_klp_callbacks_demo2.c`.

#![no_std]

use core::ffi::c_int;

use kpatch_core::livepatch;
use kpatch_core::parameter;
use kpatch_core::Callbacks;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;

mod announce;

parameter! {
    /// Whether all earlier patches are replaced.
    REPLACE: c_int = 0, c"replace", 0o644
}

struct Announce;

impl Callbacks for Announce {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        announce::callback("pre_patch_callback", object);
        Ok(())
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

struct Demo;

impl Livepatch for Demo {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[]).callbacks::<Announce>()]);

    fn replace() -> bool {
        REPLACE.get() != 0
    }
}

livepatch!(Demo);

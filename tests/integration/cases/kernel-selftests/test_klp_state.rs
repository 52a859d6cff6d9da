// SPDX-License-Identifier: GPL-2.0-only

//! A change to the system, with a state in a version that no other patch can take over. In the place of
//! `test_klp_state.c`.

#![no_std]

use kpatch_core::livepatch;
use kpatch_core::Callbacks;
use kpatch_core::Error;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;
use kpatch_core::State;
use kpatch_core::StateList;
use kpatch_core::States;

mod announce;
mod loglevel;

static STATES: States<1> = States::new([State::new(loglevel::ID, 1)]);

struct Loglevel;

impl Callbacks for Loglevel {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        announce::callback("pre_patch_callback", object);
        loglevel::allocate(STATES.get(loglevel::ID))
    }

    fn post_patch(object: &PatchedObject<'_>) {
        announce::callback("post_patch_callback", object);
        loglevel::fix(STATES.get(loglevel::ID));
    }

    fn pre_unpatch(object: &PatchedObject<'_>) {
        announce::callback("pre_unpatch_callback", object);
        loglevel::restore(STATES.get(loglevel::ID));
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        announce::callback("post_unpatch_callback", object);
        loglevel::free(STATES.get(loglevel::ID));
    }
}

struct Patched;

impl Livepatch for Patched {
    const PATCH: Patch =
        Patch::new(&[Object::vmlinux(&[]).callbacks::<Loglevel>()]).replace(true);

    fn states() -> StateList {
        STATES.list()
    }

    /// The script expects the kernel's lines alone.
    fn not_enabled(_: Error) {}
}

livepatch!(Patched);

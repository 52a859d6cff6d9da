// SPDX-License-Identifier: GPL-2.0-only

//! The same change to the system, with a state in a version that a patch takes over from its predecessor.
//! In the place of `test_klp_state2.c` and, under another name, of `test_klp_state3.c`.

#![no_std]

use kpatch_core::info;
use kpatch_core::livepatch;
use kpatch_core::Callbacks;
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

static STATES: States<1> = States::new([State::new(loglevel::ID, 2)]);

struct Loglevel;

impl Callbacks for Loglevel {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        announce::callback("pre_patch_callback", object);
        if object.previous_state(loglevel::ID).is_some() {
            info!("allocate_loglevel_state: space to store console_loglevel already allocated");
            return Ok(());
        }
        loglevel::allocate(STATES.get(loglevel::ID))
    }

    fn post_patch(object: &PatchedObject<'_>) {
        announce::callback("post_patch_callback", object);
        let state = STATES.get(loglevel::ID);
        match object.previous_state(loglevel::ID).zip(state) {
            Some((previous, state)) => {
                info!("fix_console_loglevel: taking over the console_loglevel change");
                state.set_data(previous.take_data());
            }
            None => loglevel::fix(state),
        }
    }

    // With a predecessor these two are called when the transition to this patch was taken back.
    fn pre_unpatch(object: &PatchedObject<'_>) {
        announce::callback("pre_unpatch_callback", object);
        match object.previous_state(loglevel::ID) {
            Some(_) => info!(
                "restore_console_loglevel: passing the console_loglevel change back to the old livepatch"
            ),
            None => loglevel::restore(STATES.get(loglevel::ID)),
        }
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        announce::callback("post_unpatch_callback", object);
        match object.previous_state(loglevel::ID) {
            Some(_) => info!("free_loglevel_state: keeping space to store console_loglevel"),
            None => loglevel::free(STATES.get(loglevel::ID)),
        }
    }
}

struct Patched;

impl Livepatch for Patched {
    const PATCH: Patch =
        Patch::new(&[Object::vmlinux(&[]).callbacks::<Loglevel>()]).replace(true);

    fn states() -> StateList {
        STATES.list()
    }
}

livepatch!(Patched);

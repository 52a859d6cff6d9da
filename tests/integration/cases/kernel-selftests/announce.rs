// SPDX-License-Identifier: GPL-2.0-only

//! What all livepatches here with callbacks say of them.

use kpatch_core::info;
use kpatch_core::PatchedObject;

/// Says which callback is called, and for what.
pub(crate) fn callback(name: &str, object: &PatchedObject<'_>) {
    match object.module_state() {
        Some(state) => info!(name, ": ", object.name(), " -> ", state.describe()),
        None => info!(name, ": vmlinux"),
    }
}

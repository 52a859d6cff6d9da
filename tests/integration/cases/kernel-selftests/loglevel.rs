// SPDX-License-Identifier: GPL-2.0-only

//! The change to the system that the livepatches with a state make, and take back: what goes to the console.
//! The state's data is the level as it was before, in memory that outlives the module.

use core::ffi::c_ulong;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering;

use kpatch_core::info;
use kpatch_core::Alloc;
use kpatch_core::Error;
use kpatch_core::KBox;
use kpatch_core::Result;
use kpatch_core::State;

/// The state's number.
pub(crate) const ID: c_ulong = 1;

/// `CONSOLE_LOGLEVEL_MOTORMOUTH`: everything.
const EVERYTHING: i32 = 15;

extern "C" {
    /// The first is `console_loglevel`.
    ///
    /// C header: [`include/linux/printk.h`](srctree/include/linux/printk.h)
    static console_printk: [AtomicI32; 4];
}

fn console() -> &'static AtomicI32 {
    // SAFETY: Four `int`s, which the kernel, too, reads and writes without a lock.
    let [level, ..] = unsafe { &console_printk };
    level
}

/// Makes room for the level as it was.
pub(crate) fn allocate(state: Option<&State>) -> Result {
    let state = state.ok_or(Error::EINVAL)?;
    let saved = KBox::new(AtomicI32::new(0), Alloc::Kernel)?;
    state.set_data(KBox::into_raw(saved).cast());
    info!("allocate_loglevel_state: allocating space to store console_loglevel");
    Ok(())
}

/// Keeps the level and sets another.
pub(crate) fn fix(state: Option<&State>) {
    info!("fix_console_loglevel: fixing console_loglevel");
    if let Some(saved) = saved(state) {
        saved.store(console().swap(EVERYTHING, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Sets the level as it was.
pub(crate) fn restore(state: Option<&State>) {
    info!("restore_console_loglevel: restoring console_loglevel");
    if let Some(saved) = saved(state) {
        console().store(saved.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Gives the room back.
pub(crate) fn free(state: Option<&State>) {
    info!("free_loglevel_state: freeing space for the stored console_loglevel");
    if let Some(state) = state {
        // SAFETY: It is what `allocate` put there, here or in the patch that this one took it from, which
        // keeps it no longer. Callbacks run one after the other.
        drop(unsafe { KBox::<AtomicI32>::from_raw(state.data().cast()) });
        state.set_data(core::ptr::null_mut());
    }
}

fn saved(state: Option<&State>) -> Option<&AtomicI32> {
    // SAFETY: As in `free`; it stays until that is called.
    state.and_then(|state| unsafe { state.data().cast::<AtomicI32>().as_ref() })
}

// SPDX-License-Identifier: GPL-2.0-only

//! Shadow variables: new fields for structures of the kernel, which have no room for them.
//!
//! The three ways of the kernel's documentation (`Documentation/livepatch/shadow-vars.rst`), on the objects of
//! a small driver, `tests/integration/cases/rust-shadow/things.c`:
//!
//! - a field that lives as long as its object: made in `thing_init()`, freed in `thing_release()`;
//! - a field that objects get when it is first needed, also those that were there before the patch:
//!   in `thing_show()`, and in an interrupt in `thing_tick()`;
//! - a flag: that there is a shadow variable says that the patched code made the object.
//!
//! When the patch is disabled, `post_unpatch` frees what objects still have.
//!
//!     kpatch-build rust -s linux --module things.ko examples/rust/shadow.rs

#![no_std]

use core::ffi::c_char;
use core::ffi::c_void;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering;

use kpatch_core::error;
use kpatch_core::info;
use kpatch_core::livepatch;
use kpatch_core::Alloc;
use kpatch_core::Callbacks;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Shadow;

/// The beginning of the driver's `struct thing`.
#[repr(C)]
struct Thing {
    name: c_char,
}

/// `struct seq_file`, of which we know nothing.
#[repr(C)]
struct SeqFile {
    opaque: [u8; 0],
}

extern "C" {
    /// C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
    fn seq_printf(file: *mut SeqFile, format: *const c_char, ...);
}

/// How many of the counters are gone.
static DROPPED: AtomicU32 = AtomicU32::new(0);

/// How often something happened to an object.
struct Count(AtomicU32);

impl Count {
    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: No other patch uses these numbers.
static SHOWN: Shadow<Count> = unsafe { Shadow::new(0x7468_0001) };
// SAFETY: As above.
static TICKS: Shadow<Count> = unsafe { Shadow::new(0x7468_0002) };
// SAFETY: As above.
static MADE_BY_US: Shadow<()> = unsafe { Shadow::new(0x7468_0003) };

/// Replaces `static void thing_init(struct thing *thing)`: nobody else knows the object yet.
unsafe extern "C" fn thing_init(thing: *mut Thing) {
    if let Err(error) = MADE_BY_US.alloc(thing, Alloc::Kernel, ()) {
        error!("a thing without its flag: ", error.to_errno());
    }
}

/// Replaces `static void thing_release(struct thing *thing)`: nobody else knows the object any more.
unsafe extern "C" fn thing_release(thing: *mut Thing) {
    // SAFETY: Whoever used them had the object.
    unsafe {
        MADE_BY_US.free(thing);
        SHOWN.free(thing);
        TICKS.free(thing);
    }
}

/// Replaces `static void thing_tick(struct thing *thing)`, which is called in an interrupt.
unsafe extern "C" fn thing_tick(thing: *mut Thing) {
    let count = TICKS.get_or_alloc(thing, Alloc::Atomic, || Count(AtomicU32::new(0)));
    if let Ok(count) = count {
        // SAFETY: It is freed with the object, which the driver keeps during the call, or when no task runs
        // this code.
        unsafe { count.as_ref() }.next();
    }
}

/// Replaces `static void thing_show(struct seq_file *file, struct thing *thing)`.
unsafe extern "C" fn thing_show(file: *mut SeqFile, thing: *mut Thing) {
    let made = if MADE_BY_US.get(thing).is_some() { c"new" } else { c"old" };
    let shown = SHOWN.get_or_alloc(thing, Alloc::Kernel, || Count(AtomicU32::new(0)));
    // SAFETY: As in `thing_tick`.
    let shown = shown.map_or(0, |count| unsafe { count.as_ref() }.next());
    // SAFETY: As above.
    let ticks = TICKS.get(thing).map_or(0, |count| unsafe { count.as_ref() }.0.load(Ordering::Relaxed));
    // SAFETY: The driver hands us an object and the file that it shows it in; the arguments are what the format says.
    unsafe {
        let name = (*thing).name as core::ffi::c_int;
        let format = c"%c %s, shown %u times, %u ticks\n";
        seq_printf(file, format.as_ptr(), name, made.as_ptr(), shown, ticks);
    }
}

struct Clean;

impl Callbacks for Clean {
    fn post_unpatch(_: &PatchedObject<'_>) {
        // SAFETY: No task runs the functions of this patch any more, and nobody else knows the numbers.
        unsafe {
            MADE_BY_US.free_all();
            SHOWN.free_all();
            TICKS.free_all();
        }
        info!("counters that were freed: ", DROPPED.load(Ordering::Relaxed));
    }
}

struct Things;

impl Livepatch for Things {
    const PATCH: Patch = Patch::new(&[Object::module(
        c"things",
        // SAFETY: All have the parameters and results of those that they replace, none relies on another one
        // having been called for the same object.
        &[
            unsafe { Func::new(c"thing_init", thing_init as *const c_void) },
            // SAFETY: As above.
            unsafe { Func::new(c"thing_release", thing_release as *const c_void) },
            // SAFETY: As above.
            unsafe { Func::new(c"thing_show", thing_show as *const c_void) },
            // SAFETY: As above.
            unsafe { Func::new(c"thing_tick", thing_tick as *const c_void) },
        ],
    )
    .callbacks::<Clean>()]);
}

livepatch!(Things);

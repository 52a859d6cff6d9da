// SPDX-License-Identifier: GPL-2.0-only

//! A livepatch to be loaded and unloaded many times under load: each read of a file makes shadow variables and
//! frees one of two. What is left the last callback frees; it says how many there were, and complains if one is
//! missing.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering;

use kpatch_core::info;
use kpatch_core::livepatch;
use kpatch_core::Alloc;
use kpatch_core::Callbacks;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;
use kpatch_core::Shadow;

extern "C" {
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
}

static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A value of a size that only few others have, so that those that leak can be seen.
struct Counted {
    #[allow(dead_code, reason = "it is there to take room")]
    room: [u64; 200],
}

impl Counted {
    fn new() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        Self { room: [0; 200] }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: Nobody else on this kernel has these numbers.
static KEPT: Shadow<Counted> = unsafe { Shadow::new(0x6b65_7074) };
// SAFETY: As above.
static BRIEF: Shadow<Counted> = unsafe { Shadow::new(0x6272_6566) };

/// Replaces `static int version_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn version(file: *mut c_void, _: *mut c_void) -> c_int {
    let kept = KEPT.get_or_alloc(file, Alloc::Kernel, Counted::new);
    let brief = BRIEF.get_or_alloc(file, Alloc::Kernel, Counted::new);
    let good = kept.is_ok() && brief.is_ok() && BRIEF.get(file).is_some();
    // SAFETY: The file is read by one task at a time, and it is we who made the variable.
    unsafe { BRIEF.free(file) };
    let text = if good { c"patched\n" } else { c"no memory\n" };
    // SAFETY: The kernel hands us the file that it is about to show; there is nothing to format.
    unsafe { seq_printf(file, text.as_ptr()) };
    0
}

struct Count;

impl Callbacks for Count {
    fn pre_patch(_: &PatchedObject<'_>) -> Result {
        MADE.store(0, Ordering::Relaxed);
        DROPPED.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn post_unpatch(_: &PatchedObject<'_>) {
        // SAFETY: No task runs the new function any more.
        unsafe { KEPT.free_all() };
        let (made, dropped) = (MADE.load(Ordering::Relaxed), DROPPED.load(Ordering::Relaxed));
        let verdict = if made == dropped { "all" } else { "not all" };
        info!(verdict, " of ", made, " dropped");
    }
}

struct Endure;

impl Livepatch for Endure {
    // SAFETY: It has the old one's parameters and result, and shows a line, too.
    const PATCH: Patch = Patch::new(unsafe {
        &[Object::vmlinux(&[Func::new(c"version_proc_show", version as *const c_void)])
            .callbacks::<Count>()]
    });
}

livepatch!(Endure);

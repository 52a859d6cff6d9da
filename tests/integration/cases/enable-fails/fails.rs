// SPDX-License-Identifier: GPL-2.0-only

//! A livepatch that says what is called, and can fail where an author can make it fail.

#![no_std]

use core::ffi::c_char;
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
    /// What the livepatch returns before anything else is done.
    INIT_RET: c_int = 0, c"init_ret", 0
}

parameter! {
    /// What the module's pre-patch callback returns.
    PRE_PATCH_RET: c_int = 0, c"pre_patch_ret", 0
}

extern "C" {
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
    fn wait_for_completion_killable(completion: *mut c_void) -> c_int;
}

struct Announce;

impl Callbacks for Announce {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        info!("pre_patch ", object.name());
        if object.is_vmlinux() {
            return Ok(());
        }
        to_result(PRE_PATCH_RET.get())
    }

    fn post_patch(object: &PatchedObject<'_>) {
        info!("post_patch ", object.name());
    }

    fn pre_unpatch(object: &PatchedObject<'_>) {
        info!("pre_unpatch ", object.name());
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        info!("post_unpatch ", object.name());
    }
}

/// Replaces `static int version_proc_show(struct seq_file *m, void *v)`.
unsafe extern "C" fn new_version(file: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; there is nothing to format.
    unsafe { seq_printf(file, c"patched\n".as_ptr()) };
    0
}

/// Replaces `int part_first(void)`.
extern "C" fn new_first() -> c_int {
    2
}

/// Replaces `int part_sleep(struct completion *done)`.
unsafe extern "C" fn new_sleep(done: *mut c_void) -> c_int {
    // SAFETY: The caller hands over a completion, and may sleep.
    match unsafe { wait_for_completion_killable(done) } {
        0 => 2,
        error => error,
    }
}

struct Fails;

impl Livepatch for Fails {
    // SAFETY: Each has the old one's parameters and result, and does what that did, but for what it shows.
    const PATCH: Patch = Patch::new(unsafe {
        &[
            Object::vmlinux(&[Func::new(c"version_proc_show", new_version as *const c_void)])
                .callbacks::<Announce>(),
            Object::module(
                c"parts",
                &[
                    Func::new(c"part_first", new_first as *const c_void),
                    Func::new(c"part_sleep", new_sleep as *const c_void),
                ],
            )
            .callbacks::<Announce>(),
        ]
    });

    fn init() -> Result {
        info!("init");
        to_result(INIT_RET.get())
    }

    fn exit() {
        info!("exit");
    }
}

livepatch!(Fails);

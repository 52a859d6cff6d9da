// SPDX-License-Identifier: GPL-2.0-only

//! What cannot be done by replacing functions: change what was set up long ago, let something in only when all
//! tasks run the new functions, and refuse a module in a state that nobody can deal with.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_ushort;
use core::ffi::c_void;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering;

use kpatch_core::livepatch;
use kpatch_core::warning;
use kpatch_core::Callbacks;
use kpatch_core::Error;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::ModuleState;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;

/// `struct settings` of the module.
#[repr(C)]
struct Settings {
    limit: AtomicI32,
}

extern "C" {
    /// An exported symbol of a module that is live, with a reference on the module; else NULL.
    fn __symbol_get(name: *const c_char) -> *mut c_void;
    fn __symbol_put(name: *const c_char);
    fn proc_create_single_data(
        name: *const c_char,
        mode: c_ushort,
        parent: *mut c_void,
        show: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> *mut c_void;
    fn proc_remove(entry: *mut c_void);
    fn seq_printf(file: *mut c_void, format: *const c_char, ...);
    fn wait_for_completion_killable(completion: *mut c_void) -> c_int;
}

/// What the module's author thought to be enough, and what is.
const OLD_LIMIT: i32 = 10;
const NEW_LIMIT: i32 = 20;

/// The variable of the module that points to its settings.
const SETTINGS: &CStr = c"part_settings";

/// Lends the settings of a module that runs. While one is coming, its init function is yet to make them, and
/// then makes them as the patch wants them; while one is going, its exit function has freed them.
fn with_settings(object: &PatchedObject<'_>, what: impl FnOnce(&Settings) -> Result) -> Result {
    if object.module_state() != Some(ModuleState::Live) {
        return Ok(());
    }
    // SAFETY: The name is a C string.
    let variable = unsafe { __symbol_get(SETTINGS.as_ptr()) }.cast::<AtomicPtr<Settings>>();
    // SAFETY: That is how the module declares it, and it stays until we give the reference back.
    let Some(variable) = (unsafe { variable.as_ref() }) else { return Err(Error::ENOENT) };
    // SAFETY: They stay as long as the module is live.
    let result = match unsafe { variable.load(Ordering::Relaxed).as_ref() } {
        Some(settings) => what(settings),
        None => Err(Error::ENOENT),
    };
    // SAFETY: We have a reference by that name.
    unsafe { __symbol_put(SETTINGS.as_ptr()) };
    result
}

/// Beside the module's functions: its settings.
struct Limit;

impl Callbacks for Limit {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        let relaxed = Ordering::Relaxed;
        with_settings(object, |settings| {
            // Whoever has chosen a limit must not lose it.
            let changed = settings.limit.compare_exchange(OLD_LIMIT, NEW_LIMIT, relaxed, relaxed);
            changed.map(drop).map_err(|_| Error::EBUSY)
        })
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        let restored = with_settings(object, |settings| {
            settings.limit.store(OLD_LIMIT, Ordering::Relaxed);
            Ok(())
        });
        if restored.is_err() {
            warning!("the limit stays as it is");
        }
    }
}

/// Beside the kernel's functions, of which none is replaced: a file that nobody may read while a task runs old
/// functions.
struct Service;

static ENTRY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

impl Callbacks for Service {
    fn post_patch(_: &PatchedObject<'_>) {
        let (name, parent) = (c"kpatch_service".as_ptr(), ptr::null_mut());
        // SAFETY: The name is a C string, and the function one that shows a file. That there may be none is right
        // with `proc_remove`.
        let entry = unsafe { proc_create_single_data(name, 0o444, parent, show, ptr::null_mut()) };
        ENTRY.store(entry, Ordering::Relaxed);
    }

    fn pre_unpatch(_: &PatchedObject<'_>) {
        // SAFETY: Ours, or NULL. Who reads the file at this moment is waited for.
        unsafe { proc_remove(ENTRY.swap(ptr::null_mut(), Ordering::Relaxed)) };
    }
}

unsafe extern "C" fn show(file: *mut c_void, _: *mut c_void) -> c_int {
    // SAFETY: The kernel hands us the file that it is about to show; there is nothing to format.
    unsafe { seq_printf(file, c"at your service\n".as_ptr()) };
    0
}

/// Replaces `void part_set_up(struct settings *fresh)`.
unsafe extern "C" fn set_up(fresh: *const Settings) {
    // SAFETY: The caller hands over settings that nobody else has yet.
    unsafe { (*fresh).limit.store(NEW_LIMIT, Ordering::Relaxed) };
}

/// Replaces `int part_sleep(struct completion *done)`.
unsafe extern "C" fn sleep(done: *mut c_void) -> c_int {
    // SAFETY: The caller hands over a completion, and may sleep.
    match unsafe { wait_for_completion_killable(done) } {
        0 => 2,
        error => error,
    }
}

struct Hooks;

impl Livepatch for Hooks {
    // SAFETY: Each has the old one's parameters and result, and does what that did, but for the number.
    const PATCH: Patch = Patch::new(unsafe {
        &[
            Object::vmlinux(&[]).callbacks::<Service>(),
            Object::module(
                c"parts",
                &[
                    Func::new(c"part_set_up", set_up as *const c_void),
                    Func::new(c"part_sleep", sleep as *const c_void),
                ],
            )
            .callbacks::<Limit>(),
        ]
    });
}

livepatch!(Hooks);

// SPDX-License-Identifier: GPL-2.0-only

//! Replaces a system call that tasks make all the time, and counts in `/sys/kernel/test_klp_syscall/npids`
//! which of the tasks of a parameter have not come to the new one yet. In the place of
//! `test_klp_syscall.c`.

#![no_std]

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_long;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering;

use kpatch_core::current_pid;
use kpatch_core::current_tgid_in_namespace;
use kpatch_core::livepatch;
use kpatch_core::parameter;
use kpatch_core::to_result;
use kpatch_core::Error;
use kpatch_core::Func;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::Result;

parameter! {
    /// Tasks that make the call. 0: one that has come to the new one.
    PIDS: [c_int; 128], c"klp_pids", 0
}

/// How many of them have not come to the new one.
static PENDING: AtomicU32 = AtomicU32::new(0);

/// `struct kobj_attribute`, without the fields that lockdep adds.
///
/// C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
/// [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)
#[repr(C)]
struct KobjAttribute {
    name: *const c_char,
    mode: u16,
    show: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_char) -> isize,
    store: *const c_void,
}

// SAFETY: It is not changed by us; the kernel has its own rules.
unsafe impl Sync for KobjAttribute {}

extern "C" {
    static kernel_kobj: *mut c_void;
    fn kobject_create_and_add(name: *const c_char, parent: *mut c_void) -> *mut c_void;
    fn kobject_put(folder: *mut c_void);
    fn sysfs_create_file_ns(
        folder: *mut c_void,
        attribute: *const KobjAttribute,
        namespace: *const c_void,
    ) -> c_int;
    fn sysfs_emit(buffer: *mut c_char, format: *const c_char, ...) -> c_int;
}

static NPIDS: KobjAttribute =
    KobjAttribute { name: c"npids".as_ptr(), mode: 0o444, show: npids_show, store: ptr::null() };

/// The folder; NULL before `init`.
static FOLDER: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" fn npids_show(_: *mut c_void, _: *mut c_void, buffer: *mut c_char) -> isize {
    // SAFETY: The kernel hands us the buffer of the file; format and argument fit.
    unsafe { sysfs_emit(buffer, c"%u\n".as_ptr(), PENDING.load(Ordering::Relaxed)) as isize }
}

/// Replaces `SYSCALL_DEFINE0(getpid)`.
unsafe extern "C" fn sys_getpid(_: *const c_void) -> c_long {
    let pid = current_pid();
    for place in PIDS.values() {
        // Each is found once: then it is 0, which no task has that makes system calls.
        if place.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            PENDING.fetch_sub(1, Ordering::Relaxed);
            break;
        }
    }
    c_long::from(current_tgid_in_namespace())
}

struct Patched;

impl Livepatch for Patched {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
        // SAFETY: Same parameters, and the same result.
        unsafe { Func::new(c"__x64_sys_getpid", sys_getpid as *const c_void) },
    ])]);

    fn init() -> Result {
        PENDING.store(PIDS.values().len() as u32, Ordering::Relaxed);
        // SAFETY: The name is a string, the parent is there as long as the kernel.
        let folder = unsafe { kobject_create_and_add(c"test_klp_syscall".as_ptr(), kernel_kobj) };
        if folder.is_null() {
            return Err(Error::ENOMEM);
        }
        // SAFETY: The attribute is static; the folder goes before the module does.
        let error = unsafe { sysfs_create_file_ns(folder, &NPIDS, ptr::null()) };
        if error != 0 {
            // SAFETY: It is ours.
            unsafe { kobject_put(folder) };
            return to_result(error);
        }
        FOLDER.store(folder, Ordering::Relaxed);
        Ok(())
    }

    fn exit() {
        // SAFETY: `init` went well, so it is a folder, and ours.
        unsafe { kobject_put(FOLDER.load(Ordering::Relaxed)) };
    }
}

livepatch!(Patched);

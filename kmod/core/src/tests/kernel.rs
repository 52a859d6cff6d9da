// SPDX-License-Identifier: GPL-2.0-only

//! What livepatches in Rust use of the kernel, for tests: shadow variables, states of other patches, the
//! log. One for each thread, as each test has its own.

use std::alloc::Layout;
use std::boxed::Box;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_ulong;
use std::ffi::c_void;
use std::ffi::CStr;
use std::ptr;
use std::string::String;
use std::vec::Vec;

use crate::glue::ShadowConstructor;
use crate::glue::ShadowDestructor;

type Key = (usize, c_ulong);

std::thread_local! {
    /// Data by object and number.
    static SHADOWS: RefCell<BTreeMap<Key, Box<[u64]>>> = const { RefCell::new(BTreeMap::new()) };
    /// Whether there is memory.
    pub(super) static MEMORY: Cell<bool> = const { Cell::new(true) };
    /// How often the kernel warned of a second shadow variable.
    pub(super) static DUPLICATES: Cell<u32> = const { Cell::new(0) };
    /// The flags that memory was last asked for with.
    pub(super) static FLAGS: Cell<u32> = const { Cell::new(0) };
    /// States of installed patches.
    pub(super) static PREVIOUS: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
    /// What `module_state` says.
    pub(super) static MODULE_STATE: Cell<c_int> = const { Cell::new(-1) };
    /// Level and text of what was printed.
    pub(super) static PRINTED: RefCell<Vec<(c_int, String)>> = const { RefCell::new(Vec::new()) };
}

/// Number of shadow variables.
pub(super) fn shadows() -> usize {
    SHADOWS.with_borrow(BTreeMap::len)
}

/// What this kernel calls `GFP_KERNEL`.
pub(super) const GFP_KERNEL: u32 = 0xcc0;

#[no_mangle]
static kpatch_glue_gfp_kernel: u32 = GFP_KERNEL;
#[no_mangle]
static kpatch_glue_gfp_atomic: u32 = 0x820;

#[no_mangle]
extern "C" fn kpatch_glue_module_state(object: *const c_void) -> c_int {
    assert!(!object.is_null());
    MODULE_STATE.get()
}

#[no_mangle]
extern "C" fn kpatch_glue_print(level: c_int, line: *const c_char) {
    // SAFETY: The core hands over a line with its NUL.
    let line = unsafe { CStr::from_ptr(line) }.to_str().unwrap().into();
    PRINTED.with_borrow_mut(|printed| printed.push((level, line)));
}

#[no_mangle]
extern "C" fn klp_get_prev_state(id: c_ulong) -> *mut c_void {
    assert_ne!(id, 0);
    PREVIOUS.get()
}

#[no_mangle]
extern "C" fn klp_shadow_get(object: *mut c_void, id: c_ulong) -> *mut c_void {
    let key = (object.addr(), id);
    SHADOWS.with_borrow_mut(|all| {
        all.get_mut(&key).map_or(ptr::null_mut(), |data| data.as_mut_ptr().cast())
    })
}

/// `__klp_shadow_get_or_alloc()` of `kernel/livepatch/shadow.c`.
fn get_or_alloc(
    (object, id): (*mut c_void, c_ulong),
    size: usize,
    flags: u32,
    (constructor, data): (Option<ShadowConstructor>, *mut c_void),
    warn: bool,
) -> *mut c_void {
    let there = klp_shadow_get(object, id);
    if !there.is_null() {
        if warn {
            DUPLICATES.set(DUPLICATES.get() + 1);
            return ptr::null_mut();
        }
        return there;
    }
    FLAGS.set(flags);
    if !MEMORY.get() {
        return ptr::null_mut();
    }
    let words = Layout::from_size_align(size, 8).unwrap().pad_to_align().size() / 8;
    // A pointer to no bytes is one that is not NULL, too.
    let mut place = std::vec![0_u64; words.max(1)].into_boxed_slice();
    if let Some(constructor) = constructor {
        // SAFETY: The core's, with memory of the size that it asked for and its own data.
        let error = unsafe { constructor(object, place.as_mut_ptr().cast(), data) };
        if error != 0 {
            return ptr::null_mut();
        }
    }
    SHADOWS.with_borrow_mut(|all| all.insert((object.addr(), id), place));
    klp_shadow_get(object, id)
}

#[no_mangle]
extern "C" fn klp_shadow_alloc(
    object: *mut c_void,
    id: c_ulong,
    size: usize,
    flags: u32,
    constructor: Option<ShadowConstructor>,
    data: *mut c_void,
) -> *mut c_void {
    get_or_alloc((object, id), size, flags, (constructor, data), true)
}

#[no_mangle]
extern "C" fn klp_shadow_get_or_alloc(
    object: *mut c_void,
    id: c_ulong,
    size: usize,
    flags: u32,
    constructor: Option<ShadowConstructor>,
    data: *mut c_void,
) -> *mut c_void {
    get_or_alloc((object, id), size, flags, (constructor, data), false)
}

fn destroy(key: Key, data: &mut [u64], destructor: Option<ShadowDestructor>) {
    if let Some(destructor) = destructor {
        // SAFETY: The core's, with the data that its constructor filled.
        unsafe { destructor(ptr::without_provenance_mut(key.0), data.as_mut_ptr().cast()) };
    }
}

#[no_mangle]
extern "C" fn klp_shadow_free(
    object: *mut c_void,
    id: c_ulong,
    destructor: Option<ShadowDestructor>,
) {
    let key = (object.addr(), id);
    if let Some(mut data) = SHADOWS.with_borrow_mut(|all| all.remove(&key)) {
        destroy(key, &mut data, destructor);
    }
}

#[no_mangle]
extern "C" fn klp_shadow_free_all(id: c_ulong, destructor: Option<ShadowDestructor>) {
    let all =
        SHADOWS.with_borrow_mut(|all| all.extract_if(.., |key, _| key.1 == id).collect::<Vec<_>>());
    for (key, mut data) in all {
        destroy(key, &mut data, destructor);
    }
}

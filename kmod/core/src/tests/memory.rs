// SPDX-License-Identifier: GPL-2.0-only

//! Memory that livepatches in Rust ask for, from an allocator made for the tests.

use core::ffi::c_void;
use core::ptr;
use std::boxed::Box;
use std::cell::Cell;
use std::rc::Rc;

use super::kernel::GFP_KERNEL;
use crate::Alloc;
use crate::Error;
use crate::KBox;

/// What each piece is: enough for all that is asked for here.
type Piece = [u64; 4];

std::thread_local! {
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<u32> = const { Cell::new(0) };
}

#[no_mangle]
extern "C" fn kpatch_glue_alloc(size: usize, flags: u32) -> *mut c_void {
    assert!(size <= size_of::<Piece>());
    assert_eq!(flags, GFP_KERNEL);
    if EXHAUSTED.get() {
        return ptr::null_mut();
    }
    HELD.set(HELD.get() + 1);
    Box::into_raw(Box::new(Piece::default())).cast()
}

#[no_mangle]
extern "C" fn kfree(memory: *const c_void) {
    HELD.set(HELD.get() - 1);
    // SAFETY: It comes from `kpatch_glue_alloc`.
    drop(unsafe { Box::from_raw(memory.cast_mut().cast::<Piece>()) });
}

#[test]
fn a_value_is_dropped_with_its_memory() {
    let shared = Rc::new(());
    let mut kept = KBox::new((7, Rc::clone(&shared)), Alloc::Kernel).unwrap();
    kept.0 += 1;
    assert_eq!((kept.0, Rc::strong_count(&shared), HELD.get()), (8, 2, 1));
    drop(kept);
    assert_eq!((Rc::strong_count(&shared), HELD.get()), (1, 0));
}

#[test]
fn what_is_given_out_stays_until_it_comes_back() {
    let place = KBox::into_raw(KBox::new(7_u32, Alloc::Kernel).unwrap());
    assert_eq!(HELD.get(), 1);
    // SAFETY: It was just given out, and the address is not used elsewhere.
    let back = unsafe { KBox::from_raw(place) };
    assert_eq!(*back.unwrap(), 7);
    assert_eq!(HELD.get(), 0);
    // SAFETY: NULL is nobody's.
    assert!(unsafe { KBox::<u32>::from_raw(ptr::null_mut()) }.is_none());
}

#[test]
fn without_memory_the_value_is_dropped() {
    let shared = Rc::new(());
    EXHAUSTED.set(true);
    let error = KBox::new(Rc::clone(&shared), Alloc::Kernel).unwrap_err();
    assert_eq!((error, Rc::strong_count(&shared)), (Error::ENOMEM, 1));
}

// SPDX-License-Identifier: GPL-2.0-only

//! Parameters, which are given as the kernel gives them: through the tables that the macro makes.

use core::ffi::c_int;
use core::ffi::c_uint;
use core::ffi::c_void;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering;
use std::ffi::CStr;
use std::vec::Vec;

use crate::parameter;

parameter!(LEVEL: c_uint = 7, c"level", 0o644);
parameter!(PIDS: [c_int; 4], c"pids", 0);

/// `struct kernel_param` and `struct kparam_array`, in words.
type Entry = [usize; 5];
type Array = [usize; 4];

extern "C" {
    static kpatch_parameter_LEVEL: Entry;
    static kpatch_parameter_PIDS: Entry;
}

#[no_mangle]
static __this_module: u8 = 0;
#[no_mangle]
static param_array_ops: u8 = 1;
#[no_mangle]
static param_ops_int: u8 = 2;
#[no_mangle]
static param_ops_uint: u8 = 3;

fn name(entry: &Entry) -> &CStr {
    // SAFETY: The macro takes C strings.
    unsafe { CStr::from_ptr(entry[0] as *const _) }
}

#[test]
fn a_value_is_what_the_kernel_writes() {
    // SAFETY: Nothing changes the table.
    let entry = unsafe { &kpatch_parameter_LEVEL };
    assert_eq!(name(entry), c"level");
    assert_eq!(entry[1], &raw const __this_module as usize);
    assert_eq!(entry[2], &raw const param_ops_uint as usize);
    assert_eq!(entry[3] as u16, 0o644);
    assert_eq!(LEVEL.get(), 7);
    // SAFETY: The argument is the value, which has the layout of an `unsigned int`.
    unsafe { (*(entry[4] as *const AtomicU32)).store(8, Ordering::Relaxed) };
    assert_eq!(LEVEL.get(), 8);
}

#[test]
fn an_array_is_as_long_as_the_kernel_says() {
    // SAFETY: Nothing changes the tables; the argument is the second one.
    let (entry, array) = unsafe {
        let entry = &kpatch_parameter_PIDS;
        (entry, &*(entry[4] as *const Array))
    };
    assert_eq!(name(entry), c"pids");
    assert_eq!(entry[2], &raw const param_array_ops as usize);
    assert_eq!(array[0], 4 | size_of::<c_int>() << 32);
    assert_eq!(array[2], &raw const param_ops_int as usize);

    let values = || -> Vec<c_int> {
        PIDS.values().iter().map(|place| place.load(Ordering::Relaxed)).collect()
    };
    assert!(values().is_empty());
    for (index, value) in [11, 12, 13].into_iter().enumerate() {
        let element = (array[3] as *mut c_void).wrapping_byte_add(index * size_of::<c_int>());
        // SAFETY: There are four of them.
        unsafe { (*element.cast::<AtomicU32>()).store(value, Ordering::Relaxed) };
    }
    // SAFETY: The count is an `unsigned int`.
    let count = unsafe { &*(array[1] as *const AtomicU32) };
    count.store(3, Ordering::Relaxed);
    assert_eq!(values(), [11, 12, 13]);
    // More than there is room for the kernel refuses; if it did not, nothing would be read.
    count.store(5, Ordering::Relaxed);
    assert!(values().is_empty());
}

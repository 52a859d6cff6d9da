// SPDX-License-Identifier: GPL-2.0-only

//! The parts of the kernel's livepatch structures that a patch fills in, and arrays of them.
//!
//! Only the first fields of each structure belong to the caller; they have kept their offsets since
//! Linux 5.4. What follows is the kernel's and its size depends on the configuration: hence the
//! strides come from the glue, which asserts the offsets used here.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h) (newer
//! kernels have a part of it in `livepatch_external.h`)

use core::ffi::c_char;
use core::ffi::c_ulong;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// The beginning of `struct klp_func`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct KlpFunc {
    pub(crate) old_name: *const c_char,
    pub(crate) new_func: *mut c_void,
    pub(crate) old_sympos: c_ulong,
}

/// The beginning of `struct klp_object`, up to the fields of its `struct klp_callbacks` that are the
/// caller's.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct KlpObject {
    /// NULL for the kernel itself.
    pub(crate) name: *const c_char,
    pub(crate) funcs: *mut c_void,
    pub(crate) callbacks: KlpCallbacks,
}

/// The beginning of `struct klp_callbacks`: pointers to functions, NULL where there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KlpCallbacks {
    /// `int (*)(struct klp_object *)`; the others return nothing.
    pub(crate) pre_patch: Option<NonNull<c_void>>,
    pub(crate) post_patch: Option<NonNull<c_void>>,
    pub(crate) pre_unpatch: Option<NonNull<c_void>>,
    pub(crate) post_unpatch: Option<NonNull<c_void>>,
}

const _: () = assert!(size_of::<KlpObject>() == 48 && size_of::<KlpCallbacks>() == 32);

/// The beginning of `struct klp_patch`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct KlpPatch {
    pub(crate) module: *mut c_void,
    pub(crate) objs: *mut c_void,
    pub(crate) states: *mut c_void,
    pub(crate) replace: bool,
}

/// An array of a kernel structure of which only the beginning, `T`, is known. Elements are handed out
/// in order, and every one stays zero until it is written: the terminators need no work.
///
/// # Invariants
///
/// `next` points to `left` zeroed elements of `stride` bytes, each aligned for and not smaller than `T`.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    next: *mut u8,
    left: usize,
    stride: usize,
    prefix: PhantomData<T>,
}

impl<T> Slots<T> {
    /// The array at `base`, or `None` if elements of `stride` bytes cannot begin with a `T`.
    ///
    /// # Safety
    ///
    /// `base` must point to `count` zeroed elements of `stride` bytes that are aligned for `T` and
    /// that nothing else uses while this value lives.
    pub(crate) unsafe fn new(base: *mut c_void, count: usize, stride: usize) -> Option<Self> {
        if base.is_null() || stride < size_of::<T>() {
            return None;
        }
        // INVARIANT: By this function's contract and the check above.
        Some(Self { next: base.cast(), left: count, stride, prefix: PhantomData })
    }

    /// Where the next element is, without taking it.
    pub(crate) fn position(&self) -> *mut c_void {
        self.next.cast()
    }

    /// Writes the beginning of the next element; `None` if there is none.
    pub(crate) fn push(&mut self, value: T) -> Option<()> {
        let element = self.take()?.cast::<T>();
        // SAFETY: By the invariant the element is valid for writes of a `T`.
        unsafe { element.write(value) };
        Some(())
    }

    /// Leaves the next element zero: the end of a list. `None` if there is none.
    pub(crate) fn terminate(&mut self) -> Option<()> {
        self.take().map(|_| ())
    }

    fn take(&mut self) -> Option<NonNull<u8>> {
        let left = self.left.checked_sub(1)?;
        let element = NonNull::new(self.next)?;
        // SAFETY: At least one element is left, so this stays within the array or right behind it.
        self.next = unsafe { self.next.add(self.stride) };
        // INVARIANT: One element less, one element further.
        self.left = left;
        Some(element)
    }
}

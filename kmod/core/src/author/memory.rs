// SPDX-License-Identifier: GPL-2.0-only

//! Memory of the kernel, for values that outlive a function or the module itself: what a state keeps for the
//! patch that comes next, say.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ops::DerefMut;
use core::ptr;
use core::ptr::NonNull;

use crate::errno::Error;
use crate::errno::Result;
use crate::glue;

/// How memory may be had.
///
/// C header: [`include/linux/gfp_types.h`](srctree/include/linux/gfp_types.h)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alloc {
    /// The caller may sleep: `GFP_KERNEL`.
    Kernel,
    /// The caller must not sleep: `GFP_ATOMIC`.
    Atomic,
}

/// What `kmalloc()` guarantees for any size; the glue asserts it.
const ALIGN: usize = 8;

/// A value in memory of its own, which is freed when this is dropped.
///
/// Its drop runs code of the module that it was made for: what other patches are to take over, by
/// [`KBox::into_raw`], should be of a type without one.
///
/// # Invariants
///
/// The pointer is to a `T` in memory of `kmalloc()`, both ours alone.
#[derive(Debug)]
pub struct KBox<T>(NonNull<T>);

// SAFETY: It owns its value, and is not tied to a task.
unsafe impl<T: Send> Send for KBox<T> {}
// SAFETY: Shared, it gives access to a shared value only.
unsafe impl<T: Sync> Sync for KBox<T> {}

impl<T> KBox<T> {
    /// Moves `value` to memory of its own.
    ///
    /// # Errors
    /// `ENOMEM`; the value is dropped then.
    #[inline]
    pub fn new(value: T, alloc: Alloc) -> Result<Self> {
        const { assert!(align_of::<T>() <= ALIGN, "the kernel aligns memory to 8 bytes") };
        // SAFETY: Any size will do.
        let place = unsafe { glue::kpatch_glue_alloc(size_of::<T>(), alloc.flags()) };
        let place = NonNull::new(place.cast::<T>()).ok_or(Error::ENOMEM)?;
        // SAFETY: There is room for a `T`, which is aligned.
        unsafe { place.write(value) };
        // INVARIANT: Just made.
        Ok(Self(place))
    }

    /// The value's address. Memory and value are the caller's now, until somebody calls
    /// [`KBox::from_raw`].
    #[inline]
    pub fn into_raw(this: Self) -> *mut T {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// What [`KBox::into_raw`] gave out, in this module or another; nothing for NULL.
    ///
    /// # Safety
    ///
    /// The address must be of a `T` and from there, and nobody else may use it any more.
    #[inline]
    pub unsafe fn from_raw(place: *mut T) -> Option<Self> {
        // INVARIANT: By this function's contract.
        NonNull::new(place).map(Self)
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the invariant.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for KBox<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the invariant; nobody comes after us.
        unsafe { ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: It is `kmalloc()`'s.
        unsafe { glue::kfree(self.0.as_ptr().cast()) };
    }
}

impl Alloc {
    #[inline]
    pub(crate) fn flags(self) -> u32 {
        // SAFETY: The glue's constants, which nothing writes.
        unsafe {
            match self {
                Self::Kernel => glue::kpatch_glue_gfp_kernel,
                Self::Atomic => glue::kpatch_glue_gfp_atomic,
            }
        }
    }
}

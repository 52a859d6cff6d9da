// SPDX-License-Identifier: GPL-2.0-only

//! Shadow variables: data that belongs to an object of the kernel whose structure has no room for it.
//!
//! The kernel keeps them in one table, by the object's address and a number. The address is a key and
//! nothing more: it is never followed, and the kernel does not notice when the object is freed. Whoever
//! frees the object has to free its shadow variables before, or the next object at that address inherits
//! them. They also outlive the patch: who unloads it for good calls [`Shadow::free_all`] in
//! `post_unpatch`, and who replaces it by another patch does not.
//!
//! Everything here may be called in any context that may take a spinlock with interrupts off, also in
//! interrupt handlers; with [`Alloc::Kernel`] the caller must be allowed to sleep. Constructors and destructors run
//! under that lock: they must not sleep and must not touch shadow variables.
//!
//! C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h),
//! `kernel/livepatch/shadow.c`

use core::ffi::c_int;
use core::ffi::c_ulong;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr;
use core::ptr::NonNull;

use crate::author::memory::Alloc;
use crate::errno::Error;
use crate::errno::Result;
use crate::glue;

/// All shadow variables of one number, which have values of type `T`.
///
/// # Invariants
///
/// Every shadow variable of the number, whoever made it, holds a `T`.
#[derive(Debug)]
pub struct Shadow<T> {
    id: c_ulong,
    values: PhantomData<fn(T) -> T>,
}

/// What `klp_shadow_alloc()` guarantees behind its own bookkeeping, which is made of pointers.
const ALIGN: usize = align_of::<*const c_void>();

impl<T: Send + Sync> Shadow<T> {
    /// The shadow variables with the number `id`.
    ///
    /// # Safety
    ///
    /// Numbers are not told apart by patch: every patch of the running kernel that uses this one must mean
    /// the same type by it, in C the same structure.
    pub const unsafe fn new(id: c_ulong) -> Self {
        const { assert!(align_of::<T>() <= ALIGN, "the kernel aligns shadow variables to 8 bytes") };
        // INVARIANT: By this function's contract.
        Self { id, values: PhantomData }
    }

    /// The value that belongs to `object`. The pointer is good as long as nobody frees the variable.
    #[inline]
    pub fn get<O: ?Sized>(&self, object: *const O) -> Option<NonNull<T>> {
        // SAFETY: The object is a key, it is not followed.
        NonNull::new(unsafe { glue::klp_shadow_get(key(object), self.id) }).map(NonNull::cast)
    }

    /// Gives `object` a value. The object must have none yet: the kernel warns (with a trace in the log)
    /// and this fails. Meant for where objects are made; elsewhere use [`Shadow::get_or_alloc`].
    ///
    /// # Errors
    /// `EEXIST`, `ENOMEM`; the value is dropped then.
    #[inline]
    pub fn alloc<O: ?Sized>(&self, object: *const O, alloc: Alloc, value: T) -> Result<NonNull<T>> {
        let mut value = ManuallyDrop::new(value);
        let from = ptr::from_mut(&mut value).cast();
        let size = size_of::<T>();
        let flags = alloc.flags();
        // SAFETY: The constructor is called before this returns, at most once, for memory of that size.
        let place = unsafe {
            glue::klp_shadow_alloc(key(object), self.id, size, flags, Some(move_in::<T>), from)
        };
        let Some(place) = NonNull::new(place) else {
            // SAFETY: The kernel calls the constructor only for a variable that it then returns.
            unsafe { ManuallyDrop::drop(&mut value) };
            // Only for what to say: it may have come or gone since.
            let exists = self.get(object).is_some();
            return Err(if exists { Error::EEXIST } else { Error::ENOMEM });
        };
        Ok(place.cast())
    }

    /// The value that belongs to `object`; if it has none, the one that `init` makes. Of several callers at
    /// once one makes it, and all get the same.
    ///
    /// `init` runs under the table's lock with interrupts off: it must not sleep and must not touch shadow
    /// variables.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline]
    pub fn get_or_alloc<O: ?Sized, F: FnOnce() -> T>(
        &self,
        object: *const O,
        alloc: Alloc,
        init: F,
    ) -> Result<NonNull<T>> {
        let mut init = Some(init);
        let from = ptr::from_mut(&mut init).cast();
        let size = size_of::<T>();
        let flags = alloc.flags();
        // SAFETY: As in `alloc`.
        let place = unsafe {
            glue::klp_shadow_get_or_alloc(
                key(object),
                self.id,
                size,
                flags,
                Some(construct::<T, F>),
                from,
            )
        };
        NonNull::new(place).map(NonNull::cast).ok_or(Error::ENOMEM)
    }

    /// Drops the value that belongs to `object`, if there is one, and frees its memory.
    ///
    /// # Safety
    ///
    /// Nobody may use the value any more, nor get it at the same time: it is dropped at once. (Its memory
    /// stays for an RCU grace period.)
    #[inline]
    pub unsafe fn free<O: ?Sized>(&self, object: *const O) {
        // SAFETY: By this function's contract; by the invariant there is a `T`.
        unsafe { glue::klp_shadow_free(key(object), self.id, destructor::<T>()) };
    }

    /// Drops and frees all values, whatever object they belong to. Also in patches that are loaded
    /// later nothing is left of them.
    ///
    /// # Safety
    ///
    /// As for [`Shadow::free`], for all of them.
    #[inline]
    pub unsafe fn free_all(&self) {
        // SAFETY: By this function's contract; by the invariant there are `T`s.
        unsafe { glue::klp_shadow_free_all(self.id, destructor::<T>()) };
    }
}

#[inline]
fn key<O: ?Sized>(object: *const O) -> *mut c_void {
    object.cast_mut().cast()
}

#[inline]
fn destructor<T>() -> Option<glue::ShadowDestructor> {
    core::mem::needs_drop::<T>().then_some(drop_in_place::<T>)
}

/// A constructor: moves the value that `from` points to, of type `T`, to its place.
unsafe extern "C" fn move_in<T>(_: *mut c_void, place: *mut c_void, from: *mut c_void) -> c_int {
    // SAFETY: `alloc` hands over a value that it forgets, and the kernel memory of its size.
    unsafe { ptr::copy_nonoverlapping::<T>(from.cast(), place.cast(), 1) };
    0
}

/// A constructor: puts what a function makes to its place. `from` points to an `Option` of it.
unsafe extern "C" fn construct<T, F: FnOnce() -> T>(
    _: *mut c_void,
    place: *mut c_void,
    from: *mut c_void,
) -> c_int {
    // SAFETY: `get_or_alloc` hands over an `Option` that nothing else uses meanwhile.
    let Some(init) = (unsafe { &mut *from.cast::<Option<F>>() }).take() else {
        return Error::EINVAL.to_errno();
    };
    // SAFETY: The kernel hands over memory of the size of a `T`.
    unsafe { place.cast::<T>().write(init()) };
    0
}

/// A destructor.
unsafe extern "C" fn drop_in_place<T>(_: *mut c_void, place: *mut c_void) {
    // SAFETY: By `Shadow`'s invariant there is a `T`, which by the contract of `free` nobody uses.
    unsafe { ptr::drop_in_place(place.cast::<T>()) };
}

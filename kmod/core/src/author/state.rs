// SPDX-License-Identifier: GPL-2.0-only

//! States: what callbacks of a patch changed in the system, so that a patch that replaces it knows, and can
//! take it over or refuse to.
//!
//! A patch lists the states that it deals with. The kernel enables a cumulative patch only if it lists
//! every state of the installed patches, in the same version or a newer one
//! (`klp_is_patch_compatible()` in `kernel/livepatch/state.c`). All else is up to callbacks: in
//! `pre_patch` a patch looks at the state of its predecessor and does what is left to do; in
//! `post_unpatch` the last one undoes it.

use core::ffi::c_uint;
use core::ffi::c_ulong;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr;
use core::ptr::NonNull;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering;

use crate::glue;

/// A state: `struct klp_state`.
///
/// C header: [`include/linux/livepatch.h`](srctree/include/linux/livepatch.h)
#[repr(C)]
#[derive(Debug)]
pub struct State {
    /// Not 0, which ends the list.
    id: c_ulong,
    version: c_uint,
    /// The author's.
    data: AtomicPtr<c_void>,
}

const _: () = assert!(size_of::<State>() == 24);

/// The states of a patch, as the kernel wants them: a `static` of the author's.
#[repr(C)]
#[derive(Debug)]
pub struct States<const N: usize> {
    states: [State; N],
    end: State,
}

/// The states of a patch, however many.
#[derive(Clone, Copy, Debug)]
pub struct StateList(*const State);

impl State {
    /// The state `id` in a version. The id is known to all patches of this kernel and must not be 0; a
    /// patch with a newer version can deal with what older ones left.
    #[inline]
    pub const fn new(id: c_ulong, version: c_uint) -> Self {
        assert!(id != 0, "0 ends a list of states");
        Self { id, version, data: AtomicPtr::new(ptr::null_mut()) }
    }

    /// What [`State::set_data`] was told last; at first NULL.
    #[inline]
    pub fn data(&self) -> *mut c_void {
        self.data.load(Ordering::Acquire)
    }

    /// Keeps a pointer for other callbacks, those of later patches among them.
    #[inline]
    pub fn set_data(&self, data: *mut c_void) {
        self.data.store(data, Ordering::Release);
    }
}

impl<const N: usize> States<N> {
    /// These states.
    #[inline]
    pub const fn new(states: [State; N]) -> Self {
        let end = State { id: 0, version: 0, data: AtomicPtr::new(ptr::null_mut()) };
        Self { states, end }
    }

    /// The state of that id.
    #[inline]
    pub fn get(&self, id: c_ulong) -> Option<&State> {
        self.states.iter().find(|state| state.id == id)
    }

    /// For [`Livepatch::states`](crate::Livepatch::states).
    #[inline]
    pub fn list(&'static self) -> StateList {
        StateList(ptr::from_ref(self).cast())
    }
}

impl StateList {
    /// A patch without states.
    pub const EMPTY: Self = Self(ptr::null());

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.cast_mut().cast()
    }
}

/// A state of a patch that is installed already.
///
/// # Invariants
///
/// The pointer is to a `klp_state` that lives for `'a`.
#[derive(Debug)]
pub struct Previous<'a>(NonNull<State>, PhantomData<&'a State>);

impl Previous<'_> {
    /// The state `id` of the last installed patch that has it.
    ///
    /// # Safety
    ///
    /// To be called in callbacks only, and not to be kept longer than one.
    #[inline]
    pub(crate) unsafe fn find(id: c_ulong) -> Option<Self> {
        // SAFETY: We are called in a callback.
        let state = unsafe { glue::klp_get_prev_state(id) };
        // INVARIANT: The kernel's answer.
        NonNull::new(state.cast()).map(|state| Self(state, PhantomData))
    }

    /// Its version.
    #[inline]
    pub fn version(&self) -> c_uint {
        // SAFETY: By the invariant.
        unsafe { (*self.0.as_ptr()).version }
    }

    /// What the other patch's callbacks keep there.
    #[inline]
    pub fn data(&self) -> *mut c_void {
        // SAFETY: By the invariant. The field has the layout of a pointer.
        unsafe { (*self.0.as_ptr()).data() }
    }

    /// Takes what is there, so that the other patch's callbacks find NULL.
    #[inline]
    pub fn take_data(&self) -> *mut c_void {
        // SAFETY: By the invariant.
        unsafe { (*self.0.as_ptr()).data.swap(ptr::null_mut(), Ordering::AcqRel) }
    }
}

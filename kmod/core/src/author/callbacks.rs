// SPDX-License-Identifier: GPL-2.0-only

//! Callbacks: what is done beside the functions of an object being replaced.

use core::ffi::c_int;
use core::ffi::c_ulong;
use core::ffi::c_void;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::author::state::Previous;
use crate::errno::Result;
use crate::glue;
use crate::layout::KlpObject;
use crate::name::Name;
use crate::tables::functions::VMLINUX;

/// Callbacks of an object. They run in process context and may sleep; the kernel's livepatch mutex is
/// held, so nothing in them may enable or disable a patch.
///
/// They come in pairs: `post_unpatch` is called for each object whose `pre_patch` was called and went
/// well, `pre_unpatch` for each whose `post_patch` was called. A transition that is reversed never comes to
/// `post_patch`. When a patch is replaced by another, the callbacks of the new one run and those of the old one
/// do not.
///
/// For a module that is loaded later than the patch they are called when it is, for one that is unloaded
/// while the patch is enabled, when it goes.
pub trait Callbacks {
    /// Before the object is patched.
    ///
    /// # Errors
    /// An error keeps the patch from being enabled, or the module from being loaded; no other callback of
    /// the object is called then.
    #[inline]
    fn pre_patch(_object: &PatchedObject<'_>) -> Result {
        Ok(())
    }

    /// When every task runs the new functions.
    #[inline]
    fn post_patch(_object: &PatchedObject<'_>) {}

    /// Before tasks go back to the old functions.
    #[inline]
    fn pre_unpatch(_object: &PatchedObject<'_>) {}

    /// When every task runs the old functions again.
    #[inline]
    fn post_unpatch(_object: &PatchedObject<'_>) {}
}

/// What a callback is called for. It exists during the call only.
///
/// # Invariants
///
/// The pointer is to the kernel's `klp_object`, which does not change for `'a`.
#[derive(Debug)]
pub struct PatchedObject<'a>(NonNull<KlpObject>, PhantomData<&'a KlpObject>);

/// Where a module is in its life.
///
/// C header: [`include/linux/module.h`](srctree/include/linux/module.h), `enum module_state`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleState {
    /// In use.
    Live,
    /// Being loaded: its init function has not run.
    Coming,
    /// Being unloaded: its exit function has run.
    Going,
    /// Being set up.
    Unformed,
}

impl PatchedObject<'_> {
    /// Wraps what the kernel hands to a callback.
    ///
    /// # Safety
    ///
    /// `object` must point to a `klp_object` whose name does not change for `'a`.
    #[inline]
    pub(crate) unsafe fn new(object: NonNull<KlpObject>) -> Self {
        // INVARIANT: By this function's contract.
        Self(object, PhantomData)
    }

    /// `vmlinux`, or the name of the module.
    #[inline]
    pub fn name(&self) -> &CStr {
        // SAFETY: By the invariant.
        let name = unsafe { (*self.0.as_ptr()).name };
        match NonNull::new(name.cast_mut()) {
            None => VMLINUX,
            // SAFETY: `klp_object` names its module by a NUL-terminated string of ours.
            Some(name) => unsafe { Name::new(name) }.as_c_str(),
        }
    }

    /// Whether it is the kernel itself.
    #[inline]
    pub fn is_vmlinux(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.0.as_ptr()).name.is_null() }
    }

    /// Where the module is in its life; `None` for the kernel itself.
    #[inline]
    pub fn module_state(&self) -> Option<ModuleState> {
        // SAFETY: By the invariant. The module stays while one of its callbacks runs.
        match unsafe { glue::kpatch_glue_module_state(self.0.as_ptr().cast()) } {
            0 => Some(ModuleState::Live),
            1 => Some(ModuleState::Coming),
            2 => Some(ModuleState::Going),
            3 => Some(ModuleState::Unformed),
            _ => None,
        }
    }

    /// The state `id` of the patch that is installed already and about to be replaced: where its callbacks
    /// left what this patch is to take over. Of several such patches the last.
    #[inline]
    pub fn previous_state(&self, id: c_ulong) -> Option<Previous<'_>> {
        // SAFETY: We are called in a callback, as the kernel demands; the patch is not freed before it returns.
        unsafe { Previous::find(id) }
    }
}

impl ModuleState {
    /// As the kernel's own documentation of callbacks says it.
    #[inline]
    pub fn describe(self) -> &'static CStr {
        match self {
            Self::Live => c"[MODULE_STATE_LIVE] Normal state",
            Self::Coming => c"[MODULE_STATE_COMING] Full formed, running module_init",
            Self::Going => c"[MODULE_STATE_GOING] Going away",
            Self::Unformed => c"[MODULE_STATE_UNFORMED] Still setting it up",
        }
    }
}

/// What the kernel calls, in the order of `struct klp_callbacks`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Shims(pub(crate) [*const c_void; Self::COUNT]);

impl Shims {
    pub(crate) const COUNT: usize = 4;

    #[inline]
    pub(crate) const fn of<C: Callbacks>() -> Self {
        Self([
            pre_patch::<C> as *const c_void,
            post_patch::<C> as *const c_void,
            pre_unpatch::<C> as *const c_void,
            post_unpatch::<C> as *const c_void,
        ])
    }
}

/// `int (*)(struct klp_object *)`.
unsafe extern "C" fn pre_patch<C: Callbacks>(object: NonNull<KlpObject>) -> c_int {
    // SAFETY: The kernel calls us with an object of our patch.
    match C::pre_patch(&unsafe { PatchedObject::new(object) }) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// `void (*)(struct klp_object *)`, as the other two.
unsafe extern "C" fn post_patch<C: Callbacks>(object: NonNull<KlpObject>) {
    // SAFETY: As above.
    C::post_patch(&unsafe { PatchedObject::new(object) });
}

unsafe extern "C" fn pre_unpatch<C: Callbacks>(object: NonNull<KlpObject>) {
    // SAFETY: As above.
    C::pre_unpatch(&unsafe { PatchedObject::new(object) });
}

unsafe extern "C" fn post_unpatch<C: Callbacks>(object: NonNull<KlpObject>) {
    // SAFETY: As above.
    C::post_unpatch(&unsafe { PatchedObject::new(object) });
}

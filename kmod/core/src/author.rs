// SPDX-License-Identifier: GPL-2.0-only

//! Livepatches that are written in Rust.
//!
//! An author implements [`Livepatch`] and hands the type to [`livepatch!`](crate::livepatch), which makes the same tables of
//! it that the toolchain makes of a source patch. From there on there is no difference: the tools check
//! that the kernel has what is named, and the core enables the patch.
//!
//! ```ignore
//! struct Sample;
//!
//! impl Livepatch for Sample {
//!     const PATCH: Patch = Patch::new(&[Object::vmlinux(&[
//!         // SAFETY: The kernel calls both alike, and the new one does all that the old one did.
//!         unsafe { Func::new(c"cmdline_proc_show", cmdline_proc_show as *const c_void) },
//!     ])]);
//! }
//!
//! livepatch!(Sample);
//! ```
//!
//! All that is not generic here is `#[inline]`: modules that no author wrote have nothing of it.

pub mod callbacks;
pub mod memory;
pub mod parameter;
pub mod patch;
pub mod print;
pub mod shadow;
pub mod state;
pub mod task;

use core::ffi::c_int;

use crate::errno::Result;
use crate::tables::params::Params;
use crate::Error;
use crate::NotLoaded;

use patch::Patch;
use state::StateList;

/// A livepatch.
pub trait Livepatch {
    /// What is patched.
    const PATCH: Patch;

    /// The states that the patch deals with: of its `static` [`States`](state::States), the
    /// [`list`](state::States::list).
    #[inline]
    fn states() -> StateList {
        StateList::EMPTY
    }

    /// Whether the patch takes the place of all earlier ones: what [`Patch::replace`] says, unless an author
    /// leaves it to a module parameter.
    #[inline]
    fn replace() -> bool {
        Self::PATCH.replaces()
    }

    /// Called first when the module is loaded, on the right kernel, before the patch is enabled. It may
    /// sleep.
    ///
    /// # Errors
    /// An error keeps the module from being loaded; then nothing else of it is called.
    #[inline]
    fn init() -> Result {
        Ok(())
    }

    /// Called when the kernel refused the patch, to say so in the log, and perhaps what to do about it; the
    /// error becomes that of `insmod` in any case. Most reasons the kernel itself has logged just before;
    /// that another transition is running it has not (`EBUSY`).
    #[inline]
    fn not_enabled(error: Error) {
        crate::error!("the kernel did not enable the patch (error ", error.to_errno(), ")");
    }

    /// Called last when the module is unloaded, long after the patch was disabled; also if the kernel did
    /// not enable the patch after [`init`](Self::init) went well. It may sleep.
    #[inline]
    fn exit() {}
}

/// Enables the patch `L`, of which `params` has the tables.
///
/// # Safety
///
/// As for [`kpatch_core_load`](crate::kpatch_core_load); to be called by [`livepatch!`](crate::livepatch)
/// only.
#[doc(hidden)]
#[inline]
pub unsafe fn load<L: Livepatch>(params: *const Params) -> c_int {
    // SAFETY: By this function's contract, here and for the two below.
    if let Err(error) = unsafe { crate::check_kernel(params) } {
        return error;
    }
    if let Err(error) = L::init() {
        return error.to_errno();
    }
    // SAFETY: As above.
    let tool = unsafe { params.read() };
    let params = Params {
        states: L::states().as_ptr(),
        replace: L::replace(),
        pin: tool.pin || L::PATCH.pins(),
        ..tool
    };
    // SAFETY: As above. The states are static. Whatever the core needs later it has from the glue, not from this copy.
    let error = match unsafe { crate::load(&params) } {
        Ok(()) => return 0,
        Err(NotLoaded::Said(error)) => Error::from_errno(error),
        Err(NotLoaded::ByKernel(error)) => {
            let error = Error::from_errno(error);
            L::not_enabled(error);
            error
        }
    };
    L::exit();
    error.to_errno()
}

/// Makes a module of a type that implements [`Livepatch`]: its tables, and what the glue calls. Once in a
/// module.
#[macro_export]
macro_rules! livepatch {
    ($type:ty) => {
        const _: () = {
            use $crate::author::patch;

            const PATCH: patch::Patch = <$type as $crate::Livepatch>::PATCH;

            #[no_mangle]
            #[link_section = ".kpatch.funcs"]
            static kpatch_author_functions: [$crate::Record; PATCH.function_count()] =
                patch::records(&PATCH);

            #[no_mangle]
            #[link_section = ".kpatch.callbacks"]
            static kpatch_author_callbacks: [$crate::CallbackRecord; PATCH.callback_count()] =
                patch::callback_records(&PATCH);

            /// Called by the glue while the module is initialised.
            #[no_mangle]
            unsafe extern "C" fn kpatch_author_load(
                params: *const $crate::Params,
            ) -> ::core::ffi::c_int {
                // SAFETY: The glue keeps the contract.
                unsafe { $crate::author::load::<$type>(params) }
            }

            /// Called by the glue when the module is about to go.
            #[no_mangle]
            extern "C" fn kpatch_author_unload() {
                <$type as $crate::Livepatch>::exit();
            }
        };
    };
}

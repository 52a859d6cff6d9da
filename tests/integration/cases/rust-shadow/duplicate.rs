// SPDX-License-Identifier: GPL-2.0-only

//! What shadow variables do not do: a second one for the same object, and one that is not there. Only its
//! callback is of interest.

#![no_std]

use kpatch_core::info;
use kpatch_core::livepatch;
use kpatch_core::Alloc;
use kpatch_core::Callbacks;
use kpatch_core::Error;
use kpatch_core::Livepatch;
use kpatch_core::Object;
use kpatch_core::Patch;
use kpatch_core::PatchedObject;
use kpatch_core::Result;
use kpatch_core::Shadow;

struct Try;

// SAFETY: No other patch uses these numbers.
static VALUE: Shadow<u64> = unsafe { Shadow::new(0x6475_0001) };
// SAFETY: As above.
static OTHER: Shadow<u64> = unsafe { Shadow::new(0x6475_0002) };

impl Callbacks for Try {
    fn pre_patch(_: &PatchedObject<'_>) -> Result {
        let object = core::ptr::from_ref(&VALUE);
        // SAFETY: What is allocated here is freed here.
        let read = |value: core::ptr::NonNull<u64>| unsafe { value.read() };

        info!("before ", VALUE.get(object).map_or(0, read));
        info!("first ", read(VALUE.alloc(object, Alloc::Kernel, 1)?));
        match VALUE.alloc(object, Alloc::Kernel, 2) {
            Ok(_) => info!("a second one"),
            Err(error) => info!("again ", error.to_errno()),
        }
        info!("or ", read(VALUE.get_or_alloc(object, Alloc::Kernel, || 3)?));
        info!("another id ", OTHER.get(object).map_or(0, read));
        // SAFETY: Nobody has the value.
        unsafe {
            OTHER.free(object);
            VALUE.free(object);
            VALUE.free(object);
        }
        info!("after ", VALUE.get(object).map_or(0, read));
        Err(Error::EPERM)
    }
}

impl Livepatch for Try {
    const PATCH: Patch = Patch::new(&[Object::vmlinux(&[]).callbacks::<Self>()]);
}

livepatch!(Try);

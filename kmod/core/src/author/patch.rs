// SPDX-License-Identifier: GPL-2.0-only

//! What a patch consists of, said in constants: it costs nothing when the module is loaded, and the tools
//! can read it in the file.

use core::ffi::c_ulong;
use core::ffi::c_void;
use core::ffi::CStr;

use crate::author::callbacks::Callbacks;
use crate::author::callbacks::Shims;
use crate::tables::callbacks::CallbackRecord;
use crate::tables::functions::Record;
use crate::tables::functions::VMLINUX;

/// A livepatch: objects, each at most once.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    objects: &'static [Object],
    replace: bool,
    pin: bool,
}

/// The kernel or a module, and what is patched of it. It may have callbacks only.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    name: &'static CStr,
    functions: &'static [Func],
    callbacks: Option<Shims>,
}

/// A function that is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Func {
    old_name: &'static CStr,
    new: *const c_void,
    position: c_ulong,
}

impl Func {
    /// The function `old_name` of the object, to be replaced by `new`.
    ///
    /// # Safety
    ///
    /// `new` must be an `extern "C"` function with the old one's parameters and result; whoever calls the
    /// old function must be content with what the new one does. It must do without the other functions of
    /// the patch having been called before: tasks switch at any time.
    #[inline]
    pub const unsafe fn new(old_name: &'static CStr, new: *const c_void) -> Self {
        Self { old_name, new, position: 0 }
    }

    /// Which of several functions of that name in the object, counted from 1 in the order of their
    /// addresses: `sympos`. Without it the name must be unique.
    #[inline]
    pub const fn at(mut self, position: c_ulong) -> Self {
        self.position = position;
        self
    }
}

impl Object {
    /// The kernel itself.
    #[inline]
    pub const fn vmlinux(functions: &'static [Func]) -> Self {
        Self { name: VMLINUX, functions, callbacks: None }
    }

    /// A module by its name as the kernel says it, with `_` for `-`. It need not be loaded: it is patched
    /// when it is.
    #[inline]
    pub const fn module(name: &'static CStr, functions: &'static [Func]) -> Self {
        Self { name, functions, callbacks: None }
    }

    /// The same with callbacks.
    pub const fn callbacks<C: Callbacks>(mut self) -> Self {
        self.callbacks = Some(Shims::of::<C>());
        self
    }
}

// What follows runs when constants are computed: an index that is out of bounds, or a sum that overflows, is
// an error of the build.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
impl Patch {
    /// A patch of these objects that stacks upon others.
    #[inline]
    pub const fn new(objects: &'static [Object]) -> Self {
        Self { objects, replace: false, pin: false }
    }

    /// Whether it takes the place of all earlier patches (atomic replace): a cumulative patch.
    #[inline]
    pub const fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// What [`Patch::replace`] was told.
    #[inline]
    pub const fn replaces(&self) -> bool {
        self.replace
    }

    /// The module stays loaded for good once the patch was enabled: it can be disabled, but `rmmod` is refused.
    /// For patches that hand functions to the kernel (timers, work items, notifiers) and cannot take them
    /// back before they are disabled. The tools pin by themselves what they see to need it.
    #[inline]
    pub const fn pin(mut self) -> Self {
        self.pin = true;
        self
    }

    /// Whether [`Patch::pin`] was called.
    #[inline]
    pub(crate) const fn pins(&self) -> bool {
        self.pin
    }

    /// Number of replaced functions.
    #[doc(hidden)]
    #[inline]
    pub const fn function_count(&self) -> usize {
        let (mut index, mut count) = (0, 0);
        while index < self.objects.len() {
            count += self.objects[index].functions.len();
            index += 1;
        }
        count
    }

    /// Number of callbacks.
    #[doc(hidden)]
    #[inline]
    pub const fn callback_count(&self) -> usize {
        let (mut index, mut count) = (0, 0);
        while index < self.objects.len() {
            if self.objects[index].callbacks.is_some() {
                count += Shims::COUNT;
            }
            index += 1;
        }
        count
    }
}

/// The table of functions. `N` is [`Patch::function_count`].
#[doc(hidden)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub const fn records<const N: usize>(patch: &Patch) -> [Record; N] {
    let mut records = [Record::EMPTY; N];
    let (mut object, mut next) = (0, 0);
    while object < patch.objects.len() {
        let Object { name, functions, .. } = patch.objects[object];
        let mut index = 0;
        while index < functions.len() {
            let Func { old_name, new, position } = functions[index];
            records[next] = Record::of(new, old_name, name, position);
            next += 1;
            index += 1;
        }
        object += 1;
    }
    records
}

/// The table of callbacks. `N` is [`Patch::callback_count`].
#[doc(hidden)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub const fn callback_records<const N: usize>(patch: &Patch) -> [CallbackRecord; N] {
    let mut records = [CallbackRecord::EMPTY; N];
    let (mut object, mut next) = (0, 0);
    while object < patch.objects.len() {
        let Object { name, callbacks, .. } = patch.objects[object];
        if let Some(shims) = callbacks {
            let mut kind = 0;
            while kind < Shims::COUNT {
                records[next] = CallbackRecord::of(shims.0[kind], name, kind as c_ulong);
                next += 1;
                kind += 1;
            }
        }
        object += 1;
    }
    records
}

// SPDX-License-Identifier: GPL-2.0-only

//! The toolchain's other table: section `.kpatch.callbacks`, one record for each callback.
//!
//! There are few of them, so each object looks for its own among all.

use core::ffi::c_char;
use core::ffi::c_ulong;
use core::ffi::c_void;
use core::ffi::CStr;
use core::ptr::NonNull;

use crate::layout::KlpCallbacks;
use crate::name::Name;

/// A record as it lies in the section: 24 bytes, aligned to 8.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallbackRecord {
    /// The function to run.
    function: Option<NonNull<c_void>>,
    /// The name of the patched object.
    object: Option<NonNull<c_char>>,
    /// When: 0 to 3 in the order of `struct klp_callbacks`.
    kind: c_ulong,
}

const _: () = assert!(size_of::<CallbackRecord>() == 24 && align_of::<CallbackRecord>() == 8);

// SAFETY: Nothing writes a record, nor what it points to.
unsafe impl Sync for CallbackRecord {}

impl CallbackRecord {
    /// One that says nothing.
    pub(crate) const EMPTY: Self = Self { function: None, object: None, kind: 0 };

    /// What an author says. Run when the module is built.
    pub(crate) const fn of(function: *const c_void, object: &'static CStr, kind: c_ulong) -> Self {
        // SAFETY: A function and a string have addresses that are not NULL.
        unsafe {
            Self {
                function: Some(NonNull::new_unchecked(function.cast_mut())),
                object: Some(NonNull::new_unchecked(object.as_ptr().cast_mut())),
                kind,
            }
        }
    }
}

/// A table that the kernel must not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A record lacks its function or name, or is of no kind that the kernel has.
    Record,
    /// An object has two callbacks of a kind: the kernel has room for one.
    Twice,
}

/// All callbacks of a patch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callbacks<'a> {
    records: &'a [CallbackRecord],
}

impl<'a> Callbacks<'a> {
    /// Wraps `records`.
    ///
    /// # Safety
    ///
    /// The names in `records`, where not NULL, must be NUL-terminated strings that live as long as the
    /// module.
    pub(crate) unsafe fn new(records: &'a [CallbackRecord]) -> Self {
        Self { records }
    }

    /// The objects that have callbacks, by record: with several, an object comes several times.
    pub(crate) fn objects(self) -> impl Iterator<Item = Result<Name, Wrong>> + 'a {
        self.records.iter().map(|record| {
            let object = record.object.ok_or(Wrong::Record)?;
            // SAFETY: `new`'s caller vouched for the names.
            Ok(unsafe { Name::new(object) })
        })
    }

    /// The callbacks of one object.
    pub(crate) fn of(self, object: Name) -> Result<KlpCallbacks, Wrong> {
        let mut found = KlpCallbacks::default();
        for (record, name) in self.records.iter().zip(self.objects()) {
            if !name?.same(object) {
                continue;
            }
            let field = match record.kind {
                0 => &mut found.pre_patch,
                1 => &mut found.post_patch,
                2 => &mut found.pre_unpatch,
                3 => &mut found.post_unpatch,
                _ => return Err(Wrong::Record),
            };
            if field.is_some() {
                return Err(Wrong::Twice);
            }
            *field = Some(record.function.ok_or(Wrong::Record)?);
        }
        Ok(found)
    }
}

#[cfg(test)]
impl CallbackRecord {
    /// A record for a test.
    pub(crate) fn new(function: *const c_void, object: *const c_char, kind: c_ulong) -> Self {
        Self {
            function: NonNull::new(function.cast_mut()),
            object: NonNull::new(object.cast_mut()),
            kind,
        }
    }
}

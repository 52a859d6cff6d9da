// SPDX-License-Identifier: GPL-2.0-only

//! The toolchain's table: section `.kpatch.funcs`, one record for each patched function.
//!
//! Every diff object contributes records; the linker puts them one behind the other, in the order
//! of its command line. All records of one patched object must follow each other.

use core::ffi::c_char;
use core::ffi::c_ulong;
use core::ffi::c_void;
use core::ffi::CStr;
use core::ptr::NonNull;

use crate::name::Name;

/// The name by which a record says "the kernel itself".
pub(crate) const VMLINUX: &CStr = c"vmlinux";

/// A record as it lies in the section: 32 bytes, aligned to 8.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The function to run.
    new_function: Option<NonNull<c_void>>,
    /// The name of the function to replace.
    old_name: Option<NonNull<c_char>>,
    /// The name of the patched object.
    object: Option<NonNull<c_char>>,
    /// Which of several functions of that name: 0 if it is unique, else counted from 1.
    position: c_ulong,
}

const _: () = assert!(size_of::<Record>() == 32 && align_of::<Record>() == 8);

/// A record with all its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    /// The function to run.
    pub(crate) new: NonNull<c_void>,
    /// The name of the function to replace.
    pub(crate) old_name: Name,
    /// The name of the patched object.
    object: Name,
    /// Which of several functions of that name.
    pub(crate) position: c_ulong,
}

/// The functions of one patched object: a run of records that is never empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    object: Name,
    records: &'a [Record],
}

/// The groups of a table, in order.
#[derive(Debug)]
pub(crate) struct Groups<'a> {
    rest: &'a [Record],
}

/// A record without function or name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Incomplete;

// SAFETY: Nothing writes a record, nor what it points to.
unsafe impl Sync for Record {}

impl Record {
    /// One that says nothing.
    pub(crate) const EMPTY: Self =
        Self { new_function: None, old_name: None, object: None, position: 0 };

    /// What an author says. Run when the module is built.
    pub(crate) const fn of(
        new_function: *const c_void,
        old_name: &'static CStr,
        object: &'static CStr,
        position: c_ulong,
    ) -> Self {
        // SAFETY: A function and strings have addresses that are not NULL.
        unsafe {
            Self {
                new_function: Some(NonNull::new_unchecked(new_function.cast_mut())),
                old_name: Some(NonNull::new_unchecked(old_name.as_ptr().cast_mut())),
                object: Some(NonNull::new_unchecked(object.as_ptr().cast_mut())),
                position,
            }
        }
    }

    /// The record, if it has all its parts.
    ///
    /// # Safety
    ///
    /// The names, where not NULL, must be NUL-terminated strings that live as long as the module.
    unsafe fn function(&self) -> Option<Function> {
        Some(Function {
            new: self.new_function?,
            // SAFETY: By this function's contract.
            old_name: unsafe { Name::new(self.old_name?) },
            // SAFETY: By this function's contract.
            object: unsafe { Name::new(self.object?) },
            position: self.position,
        })
    }
}

/// The groups of `records`.
///
/// # Safety
///
/// The names in `records`, where not NULL, must be NUL-terminated strings that live as long as the
/// module.
pub(crate) unsafe fn groups(records: &[Record]) -> Groups<'_> {
    Groups { rest: records }
}

impl<'a> Iterator for Groups<'a> {
    type Item = Result<Group<'a>, Incomplete>;

    fn next(&mut self) -> Option<Self::Item> {
        let all = self.rest;
        // SAFETY: `groups`'s caller vouched for the names.
        let Some(first) = (unsafe { all.first()?.function() }) else {
            self.rest = &[];
            return Some(Err(Incomplete));
        };
        let mut count: usize = 0;
        for record in all {
            // SAFETY: As above.
            match unsafe { record.function() } {
                Some(function) if function.object.same(first.object) => {}
                Some(_) => break,
                None => {
                    self.rest = &[];
                    return Some(Err(Incomplete));
                }
            }
            count = count.wrapping_add(1);
        }
        self.rest = all.get(count..).unwrap_or(&[]);
        let records = all.get(..count).unwrap_or(&[]);
        Some(Ok(Group { object: first.object, records }))
    }
}

/// The name of a patched object as the kernel's `klp_object` wants it: `None` for the kernel itself.
pub(crate) fn klp_name(object: Name) -> Option<Name> {
    if object.is(VMLINUX) {
        None
    } else {
        Some(object)
    }
}

impl<'a> Group<'a> {
    /// The name of the patched object.
    pub(crate) fn object(&self) -> Name {
        self.object
    }

    /// Whether `other` is about the same object.
    pub(crate) fn same_object(&self, other: &Self) -> bool {
        self.object.same(other.object)
    }

    /// The functions, in order.
    pub(crate) fn functions(&self) -> impl Iterator<Item = Function> + 'a {
        // SAFETY: `groups`'s caller vouched for the names.
        self.records.iter().filter_map(|record| unsafe { record.function() })
    }
}

#[cfg(test)]
impl Record {
    /// A record for a test.
    pub(crate) fn new(
        new_function: *const c_void,
        old_name: *const c_char,
        object: *const c_char,
        position: c_ulong,
    ) -> Self {
        Self {
            new_function: NonNull::new(new_function.cast_mut()),
            old_name: NonNull::new(old_name.cast_mut()),
            object: NonNull::new(object.cast_mut()),
            position,
        }
    }
}

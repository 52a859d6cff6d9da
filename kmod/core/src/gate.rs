// SPDX-License-Identifier: GPL-2.0-only

//! The gate: a patch is enabled only on the kernel, and on the modules, that it was built for.
//!
//! What a patch was built for is known by GNU build-ids, in section `.kpatch.gate`: one record for the
//! kernel, whatever is patched, and one for each patched module. A patch without the section has no
//! gate. The kernel is checked before it hears of the patch, a module when the kernel is about to patch
//! it: the glue's pre-patch callback comes first, then the author's.
//!
//! A module's build-id is looked for in its read-only memory: the kernel itself remembers where the
//! module's notes are only later (`mod_sysfs_setup` comes after `prepare_coming_module` in
//! `kernel/module/main.c`).

use core::ffi::c_char;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::slice;

use crate::glue;
use crate::name::Name;
use crate::notes;
use crate::notes::Found;
use crate::tables::functions::VMLINUX;
use crate::EINVAL;
use crate::ENOEXEC;

/// Longest build-id that a record has room for. The usual ones, SHA-1, have 20 bytes.
const ID_MAX: usize = 32;

/// More notes than a kernel has: some hundred bytes.
const NOTES_MAX: usize = 1 << 16;

/// A record as it lies in the section: 64 bytes, aligned to 8.
#[repr(C)]
#[derive(Debug)]
pub struct GateRecord {
    /// The name of the object: a module, or `vmlinux`.
    object: Option<NonNull<c_char>>,
    /// Where the running kernel's notes begin and end (`__start_notes`, `__stop_notes`); NULL for
    /// modules.
    notes: *const u8,
    notes_end: *const u8,
    /// Bytes of the build-id.
    length: usize,
    /// The build-id of the object that the patch was built for, filled up with zeros.
    id: [u8; ID_MAX],
}

const _: () = assert!(size_of::<GateRecord>() == 64 && align_of::<GateRecord>() == 8);

/// All records of a patch; none if it has no gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    records: &'a [GateRecord],
}

/// A build-id, and whose.
#[derive(Clone, Copy, Debug)]
struct Expected<'a> {
    object: Name,
    id: &'a [u8],
    record: &'a GateRecord,
}

impl<'a> Gate<'a> {
    /// Wraps `records`.
    ///
    /// # Safety
    ///
    /// In `records` the names, where not NULL, must be NUL-terminated strings that live as long as the
    /// module, and `notes` and `notes_end`, where not NULL, the ends of one piece of memory that nothing
    /// writes.
    pub(crate) unsafe fn new(records: &'a [GateRecord]) -> Self {
        Self { records }
    }

    /// Whether there is anything to check.
    pub(crate) fn is_closed(self) -> bool {
        !self.records.is_empty()
    }

    /// Whether `object` can be checked.
    pub(crate) fn knows(self, object: Name) -> bool {
        self.expected(object).is_some()
    }

    /// The record of `object`, if it is whole.
    fn expected(self, object: Name) -> Option<Expected<'a>> {
        self.records.iter().find_map(|record| {
            // SAFETY: `new`'s caller vouched for the names.
            let name = unsafe { Name::new(record.object?) };
            let id = record.id.get(..record.length).filter(|id| !id.is_empty())?;
            name.same(object).then_some(Expected { object: name, id, record })
        })
    }

    /// Checks the running kernel. The error, a negative errno, has been logged.
    pub(crate) fn check_kernel(self) -> Result<(), c_int> {
        if !self.is_closed() {
            return Ok(());
        }
        let Some(expected) = self.expected(Name::from_literal(VMLINUX)) else {
            return Err(malformed());
        };
        let Expected { record, .. } = expected;
        let size = record.notes_end.addr().checked_sub(record.notes.addr());
        let Some(size) = size.filter(|size| *size <= NOTES_MAX && !record.notes.is_null()) else {
            return Err(malformed());
        };
        // SAFETY: `new`'s caller vouched for the memory between the two.
        let memory = unsafe { slice::from_raw_parts(record.notes, size) };
        expected.admit(match notes::build_id(memory) {
            Some(id) if notes::same(id, expected.id) => Found::Same,
            Some(id) => Found::Other(id),
            None => Found::Nothing,
        })
    }

    /// Checks a module by its read-only memory. The error, a negative errno, has been logged.
    pub(crate) fn check_module(self, object: Name, memory: &[u8]) -> Result<(), c_int> {
        let Some(expected) = self.expected(object) else { return Err(malformed()) };
        expected.admit(notes::search(memory, expected.id))
    }
}

impl Expected<'_> {
    fn admit(&self, found: Found<'_>) -> Result<(), c_int> {
        let found = match found {
            Found::Same => return Ok(()),
            Found::Other(id) => id,
            Found::Nothing => &[],
        };
        glue::log_other_build(self.object, self.id, found);
        Err(ENOEXEC)
    }
}

/// A gate that the build did not make.
fn malformed() -> c_int {
    glue::log_failure(c"the build-id gate is not as the build makes it", EINVAL);
    EINVAL
}

/// The memory at `start`; none if there is none.
///
/// # Safety
///
/// `start` must be NULL or point to `size` bytes that nothing writes for `'a`.
pub(crate) unsafe fn memory<'a>(start: *const c_void, size: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: By this function's contract.
    unsafe { slice::from_raw_parts(start.cast(), size) }
}

#[cfg(test)]
impl GateRecord {
    /// A record for a test: of the kernel if it has notes.
    pub(crate) fn new(object: *const c_char, id: &[u8], notes: Option<&'static [u8]>) -> Self {
        let mut record = Self {
            object: NonNull::new(object.cast_mut()),
            notes: core::ptr::null(),
            notes_end: core::ptr::null(),
            length: id.len(),
            id: [0; ID_MAX],
        };
        for (to, from) in record.id.iter_mut().zip(id) {
            *to = *from;
        }
        if let Some(notes) = notes {
            let std::ops::Range { start, end } = notes.as_ptr_range();
            (record.notes, record.notes_end) = (start, end);
        }
        record
    }

    /// The same with the ends of the notes changed places.
    pub(crate) fn backwards(mut self) -> Self {
        core::mem::swap(&mut self.notes, &mut self.notes_end);
        self
    }
}

// SPDX-License-Identifier: GPL-2.0-only

//! What the C glue hands over.
//!
//! C counterpart: `struct kpatch_params` in `kmod/templates/glue.c`, which asserts the
//! size and the offset of every field.

use core::ffi::c_void;
use core::ptr::NonNull;

use crate::gate::GateRecord;
use crate::tables::callbacks::CallbackRecord;
use crate::tables::functions::Record;

/// The table, the storage and the sizes that only the target kernel's headers know.
///
/// # Invariants
///
/// - `records` points to `record_count` initialised records that nothing writes, whose names are
///   NUL-terminated strings; all that lives as long as the module. It may be NULL if there are none.
/// - `callbacks` and `callback_count` likewise.
/// - `gate` and `gate_count` likewise; where a record has the ends of the kernel's notes, they are the
///   ends of one piece of memory that nothing writes.
/// - `states` is NULL or points to the kernel's `klp_state`s, ended by one with the id 0; they live as long as
///   the module.
/// - `patch`, `objects` and `functions` point to zeroed storage of 1, `object_slots` and
///   `function_slots` elements of the kernel's `klp_patch`, `klp_object` and `klp_func`, which
///   lives as long as the module; the sizes are those of these types.
#[repr(C)]
#[derive(Debug)]
pub struct Params {
    /// `THIS_MODULE`.
    pub module: *mut c_void,
    /// The toolchain's table.
    pub records: *const Record,
    /// Number of records: one for each patched function.
    pub record_count: usize,
    /// The toolchain's table of callbacks.
    pub callbacks: *const CallbackRecord,
    /// Number of its records.
    pub callback_count: usize,
    /// The toolchain's table of build-ids.
    pub gate: *const GateRecord,
    /// Number of its records; 0 if the patch may be enabled anywhere.
    pub gate_count: usize,
    /// The states that the patch deals with; NULL for none.
    pub states: *mut c_void,
    /// Number of patched objects (vmlinux or modules) that the tables must turn out to have.
    pub object_count: usize,
    /// The `klp_patch`.
    pub patch: *mut c_void,
    /// The `klp_object` array, terminator included.
    pub objects: *mut c_void,
    /// Its number of elements.
    pub object_slots: usize,
    /// `sizeof(struct klp_object)`.
    pub object_size: usize,
    /// The `klp_func` arrays of all objects, one behind the other, terminators included.
    pub functions: *mut c_void,
    /// Their number of elements.
    pub function_slots: usize,
    /// `sizeof(struct klp_func)`.
    pub function_size: usize,
    /// The glue's callback `int (*)(struct klp_object *)`, which checks a module and goes on to the
    /// author's callback. The kernel gets it for every module if there is a gate.
    pub check_module: Option<NonNull<c_void>>,
    /// Whether the patch takes the place of all earlier ones.
    pub replace: bool,
    /// Whether the module must never be unloaded once the patch was enabled.
    pub pin: bool,
}

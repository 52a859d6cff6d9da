// SPDX-License-Identifier: GPL-2.0-only

//! From the table to `klp_patch`: groups the functions by object and fills the storage.

use core::ffi::CStr;
use core::ptr;
use core::slice;

use crate::layout::KlpFunc;
use crate::layout::KlpObject;
use crate::layout::KlpPatch;
use crate::layout::Slots;
use crate::params::Params;
use crate::table;
use crate::table::Group;

/// Why a table is not what the build announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// There are no records.
    Empty,
    /// A record lacks its function or a name.
    Incomplete,
    /// The records of one object do not follow each other.
    ObjectTwice,
    /// There are more or fewer objects than announced.
    ObjectCount,
    /// The storage is too small.
    Storage,
}

impl Malformed {
    /// For the kernel's log.
    pub(crate) fn text(self) -> &'static CStr {
        match self {
            Self::Empty => c"the table of patched functions is empty",
            Self::Incomplete => c"a patched function lacks its code or a name",
            Self::ObjectTwice => c"the functions of one patched object are scattered",
            Self::ObjectCount => c"the number of patched objects is not the one announced",
            Self::Storage => c"the storage does not fit the table of patched functions",
        }
    }
}

/// Fills the storage of `params` from its table.
///
/// # Safety
///
/// `params` must uphold its invariants, and nothing else may use its storage while this runs.
pub(crate) unsafe fn build(params: &Params) -> Result<(), Malformed> {
    if params.records.is_null() || params.record_count == 0 {
        return Err(Malformed::Empty);
    }
    // SAFETY: By `Params`'s invariants.
    let records = unsafe { slice::from_raw_parts(params.records, params.record_count) };
    // SAFETY: By `Params`'s invariants on the names.
    let groups = || unsafe { table::groups(records) };

    // SAFETY: By `Params`'s invariants and this function's contract.
    let functions =
        unsafe { Slots::new(params.functions, params.function_slots, params.function_size) };
    // SAFETY: As above.
    let objects = unsafe { Slots::new(params.objects, params.object_slots, params.object_size) };
    let mut functions: Slots<KlpFunc> = functions.ok_or(Malformed::Storage)?;
    let mut objects: Slots<KlpObject> = objects.ok_or(Malformed::Storage)?;

    let mut count: usize = 0;
    for group in groups() {
        let group = group.map_err(|_| Malformed::Incomplete)?;
        let mut earlier = groups().take(count).flatten();
        if earlier.any(|earlier| earlier.same_object(&group)) {
            return Err(Malformed::ObjectTwice);
        }
        push_object(&group, &mut objects, &mut functions).ok_or(Malformed::Storage)?;
        count = count.wrapping_add(1);
    }
    if count != params.object_count {
        return Err(Malformed::ObjectCount);
    }
    objects.terminate().ok_or(Malformed::Storage)?;

    // SAFETY: One `klp_patch`, by `Params`'s invariants; the glue asserts that it begins like ours.
    let patch = unsafe { Slots::new(params.patch, 1, size_of::<KlpPatch>()) };
    let mut patch: Slots<KlpPatch> = patch.ok_or(Malformed::Storage)?;
    patch
        .push(KlpPatch {
            module: params.module,
            objs: params.objects,
            states: ptr::null_mut(),
            replace: params.replace,
        })
        .ok_or(Malformed::Storage)
}

/// Appends one object and its list of functions; `None` if the storage is too small.
fn push_object(
    group: &Group<'_>,
    objects: &mut Slots<KlpObject>,
    functions: &mut Slots<KlpFunc>,
) -> Option<()> {
    let name = group.object_name().map_or(ptr::null(), |name| name.as_ptr());
    objects.push(KlpObject { name, funcs: functions.position() })?;
    for function in group.functions() {
        functions.push(KlpFunc {
            old_name: function.old_name.as_ptr(),
            new_func: function.new.as_ptr(),
            old_sympos: function.position,
        })?;
    }
    functions.terminate()
}

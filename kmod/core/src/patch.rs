// SPDX-License-Identifier: GPL-2.0-only

//! From the tables to `klp_patch`: groups the functions by object, adds the callbacks, and fills the
//! storage.

use core::ffi::CStr;
use core::ptr;
use core::slice;

use crate::callbacks::Callbacks;
use crate::callbacks::Wrong;
use crate::layout::KlpFunc;
use crate::layout::KlpObject;
use crate::layout::KlpPatch;
use crate::layout::Slots;
use crate::name::Name;
use crate::params::Params;
use crate::table;
use crate::table::Function;

/// Why a table is not what the build announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// There are neither functions nor callbacks.
    Empty,
    /// A record lacks its function or a name.
    Incomplete,
    /// The records of one object do not follow each other.
    ObjectTwice,
    /// A callback lacks its code or the name of its object, or is of an unknown kind.
    Callback,
    /// An object has two callbacks of one kind.
    CallbackTwice,
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
            Self::Callback => c"a callback lacks its code, its object or its kind",
            Self::CallbackTwice => c"a patched object has two callbacks of one kind",
            Self::ObjectCount => c"the number of patched objects is not the one announced",
            Self::Storage => c"the storage does not fit the table of patched functions",
        }
    }
}

impl From<Wrong> for Malformed {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Record => Self::Callback,
            Wrong::Twice => Self::CallbackTwice,
        }
    }
}

/// Fills the storage of `params` from its tables.
///
/// # Safety
///
/// `params` must uphold its invariants, and nothing else may use its storage while this runs.
pub(crate) unsafe fn build(params: &Params) -> Result<(), Malformed> {
    if params.record_count == 0 && params.callback_count == 0 {
        return Err(Malformed::Empty);
    }
    // SAFETY: By `Params`'s invariants.
    let records = unsafe { list(params.records, params.record_count) };
    // SAFETY: As above.
    let callbacks = unsafe { list(params.callbacks, params.callback_count) };
    // SAFETY: By `Params`'s invariants on the names.
    let callbacks = unsafe { Callbacks::new(callbacks) };
    // SAFETY: As above.
    let groups = || unsafe { table::groups(records) };

    // SAFETY: By `Params`'s invariants and this function's contract.
    let functions =
        unsafe { Slots::new(params.functions, params.function_slots, params.function_size) };
    // SAFETY: As above.
    let objects = unsafe { Slots::new(params.objects, params.object_slots, params.object_size) };
    let mut storage = Storage {
        functions: functions.ok_or(Malformed::Storage)?,
        objects: objects.ok_or(Malformed::Storage)?,
        count: 0,
    };

    for group in groups() {
        let group = group.map_err(|_| Malformed::Incomplete)?;
        let mut earlier = groups().take(storage.count).flatten();
        if earlier.any(|earlier| earlier.same_object(&group)) {
            return Err(Malformed::ObjectTwice);
        }
        storage.push(group.object(), group.functions(), callbacks)?;
    }
    // Objects without patched functions, each once.
    for (index, object) in callbacks.objects().enumerate() {
        let object = object?;
        let known = groups().flatten().any(|group| group.object().same(object));
        let mut earlier = callbacks.objects().take(index).flatten();
        if !known && !earlier.any(|earlier| earlier.same(object)) {
            storage.push(object, core::iter::empty(), callbacks)?;
        }
    }
    if storage.count != params.object_count {
        return Err(Malformed::ObjectCount);
    }
    storage.objects.terminate().ok_or(Malformed::Storage)?;

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

/// The records of a table; none if there is no table.
///
/// # Safety
///
/// `first` must be NULL or point to `count` initialised values that nothing writes for `'a`.
unsafe fn list<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: By this function's contract.
    unsafe { slice::from_raw_parts(first, count) }
}

/// What is being filled.
struct Storage {
    functions: Slots<KlpFunc>,
    objects: Slots<KlpObject>,
    /// Number of objects so far.
    count: usize,
}

impl Storage {
    /// Appends one object with its list of functions, which may be empty but must be there: the kernel
    /// takes an object without one for a mistake.
    fn push(
        &mut self,
        object: Name,
        functions: impl Iterator<Item = Function>,
        callbacks: Callbacks<'_>,
    ) -> Result<(), Malformed> {
        let name = table::klp_name(object).map_or(ptr::null(), |name| name.as_ptr());
        let callbacks = callbacks.of(object)?;
        let funcs = self.functions.position();
        self.objects.push(KlpObject { name, funcs, callbacks }).ok_or(Malformed::Storage)?;
        for function in functions {
            let function = KlpFunc {
                old_name: function.old_name.as_ptr(),
                new_func: function.new.as_ptr(),
                old_sympos: function.position,
            };
            self.functions.push(function).ok_or(Malformed::Storage)?;
        }
        self.functions.terminate().ok_or(Malformed::Storage)?;
        self.count = self.count.wrapping_add(1);
        Ok(())
    }
}

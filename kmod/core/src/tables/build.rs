// SPDX-License-Identifier: GPL-2.0-only

//! From the tables to `klp_patch`: groups the functions by object, adds the callbacks, and fills the
//! storage.

use core::ffi::c_void;
use core::ffi::CStr;
use core::ptr;
use core::ptr::NonNull;
use core::slice;

use crate::gate::Gate;
use crate::layout::KlpFunc;
use crate::layout::KlpObject;
use crate::layout::KlpPatch;
use crate::layout::Slots;
use crate::name::Name;
use crate::tables::callbacks::Callbacks;
use crate::tables::callbacks::Wrong;
use crate::tables::functions;
use crate::tables::functions::Function;
use crate::tables::params::Params;

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
    /// The build-id gate has nothing to know a patched module by.
    Gate,
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
            Self::Gate => c"the build-id gate does not know a patched module",
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
    // SAFETY: By this function's contract.
    let gate = unsafe { gate(params) };
    // SAFETY: As above.
    let groups = || unsafe { functions::groups(records) };

    // SAFETY: By `Params`'s invariants and this function's contract.
    let functions =
        unsafe { Slots::new(params.functions, params.function_slots, params.function_size) };
    // SAFETY: As above.
    let objects = unsafe { Slots::new(params.objects, params.object_slots, params.object_size) };
    let mut storage = Storage {
        functions: functions.ok_or(Malformed::Storage)?,
        objects: objects.ok_or(Malformed::Storage)?,
        gate: gate.is_closed().then_some((gate, params.check_module)),
        count: 0,
    };

    for (index, group) in groups().enumerate() {
        let group = group.map_err(|_| Malformed::Incomplete)?;
        if groups().take(index).flatten().any(|earlier| earlier.same_object(&group)) {
            return Err(Malformed::ObjectTwice);
        }
    }
    // Objects with callbacks first, each once: their order is the author's, who can observe it.
    for (index, object) in callbacks.objects().enumerate() {
        let object = object?;
        if callbacks.objects().take(index).flatten().any(|earlier| earlier.same(object)) {
            continue;
        }
        let group = groups().flatten().find(|group| group.object().same(object));
        let functions = group.iter().flat_map(|group| group.functions());
        storage.push(object, functions, callbacks)?;
    }
    for group in groups().flatten() {
        if !callbacks.objects().flatten().any(|object| object.same(group.object())) {
            storage.push(group.object(), group.functions(), callbacks)?;
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
            states: params.states,
            replace: params.replace,
        })
        .ok_or(Malformed::Storage)
}

/// The gate of `params`.
///
/// # Safety
///
/// `params` must uphold its invariants.
pub(crate) unsafe fn gate(params: &Params) -> Gate<'_> {
    // SAFETY: By `Params`'s invariants.
    unsafe { Gate::new(list(params.gate, params.gate_count)) }
}

/// The author's callback that is to run before an object is patched.
///
/// # Safety
///
/// `params` must uphold its invariants.
pub(crate) unsafe fn author_pre_patch(params: &Params, object: Name) -> Option<NonNull<c_void>> {
    // SAFETY: By `Params`'s invariants.
    let callbacks = unsafe { Callbacks::new(list(params.callbacks, params.callback_count)) };
    // `build` has seen that the table is right.
    callbacks.of(object).ok()?.pre_patch
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
struct Storage<'a> {
    functions: Slots<KlpFunc>,
    objects: Slots<KlpObject>,
    /// If there is a gate: what it knows, and the callback that asks it.
    gate: Option<(Gate<'a>, Option<NonNull<c_void>>)>,
    /// Number of objects so far.
    count: usize,
}

impl Storage<'_> {
    /// Appends one object with its list of functions, which may be empty but must be there: the kernel
    /// takes an object without one for a mistake.
    fn push(
        &mut self,
        object: Name,
        functions: impl Iterator<Item = Function>,
        callbacks: Callbacks<'_>,
    ) -> Result<(), Malformed> {
        let name = functions::klp_name(object).map_or(ptr::null(), |name| name.as_ptr());
        let mut callbacks = callbacks.of(object)?;
        if let (Some((gate, check)), false) = (self.gate, name.is_null()) {
            if !gate.knows(object) || check.is_none() {
                return Err(Malformed::Gate);
            }
            callbacks.pre_patch = check;
        }
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

// SPDX-License-Identifier: GPL-2.0-only

//! The core on the host, with a glue and a kernel made for the tests. The structures are larger than
//! the parts that the core knows, as the kernel's are.

// A test may panic; the core may not.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod author;
mod gate;
mod kernel;
mod memory;
mod parameter;
mod refused;

use std::cell::Cell;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_ulong;
use std::ffi::c_void;
use std::ffi::CStr;
use std::ptr;
use std::ptr::NonNull;
use std::string::String;
use std::vec;
use std::vec::Vec;

use crate::gate::GateRecord;
use crate::kpatch_core_load;
use crate::tables::callbacks::CallbackRecord;
use crate::tables::functions::Record;
use crate::Params;
use crate::EINVAL;

/// Words of a structure as sizes of Linux 6.12 without debug options have them.
const FUNC_WORDS: usize = 152 / 8;
const OBJECT_WORDS: usize = 168 / 8;
const PATCH_WORDS: usize = 200 / 8;

const EBUSY: c_int = -16;

/// Where the glue's callback would be.
const CHECK_MODULE: u64 = 0x2000;

std::thread_local! {
    static ENABLE_RETURNS: Cell<c_int> = const { Cell::new(0) };
    static ENABLED: Cell<u32> = const { Cell::new(0) };
    static PINNED: Cell<u32> = const { Cell::new(0) };
    static LOGGED: Cell<Option<(String, c_int)>> = const { Cell::new(None) };
    static OTHER_BUILD: Cell<Option<OtherBuild>> = const { Cell::new(None) };
}

/// What was logged of an object that is not the one that the patch was built for.
#[derive(Debug, PartialEq, Eq)]
struct OtherBuild {
    object: String,
    built_for: Vec<u8>,
    found: Vec<u8>,
}

#[no_mangle]
extern "C" fn klp_enable_patch(patch: *mut c_void) -> c_int {
    assert!(!patch.is_null());
    ENABLED.set(ENABLED.get() + 1);
    ENABLE_RETURNS.get()
}

#[no_mangle]
extern "C" fn kpatch_glue_pin() {
    PINNED.set(PINNED.get() + 1);
}

#[no_mangle]
extern "C" fn kpatch_glue_log_failure(text: *const c_char, error: c_int) {
    // SAFETY: The core hands over literals.
    let text = unsafe { CStr::from_ptr(text) };
    LOGGED.set(Some((text.to_str().unwrap().into(), error)));
}

#[no_mangle]
extern "C" fn kpatch_glue_log_other_build(
    object: *const c_char,
    built_for: *const u8,
    built_for_size: usize,
    found: *const u8,
    found_size: usize,
) {
    // SAFETY: The core hands over a name, and as many bytes as it says.
    let (object, built_for, found) = unsafe {
        (
            CStr::from_ptr(object),
            std::slice::from_raw_parts(built_for, built_for_size),
            std::slice::from_raw_parts(found, found_size),
        )
    };
    let object = object.to_str().unwrap().into();
    let (built_for, found) = (built_for.into(), found.into());
    OTHER_BUILD.set(Some(OtherBuild { object, built_for, found }));
}

/// A table and zeroed storage of the size that the build would give it.
struct Module {
    records: Vec<Record>,
    callbacks: Vec<CallbackRecord>,
    gate: Vec<GateRecord>,
    check_module: *mut c_void,
    states: *mut c_void,
    patch: Vec<u64>,
    objects: Vec<u64>,
    functions: Vec<u64>,
    object_count: usize,
    replace: bool,
    pin: bool,
}

impl Module {
    fn new(records: Vec<Record>, object_count: usize) -> Self {
        Self {
            patch: vec![0; PATCH_WORDS],
            objects: vec![0; OBJECT_WORDS * (object_count + 1)],
            functions: vec![0; FUNC_WORDS * (records.len() + object_count)],
            records,
            callbacks: Vec::new(),
            gate: Vec::new(),
            check_module: CHECK_MODULE as *mut c_void,
            states: ptr::null_mut(),
            object_count,
            replace: false,
            pin: false,
        }
    }

    fn load(&mut self) -> c_int {
        let params = self.params();
        // SAFETY: The storage is zeroed, of these sizes, and ours.
        unsafe { kpatch_core_load(&params) }
    }

    fn params(&mut self) -> Params {
        Params {
            module: 0x1000 as *mut c_void,
            records: self.records.as_ptr(),
            record_count: self.records.len(),
            callbacks: self.callbacks.as_ptr(),
            callback_count: self.callbacks.len(),
            gate: self.gate.as_ptr(),
            gate_count: self.gate.len(),
            states: self.states,
            object_count: self.object_count,
            patch: self.patch.as_mut_ptr().cast(),
            objects: self.objects.as_mut_ptr().cast(),
            object_slots: self.objects.len() / OBJECT_WORDS,
            object_size: OBJECT_WORDS * 8,
            functions: self.functions.as_mut_ptr().cast(),
            function_slots: self.functions.len() / FUNC_WORDS,
            function_size: FUNC_WORDS * 8,
            check_module: NonNull::new(self.check_module),
            replace: self.replace,
            pin: self.pin,
        }
    }

    /// Name of object `index`; `None` for the kernel itself.
    fn object(&self, index: usize) -> Option<&'static str> {
        text(self.objects[index * OBJECT_WORDS])
    }

    /// The callbacks of object `index`: pre_patch, post_patch, pre_unpatch, post_unpatch.
    fn callbacks_of(&self, index: usize) -> [u64; 4] {
        let at = index * OBJECT_WORDS + 2;
        self.objects[at..at + 4].try_into().unwrap()
    }

    /// Name, address and position of the functions of object `index`, up to the terminator.
    fn functions_of(&self, index: usize) -> Vec<(&'static str, u64, u64)> {
        let start = self.objects[index * OBJECT_WORDS + 1] as usize;
        let mut at = (start - self.functions.as_ptr() as usize) / 8;
        let mut found = Vec::new();
        while self.functions[at..at + 3] != [0, 0, 0] {
            let name = text(self.functions[at]).unwrap();
            found.push((name, self.functions[at + 1], self.functions[at + 2]));
            at += FUNC_WORDS;
        }
        found
    }
}

fn text(word: u64) -> Option<&'static str> {
    let pointer = ptr::with_exposed_provenance::<c_char>(word as usize);
    if pointer.is_null() {
        return None;
    }
    // SAFETY: The tests' tables hold literals only.
    Some(unsafe { CStr::from_ptr(pointer) }.to_str().unwrap())
}

fn record(new: usize, old: &'static CStr, object: &'static CStr, position: c_ulong) -> Record {
    let _ = old.as_ptr().expose_provenance();
    let _ = object.as_ptr().expose_provenance();
    Record::new(ptr::without_provenance(new), old.as_ptr(), object.as_ptr(), position)
}

fn callback(function: usize, object: &'static CStr, kind: c_ulong) -> CallbackRecord {
    let _ = object.as_ptr().expose_provenance();
    CallbackRecord::new(ptr::without_provenance(function), object.as_ptr(), kind)
}

#[test]
fn functions_are_grouped_by_object_whatever_string_names_it() {
    // Two diff objects bring their own copies of the string.
    static AGAIN: [u8; 8] = *b"vmlinux\0";
    let again = CStr::from_bytes_with_nul(&AGAIN).unwrap();
    let mut module = Module::new(
        vec![
            record(0x10, c"cmdline_proc_show", c"vmlinux", 0),
            record(0x20, c"show", again, 3),
            record(0x30, c"ext4_sync_file", c"ext4", 1),
        ],
        2,
    );
    module.replace = true;
    assert_eq!(module.load(), 0);
    assert_eq!(ENABLED.get(), 1);

    assert_eq!(module.object(0), None);
    assert_eq!(module.functions_of(0), [("cmdline_proc_show", 0x10, 0), ("show", 0x20, 3)]);
    assert_eq!(module.object(1), Some("ext4"));
    assert_eq!(module.functions_of(1), [("ext4_sync_file", 0x30, 1)]);
    let end = &module.objects[2 * OBJECT_WORDS..];
    assert!(end.iter().all(|word| *word == 0), "no terminator behind the objects");

    let objects = module.objects.as_ptr() as u64;
    assert_eq!(module.patch[..3], [0x1000, objects, 0]);
    assert_eq!(module.patch[3] as u8, 1, "replace is one byte, padding behind it");
    assert!(module.patch[4..].iter().all(|word| *word == 0), "wrote into the kernel's part");
}

#[test]
fn only_the_first_fields_are_written() {
    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
    assert_eq!(module.load(), 0);
    assert!(module.functions[3..].iter().all(|word| *word == 0));
    assert!(module.objects[2..].iter().all(|word| *word == 0));
    assert_eq!(module.patch[3] as u8, 0, "replace was not asked for");
}

#[test]
fn the_module_is_pinned_only_when_asked_and_enabled() {
    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
    assert_eq!(module.load(), 0);
    assert_eq!(PINNED.get(), 0);

    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
    module.pin = true;
    ENABLE_RETURNS.set(EBUSY);
    assert_eq!(module.load(), EBUSY);
    assert_eq!(PINNED.get(), 0);
    assert_eq!(LOGGED.take(), Some(("the kernel did not enable the patch".into(), EBUSY)));

    let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
    module.pin = true;
    ENABLE_RETURNS.set(0);
    assert_eq!(module.load(), 0);
    assert_eq!(PINNED.get(), 1);
    assert_eq!(LOGGED.take(), None);
}

#[test]
fn callbacks_go_to_their_object() {
    let mut module =
        Module::new(vec![record(0x10, c"f", c"vmlinux", 0), record(0x20, c"g", c"ext4", 0)], 2);
    module.callbacks = vec![
        callback(0x50, c"ext4", 3),
        callback(0x60, c"vmlinux", 0),
        callback(0x70, c"ext4", 1),
        callback(0x80, c"vmlinux", 2),
    ];
    assert_eq!(module.load(), 0);
    // In the order in which callbacks name them: that is the one in which they are called.
    assert_eq!((module.object(0), module.object(1)), (Some("ext4"), None));
    assert_eq!(module.callbacks_of(0), [0, 0x70, 0, 0x50]);
    assert_eq!(module.functions_of(0), [("g", 0x20, 0)]);
    assert_eq!(module.callbacks_of(1), [0x60, 0, 0x80, 0]);
    assert_eq!(module.functions_of(1), [("f", 0x10, 0)]);
}

#[test]
fn an_object_may_have_callbacks_and_no_functions() {
    let mut module = Module::new(vec![record(0x10, c"f", c"ext4", 0)], 3);
    module.callbacks =
        vec![callback(0x50, c"jbd2", 0), callback(0x60, c"vmlinux", 1), callback(0x70, c"jbd2", 3)];
    assert_eq!(module.load(), 0);
    assert_eq!(module.object(0), Some("jbd2"));
    assert_eq!(module.callbacks_of(0), [0x50, 0, 0, 0x70]);
    assert_eq!(module.functions_of(0), []);
    assert_eq!(module.object(1), None);
    assert_eq!(module.callbacks_of(1), [0, 0x60, 0, 0]);
    assert_eq!(module.functions_of(1), []);
    assert_eq!(module.object(2), Some("ext4"));
    assert_eq!(module.callbacks_of(2), [0; 4]);
    assert_eq!(module.functions_of(2), [("f", 0x10, 0)]);
    let end = &module.objects[3 * OBJECT_WORDS..];
    assert!(end.iter().all(|word| *word == 0), "no terminator behind the objects");

    let mut module = Module::new(vec![], 1);
    module.callbacks = vec![callback(0x50, c"jbd2", 2)];
    assert_eq!(module.load(), 0);
    assert_eq!((module.object(0), module.functions_of(0)), (Some("jbd2"), vec![]));
}

#[test]
fn callbacks_that_the_kernel_has_no_place_for_are_refused() {
    let with = |callbacks| {
        let mut module = Module::new(vec![record(0x10, c"f", c"vmlinux", 0)], 1);
        module.callbacks = callbacks;
        refused(module)
    };
    let twice = vec![callback(0x50, c"vmlinux", 0), callback(0x60, c"vmlinux", 0)];
    assert!(with(twice).contains("two callbacks"));
    let twice = vec![callback(0x50, c"ext4", 3), callback(0x60, c"ext4", 3)];
    assert!(with(twice).contains("two callbacks"), "in an object of its own");
    assert!(with(vec![callback(0x50, c"vmlinux", 4)]).contains("lacks"));
    assert!(with(vec![callback(0, c"vmlinux", 1)]).contains("lacks"));
    let nameless = CallbackRecord::new(ptr::without_provenance(8), ptr::null(), 0);
    assert!(with(vec![nameless]).contains("lacks"));
    assert!(with(vec![callback(0x50, c"ext4", 1)]).contains("storage"), "one object too many");
}

/// What is logged for a table that must not reach the kernel.
fn refused(mut module: Module) -> String {
    assert_eq!(module.load(), EINVAL);
    assert_eq!(ENABLED.get(), 0, "the kernel heard of the patch");
    let (text, error) = LOGGED.take().expect("nothing was logged");
    assert_eq!(error, EINVAL);
    text
}

#[test]
fn a_table_that_is_not_as_announced_is_refused() {
    let f = || record(0x10, c"f", c"vmlinux", 0);
    let m = || record(0x20, c"g", c"mod", 0);
    assert!(refused(Module::new(vec![], 0)).contains("empty"));
    assert!(refused(Module::new(vec![f(), m(), f()], 3)).contains("scattered"));
    assert!(refused(Module::new(vec![f(), m()], 3)).contains("number of patched objects"));
    assert!(refused(Module::new(vec![f(), m()], 1)).contains("storage"));

    let without_code = record(0, c"f", c"vmlinux", 0);
    let without_name = Record::new(ptr::without_provenance(8), ptr::null(), c"m".as_ptr(), 0);
    let without_object = Record::new(ptr::without_provenance(8), c"f".as_ptr(), ptr::null(), 0);
    for record in [without_code, without_name, without_object] {
        assert!(refused(Module::new(vec![f(), record], 1)).contains("lacks"));
    }

    let mut small = Module::new(vec![f(), f()], 1);
    small.functions.truncate(FUNC_WORDS * 2);
    assert!(refused(small).contains("storage"), "no room for the terminator");
}

#[test]
fn names_compare_by_their_whole_content() {
    let records = vec![
        record(0x10, c"f", c"mod", 0),
        record(0x20, c"f", c"mod_a", 0),
        record(0x30, c"f", c"mod_b", 0),
    ];
    let mut module = Module::new(records, 3);
    assert_eq!(module.load(), 0);
    let names: Vec<_> = (0..3).map(|index| module.object(index)).collect();
    assert_eq!(names, [Some("mod"), Some("mod_a"), Some("mod_b")]);
}

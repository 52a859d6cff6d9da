// SPDX-License-Identifier: GPL-2.0-only

//! Livepatches in Rust: their tables, their callbacks, shadow variables, states, lines of the log.

use std::string::ToString;

use super::kernel::shadows;
use super::kernel::DUPLICATES;
use super::kernel::FLAGS;
use super::kernel::MEMORY;
use super::kernel::MODULE_STATE;
use super::kernel::PREVIOUS;
use super::kernel::PRINTED;
use super::*;
use crate::author;
use crate::author::patch;
use crate::author::print::Line;
use crate::author::state::StateList;
use crate::info;
use crate::warning;
use crate::Alloc;
use crate::Callbacks;
use crate::Error;
use crate::Func;
use crate::Hex;
use crate::Livepatch;
use crate::ModuleState;
use crate::Object;
use crate::Patch;
use crate::PatchedObject;
use crate::Result;
use crate::Shadow;
use crate::State;
use crate::States;

std::thread_local! {
    static CALLED: Cell<Vec<String>> = const { Cell::new(Vec::new()) };
    static FAILS: Cell<Option<Error>> = const { Cell::new(None) };
}

fn call(what: &str) {
    let mut called = CALLED.take();
    called.push(what.into());
    CALLED.set(called);
}

extern "C" fn new_function() {}

struct Told;

impl Callbacks for Told {
    fn pre_patch(object: &PatchedObject<'_>) -> Result {
        let state = object.module_state().map_or("none", |state| match state {
            ModuleState::Live => "live",
            _ => "other",
        });
        call(&std::format!("pre_patch {} {state}", object.name().to_str().unwrap()));
        FAILS.get().map_or(Ok(()), Err)
    }

    fn post_unpatch(object: &PatchedObject<'_>) {
        call(&std::format!("post_unpatch {}", object.is_vmlinux()));
    }
}

static STATES: States<2> = States::new([State::new(7, 1), State::new(9, 4)]);

struct Example;

impl Livepatch for Example {
    const PATCH: Patch = Patch::new(&[
        // SAFETY: Nobody calls it.
        Object::vmlinux(&[unsafe { Func::new(c"one", new_function as *const c_void) }])
            .callbacks::<Told>(),
        Object::module(
            c"ext4",
            &[
                // SAFETY: As above.
                unsafe { Func::new(c"two", new_function as *const c_void) }.at(3),
                // SAFETY: As above.
                unsafe { Func::new(c"three", new_function as *const c_void) },
            ],
        ),
    ])
    .replace(true)
    .pin();

    fn states() -> StateList {
        STATES.list()
    }

    fn init() -> Result {
        call("init");
        FAILS.get().map_or(Ok(()), Err)
    }

    fn exit() {
        call("exit");
    }
}

/// The module that `livepatch!` and the glue make of [`Example`].
fn example() -> Module {
    const PATCH: Patch = Example::PATCH;
    let functions: [Record; PATCH.function_count()] = patch::records(&PATCH);
    let callbacks: [CallbackRecord; PATCH.callback_count()] = patch::callback_records(&PATCH);
    let mut module = Module::new(functions.to_vec(), 2);
    module.callbacks = callbacks.to_vec();
    for name in [c"one", c"two", c"three", c"vmlinux", c"ext4"] {
        let _ = name.as_ptr().expose_provenance();
    }
    module
}

fn load(module: &mut Module) -> c_int {
    let params = module.params();
    // SAFETY: The storage is zeroed, of these sizes, and ours.
    unsafe { author::load::<Example>(&params) }
}

#[test]
fn a_patch_becomes_tables_and_these_what_the_kernel_wants() {
    let mut module = example();
    assert_eq!(load(&mut module), 0);
    assert_eq!(CALLED.take(), ["init"]);
    assert_eq!(PINNED.get(), 1);
    let code = (new_function as *const c_void).addr() as u64;
    assert_eq!(module.object(0), None);
    assert_eq!(module.functions_of(0), [("one", code, 0)]);
    assert_eq!(module.object(1), Some("ext4"));
    assert_eq!(module.functions_of(1), [("two", code, 3), ("three", code, 0)]);
    assert!(module.callbacks_of(0).iter().all(|callback| *callback != 0));
    assert_eq!(module.callbacks_of(1), [0; 4]);
    assert_eq!(module.patch[2], ptr::from_ref(&STATES) as u64);
    assert_eq!(module.patch[3] as u8, 1, "replace");
}

#[test]
fn init_may_refuse_and_exit_undoes_it() {
    FAILS.set(Some(Error::ENODEV));
    assert_eq!(load(&mut example()), Error::ENODEV.to_errno());
    assert_eq!(CALLED.take(), ["init"]);
    assert_eq!(ENABLED.get(), 0, "the kernel heard of the patch");

    FAILS.set(None);
    ENABLE_RETURNS.set(EBUSY);
    assert_eq!(load(&mut example()), EBUSY);
    assert_eq!(CALLED.take(), ["init", "exit"]);
}

#[test]
fn the_kernel_calls_back() {
    let mut module = example();
    assert_eq!(load(&mut module), 0);
    CALLED.take();
    let [pre_patch, post_patch, _, post_unpatch] = module.callbacks_of(0);
    let vmlinux = module.objects.as_ptr();
    let named = [c"ext4".as_ptr() as u64, 0, 0, 0, 0, 0];
    // SAFETY: These are the types of what the table has, and what the kernel hands over begins like that.
    let (pre_patch, post_patch, post_unpatch) = unsafe {
        (
            std::mem::transmute::<usize, extern "C" fn(*const u64) -> c_int>(pre_patch as usize),
            std::mem::transmute::<usize, extern "C" fn(*const u64)>(post_patch as usize),
            std::mem::transmute::<usize, extern "C" fn(*const u64)>(post_unpatch as usize),
        )
    };
    assert_eq!(pre_patch(vmlinux), 0);
    post_patch(vmlinux);
    post_unpatch(vmlinux);
    MODULE_STATE.set(0);
    FAILS.set(Some(Error::EPERM));
    assert_eq!(pre_patch(named.as_ptr()), -1);
    post_unpatch(named.as_ptr());
    let said = [
        "pre_patch vmlinux none",
        "post_unpatch true",
        "pre_patch ext4 live",
        "post_unpatch false",
    ];
    assert_eq!(CALLED.take(), said);
}

#[test]
fn errors_are_the_kernels() {
    for number in [-1, -22, -4095] {
        assert_eq!(Error::from_errno(number).to_errno(), number);
    }
    for number in [0, 1, 22, -4096, c_int::MIN, c_int::MAX] {
        assert_eq!(Error::from_errno(number), Error::EINVAL, "{number}");
    }
    assert_eq!(crate::to_result(0), Ok(()));
    assert_eq!(crate::to_result(-19), Err(Error::ENODEV));
    assert_eq!(crate::to_result(3), Err(Error::EINVAL), "success is 0");
}

/// Tells when it is dropped.
struct Value(std::sync::Arc<std::sync::atomic::AtomicU32>, u32);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn shadow_variables_are_made_once_and_dropped_once() {
    // SAFETY: The tests' kernel has no other users.
    let shadow: Shadow<Value> = unsafe { Shadow::new(1) };
    // SAFETY: As above.
    let flag: Shadow<()> = unsafe { Shadow::new(2) };
    let drops = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let dropped = || drops.load(std::sync::atomic::Ordering::Relaxed);
    let value = |number| Value(drops.clone(), number);
    let (one, two) = (&10_u64, &20_u64);
    // SAFETY: What it is used for is alive.
    let number = |value: NonNull<Value>| unsafe { value.as_ref() }.1;

    assert!(shadow.get(one).is_none());
    assert_eq!(number(shadow.alloc(one, Alloc::Kernel, value(1)).unwrap()), 1);
    assert_eq!((FLAGS.get(), dropped()), (0xcc0, 0), "moved, not dropped");
    assert_eq!(number(shadow.get(one).unwrap()), 1);
    assert!(shadow.get(two).is_none() && flag.get(one).is_none());

    let again = shadow.alloc(one, Alloc::Kernel, value(2));
    assert_eq!(again, Err(Error::EEXIST));
    assert_eq!((DUPLICATES.get(), dropped()), (1, 1), "the kernel warns, the value is not lost");
    let there = shadow.get_or_alloc(one, Alloc::Atomic, || unreachable!());
    assert_eq!(number(there.unwrap()), 1);
    assert_eq!(number(shadow.get_or_alloc(two, Alloc::Atomic, || value(3)).unwrap()), 3);
    assert_eq!((FLAGS.get(), DUPLICATES.get(), dropped()), (0x820, 1, 1));

    flag.alloc(one, Alloc::Atomic, ()).unwrap();
    assert!(flag.get(one).is_some());
    MEMORY.set(false);
    let third = &30_u64;
    assert_eq!(shadow.alloc(third, Alloc::Atomic, value(4)), Err(Error::ENOMEM));
    assert_eq!(dropped(), 2);
    assert_eq!(shadow.get_or_alloc(third, Alloc::Kernel, || value(5)), Err(Error::ENOMEM));
    assert_eq!((shadows(), dropped()), (3, 2), "nothing is made in vain");

    // SAFETY: Nobody has the values any more.
    unsafe {
        shadow.free(one);
        shadow.free(one);
        assert_eq!((shadows(), dropped()), (2, 3));
        shadow.free_all();
        assert_eq!((shadows(), dropped()), (1, 4));
        flag.free_all();
    }
    assert_eq!(shadows(), 0);
}

#[test]
fn states_are_found_and_taken_over() {
    static OURS: States<2> = States::new([State::new(1, 2), State::new(5, 1)]);
    static THEIRS: States<1> = States::new([State::new(5, 1)]);
    assert!(OURS.get(4).is_none() && OURS.get(0).is_none());
    let ours = OURS.get(5).unwrap();
    assert!(ours.data().is_null());

    let object = [0_u64; 6];
    let object = NonNull::from(&object).cast();
    // SAFETY: It begins as the kernel's.
    let object = unsafe { PatchedObject::new(object) };
    assert!(object.previous_state(5).is_none());
    let theirs = THEIRS.get(5).unwrap();
    let data = ptr::without_provenance_mut::<c_void>(0x50);
    theirs.set_data(data);
    PREVIOUS.set(ptr::from_ref(theirs).cast_mut().cast());
    let previous = object.previous_state(5).unwrap();
    assert_eq!((previous.version(), previous.data()), (1, data));
    ours.set_data(previous.take_data());
    assert_eq!((ours.data(), theirs.data()), (data, ptr::null_mut()));
    // What the kernel walks: 24 bytes each, up to the id 0.
    // SAFETY: The whole list.
    let words = unsafe { std::slice::from_raw_parts(OURS.list().as_ptr().cast::<u64>(), 9) };
    assert_eq!([words[0], words[1], words[3], words[4], words[6]], [1, 2, 5, 1, 0]);
}

#[test]
fn lines_are_made_of_pieces() {
    info!("count ", 42_u32, " of ", -7_i32, c", at ", Hex(0xdead_beef));
    warning!(i64::MIN, " ", u64::MAX, " ", 0_usize, Hex(0));
    let said = [
        (6, "count 42 of -7, at 0xdeadbeef".to_string()),
        (4, "-9223372036854775808 18446744073709551615 00x0".to_string()),
    ];
    assert_eq!(PRINTED.take(), said);
    let long = "x".repeat(300);
    let line = Line::new().piece("y").piece(long.as_str());
    assert_eq!(line.as_bytes().len(), 255);
    info!(long.as_str());
    assert_eq!(PRINTED.take()[0].1.len(), 255);
}

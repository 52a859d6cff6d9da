// SPDX-License-Identifier: GPL-2.0-only

//! The build-id gate: what it lets in, what it says of the others, and that the author's callback comes
//! behind it.

use super::*;
use crate::kpatch_core_author_pre_patch;
use crate::kpatch_core_check_module;
use crate::ENOEXEC;

const KERNEL: &[u8] = &[0x11; 20];
const EXT4: &[u8] = &[0x22; 20];
const OTHER: &[u8] = &[0x33; 20];

/// A note: sizes of name and content, type, name and content, filled up.
fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [name.len() as u32, content.len() as u32, kind] {
        bytes.extend(word.to_ne_bytes());
    }
    for field in [name, content] {
        bytes.extend(field);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn build_id(id: &[u8]) -> Vec<u8> {
    note(b"GNU\0", 3, id)
}

/// Notes as a kernel has them: others first.
fn notes(id: &[u8]) -> Vec<u8> {
    let others =
        [note(b"Xen\0", 6, b"linux\0"), note(b"GNU\0", 5, &[1; 8]), note(b"Linux\0", 0, b"1")];
    [others.concat(), build_id(id)].concat()
}

/// A patch to the kernel and to ext4 that was built for [`KERNEL`] and [`EXT4`], in a kernel with these
/// notes.
fn gated(notes: Vec<u8>) -> Module {
    let records = vec![record(0x10, c"f", c"vmlinux", 0), record(0x20, c"g", c"ext4", 0)];
    let mut module = Module::new(records, 2);
    module.gate = vec![
        GateRecord::new(c"vmlinux".as_ptr(), KERNEL, Some(notes.leak())),
        GateRecord::new(c"ext4".as_ptr(), EXT4, None),
    ];
    module
}

/// What the glue's callback gets for a module with this read-only memory.
fn check(module: &mut Module, object: &'static CStr, memory: &[u8]) -> c_int {
    let params = module.params();
    // SAFETY: Tables, name and memory are alive.
    unsafe {
        kpatch_core_check_module(&params, object.as_ptr(), memory.as_ptr().cast(), memory.len())
    }
}

fn other_build(object: &str, built_for: &[u8], found: &[u8]) -> Option<OtherBuild> {
    Some(OtherBuild { object: object.into(), built_for: built_for.into(), found: found.into() })
}

#[test]
fn the_kernel_that_the_patch_was_built_for_is_let_in() {
    let mut module = gated(notes(KERNEL));
    assert_eq!(module.load(), 0);
    assert_eq!((ENABLED.get(), OTHER_BUILD.take(), LOGGED.take()), (1, None, None));
    // The last note may lack its filling, and a build-id have any size.
    let mut odd = notes(&KERNEL[..3]);
    odd.pop();
    let mut module = gated(odd.clone());
    module.gate[0] = GateRecord::new(c"vmlinux".as_ptr(), &KERNEL[..3], Some(odd.leak()));
    assert_eq!(module.load(), 0);
}

#[test]
fn another_kernel_is_named_and_never_hears_of_the_patch() {
    let of = |notes: Vec<u8>| {
        assert_eq!(gated(notes).load(), ENOEXEC);
        assert_eq!(ENABLED.get(), 0, "the kernel heard of the patch");
        assert_eq!(PINNED.get(), 0);
        assert_eq!(LOGGED.take(), None);
        OTHER_BUILD.take()
    };
    assert_eq!(of(notes(OTHER)), other_build("vmlinux", KERNEL, OTHER));
    assert_eq!(of(notes(&KERNEL[..19])), other_build("vmlinux", KERNEL, &KERNEL[..19]));
    // The first build-id is the kernel's.
    let two = [notes(OTHER), build_id(KERNEL)].concat();
    assert_eq!(of(two), other_build("vmlinux", KERNEL, OTHER));
}

#[test]
fn a_kernel_without_readable_build_id_is_another() {
    let none = other_build("vmlinux", KERNEL, &[]);
    let of = |notes: Vec<u8>| {
        assert_eq!(gated(notes).load(), ENOEXEC);
        assert_eq!(ENABLED.get(), 0);
        OTHER_BUILD.take()
    };
    assert_eq!(of(Vec::new()), none);
    assert_eq!(of(note(b"GNU\0", 1, KERNEL)), none, "another type");
    assert_eq!(of(note(b"Xen\0", 3, KERNEL)), none, "another owner");
    assert_eq!(of(note(b"GNU", 3, KERNEL)), none, "a name without its NUL");
    assert_eq!(of(build_id(&[])), none, "no bytes");
    let whole = notes(KERNEL);
    for size in 0..whole.len() {
        assert_eq!(of(whole[..size].to_vec()), none, "{size} bytes");
    }
    // Sizes beyond the memory, also those that overflow.
    for size in [21, 0x7fff_ffff, u32::MAX - 3, u32::MAX] {
        for at in [0, 4] {
            let mut damaged = build_id(KERNEL);
            damaged[at..at + 4].copy_from_slice(&size.to_ne_bytes());
            assert_eq!(of(damaged), none, "{size:#x}");
        }
    }
}

#[test]
fn the_module_that_the_patch_was_built_for_is_let_in() {
    let mut module = gated(notes(KERNEL));
    assert_eq!(module.load(), 0);
    let surrounded = [&[7; 64], &build_id(EXT4)[..], &[0; 12]].concat();
    assert_eq!(check(&mut module, c"ext4", &surrounded), 0);
    // Also behind something that looks like a build-id of another.
    let behind = [build_id(OTHER), build_id(EXT4)].concat();
    assert_eq!(check(&mut module, c"ext4", &behind), 0);
    assert_eq!(OTHER_BUILD.take(), None);
}

#[test]
fn another_module_is_named() {
    let mut module = gated(notes(KERNEL));
    assert_eq!(module.load(), 0);
    let mut of = |memory: &[u8]| {
        assert_eq!(check(&mut module, c"ext4", memory), ENOEXEC);
        OTHER_BUILD.take()
    };
    let surrounded = [&[7; 64], &build_id(OTHER)[..], &build_id(&[0x44; 20]), &[0; 12]].concat();
    assert_eq!(of(&surrounded), other_build("ext4", EXT4, OTHER));
    assert_eq!(
        of(&build_id(KERNEL)),
        other_build("ext4", EXT4, KERNEL),
        "the kernel's is not its own"
    );
    let none = other_build("ext4", EXT4, &[]);
    assert_eq!(of(&[]), none);
    assert_eq!(of(&[9; 400]), none);
    let whole = build_id(EXT4);
    for size in 0..whole.len() {
        assert_eq!(of(&whole[..size]), none, "{size} bytes");
    }
    let unaligned = [&[0; 2], &whole[..], &[0; 2]].concat();
    assert_eq!(of(&unaligned), none, "notes are aligned");
    let params = module.params();
    // SAFETY: No memory is allowed.
    let error = unsafe { kpatch_core_check_module(&params, c"ext4".as_ptr(), ptr::null(), 9) };
    assert_eq!((error, OTHER_BUILD.take()), (ENOEXEC, none));
}

#[test]
fn modules_get_the_check_and_the_kernel_does_not() {
    let mut module = gated(notes(KERNEL));
    module.callbacks =
        vec![callback(0x50, c"vmlinux", 0), callback(0x60, c"ext4", 0), callback(0x70, c"ext4", 3)];
    assert_eq!(module.load(), 0);
    assert_eq!(module.callbacks_of(0), [0x50, 0, 0, 0]);
    assert_eq!(module.callbacks_of(1), [CHECK_MODULE, 0, 0, 0x70]);
    let params = module.params();
    // SAFETY: Tables and names are alive.
    let author = |object: &CStr| unsafe { kpatch_core_author_pre_patch(&params, object.as_ptr()) };
    assert_eq!(author(c"ext4") as u64, 0x60);
    assert_eq!(author(c"jbd2") as u64, 0);
    // SAFETY: No name is allowed.
    assert!(unsafe { kpatch_core_author_pre_patch(&params, ptr::null()) }.is_null());

    // A module of which only callbacks are patched, and one without any callback.
    let mut module = gated(notes(KERNEL));
    module.gate.push(GateRecord::new(c"jbd2".as_ptr(), OTHER, None));
    module.callbacks = vec![callback(0x50, c"jbd2", 1)];
    (module.object_count, module.objects, module.functions) =
        (3, vec![0; OBJECT_WORDS * 4], vec![0; FUNC_WORDS * 5]);
    assert_eq!(module.load(), 0);
    assert_eq!(module.callbacks_of(0), [CHECK_MODULE, 0x50, 0, 0]);
    assert_eq!(module.callbacks_of(1), [0; 4]);
    assert_eq!(module.callbacks_of(2), [CHECK_MODULE, 0, 0, 0]);
    let params = module.params();
    // SAFETY: As above.
    assert!(unsafe { kpatch_core_author_pre_patch(&params, c"jbd2".as_ptr()) }.is_null());
}

#[test]
fn without_a_gate_everything_is_let_in() {
    let mut module = gated(notes(OTHER));
    module.gate.clear();
    module.callbacks = vec![callback(0x60, c"ext4", 0)];
    assert_eq!(module.load(), 0);
    assert_eq!(module.callbacks_of(0), [0x60, 0, 0, 0]);
}

#[test]
fn a_gate_that_is_not_whole_is_refused() {
    let with = |change: &dyn Fn(&mut Module)| {
        let mut module = gated(notes(KERNEL));
        change(&mut module);
        refused(module)
    };
    let kernel = || GateRecord::new(c"vmlinux".as_ptr(), KERNEL, Some(notes(KERNEL).leak()));
    let kernel_without = |id: &[u8]| GateRecord::new(c"vmlinux".as_ptr(), id, Some(&[]));
    assert!(with(&|m| m.gate.truncate(1)).contains("does not know a patched module"));
    assert!(with(&|m| m.check_module = ptr::null_mut()).contains("does not know"));
    assert!(with(&|m| m.gate[1] = GateRecord::new(c"ext4".as_ptr(), &[], None)).contains("know"));
    let without_kernel = |m: &mut Module| {
        m.gate.remove(0);
    };
    assert!(with(&without_kernel).contains("not as the build makes it"));
    assert!(with(&|m| m.gate[0] = GateRecord::new(ptr::null(), KERNEL, None)).contains("not as"));
    assert!(with(&|m| m.gate[0] = kernel_without(&[])).contains("not as"));
    assert!(with(&|m| m.gate[0] = kernel_without(&[5; 33])).contains("not as"));
    let no_notes = || GateRecord::new(c"vmlinux".as_ptr(), KERNEL, None);
    assert!(with(&|m| m.gate[0] = no_notes()).contains("not as"));
    assert!(with(&|m| m.gate[0] = kernel().backwards()).contains("not as"));
    let long = || vec![0; (1 << 16) + 1].leak();
    assert!(with(&|m| m.gate[0] = GateRecord::new(c"vmlinux".as_ptr(), KERNEL, Some(long())))
        .contains("not as"));

    // A module that the gate does not know is never let in, whoever asks.
    let mut module = gated(notes(KERNEL));
    assert_eq!(check(&mut module, c"jbd2", &build_id(EXT4)), EINVAL);
    let params = module.params();
    // SAFETY: No name is allowed.
    assert_eq!(unsafe { kpatch_core_check_module(&params, ptr::null(), ptr::null(), 0) }, EINVAL);
}

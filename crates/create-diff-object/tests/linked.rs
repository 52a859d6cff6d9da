//! Objects that are linked of several files, up to a whole kernel: functions of one name in several
//! files, and files of one name.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use create_diff_object::compare_objects;
use kpatch_elf::ObjectFile;
use tempfile::TempDir;

const FLAGS: &[&str] = &[
    "-O2",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-pic",
    "-mcmodel=kernel",
    "-pg",
    "-mfentry",
    "-fno-asynchronous-unwind-tables",
    "-ffreestanding",
    "-fcf-protection=none",
];

/// Two functions of one static name, and a static variable, in each of two files of one name; the caller
/// has a cold part.
fn source(name: &str, added: u32) -> String {
    format!(
        "int outside(int); void failed(void) __attribute__((cold));
         static int state;
         static __attribute__((noipa)) int step(int x)
         {{ state += x; if (x == 7) failed(); return outside(x) + {added}; }}
         static __attribute__((noipa)) int other(int x) {{ state -= x; return outside(x) * 3; }}
         int use_{name}(int x) {{ return step(x) + other(x) + state; }}"
    )
}

/// Both files, compiled and linked into one object.
fn linked(directory: &Path, added: [u32; 2]) -> ObjectFile {
    let compiled: Vec<PathBuf> = [("first", added[0]), ("second", added[1])]
        .into_iter()
        .map(|(name, added)| {
            let place = directory.join(name);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("core.c"), source(name, added)).unwrap();
            let object = place.join("core.o");
            let mut gcc = Command::new("gcc");
            gcc.args(FLAGS).arg("-c").arg(place.join("core.c")).arg("-o").arg(&object);
            assert!(gcc.status().unwrap().success());
            object
        })
        .collect();
    let output = directory.join("linked.o");
    let ld = Command::new("ld").arg("-r").args(&compiled).arg("-o").arg(&output).status();
    assert!(ld.unwrap().success());
    kpatch_elf::read(&fs::read(output).unwrap()).unwrap()
}

#[test]
fn functions_of_one_name_are_told_apart_by_their_files() {
    let directory = TempDir::new().unwrap();
    let original = linked(directory.path(), [1, 2]);
    let patched = linked(directory.path(), [1, 5]);
    let difference = compare_objects("linked.o", &original, &patched).unwrap();
    assert_eq!(difference.changed_functions(), ["step"]);
    assert!(difference.new_functions().is_empty());

    let same = compare_objects("linked.o", &original, &original).unwrap();
    assert!(same.is_empty());
}

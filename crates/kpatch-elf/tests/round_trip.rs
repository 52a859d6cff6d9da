//! What is written reads back as what was meant, and hostile bytes never panic.

use std::path::PathBuf;
use std::process::Command;

use kpatch_elf::read;
use kpatch_elf::write;

const SOURCE: &str = r#"
    static int counter; int table[4] = {1, 2, 3, 4}; extern void other(const char *);
    static const char *const names[] = {"a", "b"};
    __attribute__((weak)) int soft(void) { return 1; }
    inline __attribute__((gnu_inline, always_inline)) int f(int x) { return x + table[x & 3]; }
    int g(int x) { counter += f(x); other(names[x & 1]); return soft(); }
"#;

fn compiled() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("t.c");
    let object = dir.path().join("t.o");
    std::fs::write(&source, SOURCE).unwrap();
    let flags = ["-O2", "-g", "-ffunction-sections", "-fdata-sections", "-mcmodel=kernel", "-c"];
    let status = Command::new("gcc")
        .args(flags)
        .args(["-fno-pic", "-fpatchable-function-entry=16,16", "-o"])
        .args([&object, &source])
        .status();
    assert!(status.unwrap().success());
    std::fs::read(object).unwrap()
}

fn real_objects() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/unit-objs");
    let Ok(entries) = std::fs::read_dir(&dir) else {
        eprintln!("SKIPPED: no real object pairs at {}", dir.display());
        return Vec::new();
    };
    let paths = entries.map(|e| e.unwrap().path());
    paths.filter(|p| p.extension().is_some_and(|e| e == "o")).collect()
}

#[test]
fn what_is_written_reads_back() {
    let mut files = vec![compiled()];
    files.extend(real_objects().iter().map(|path| std::fs::read(path).unwrap()));
    for bytes in files {
        let object = read(&bytes).unwrap();
        // Compilers put local symbols first, so even the indices must come back.
        assert_eq!(object, read(&write(&object).unwrap()).unwrap());
    }
}

#[test]
fn binutils_read_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.o");
    std::fs::write(&path, write(&read(&compiled()).unwrap()).unwrap()).unwrap();
    let output = Command::new("readelf").args(["-WSrs"]).arg(&path).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(".text.g") && text.contains("counter"), "{text}");
}

#[test]
fn damaged_files_never_panic() {
    let bytes = compiled();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random() % 8 {
            // Half of the damage goes to the headers, where it matters most.
            let at = random() as usize % damaged.len();
            let at = if round % 2 == 0 { at % 64 } else { damaged.len() - 1 - at % 4096 };
            damaged[at] = random() as u8;
        }
        if round % 5 == 0 {
            damaged.truncate(random() as usize % bytes.len());
        }
        let _ = read(&damaged);
    }
}

//! Compiles a case as kbuild compiles a file of the kernel, with and without the patch.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use kpatch_elf::ObjectFile;
use tempfile::TempDir;

use crate::case::Case;

/// A way to compile.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    flags: &'static [&'static str],
}

/// All ways, the kernel's own first.
pub(crate) const WAYS: &[Way] = &[
    Way { name: "padded", flags: &["-fpatchable-function-entry=16,16", "-fno-jump-tables"] },
    Way { name: "plain", flags: &["-fno-jump-tables"] },
    Way { name: "switch", flags: &["-fjump-tables", "-fcf-protection=none"] },
];

/// What `scripts/Makefile.*` and `arch/x86/Makefile` pass to gcc, as far as it shapes an object.
const FLAGS: &[&str] = &[
    "-std=gnu11",
    "-O2",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-mno-sse",
    "-mno-80387",
    "-fcf-protection=branch",
    "-mindirect-branch=thunk-extern",
    "-mindirect-branch-register",
    "-mindirect-branch-cs-prefix",
    "-mfunction-return=thunk-extern",
    "-pg",
    "-mrecord-mcount",
    "-mfentry",
    "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
    "-fno-strict-aliasing",
    "-fno-common",
    "-fno-delete-null-pointer-checks",
    "-fshort-wchar",
    "-ffreestanding",
    "-Wno-attributes",
    // The macros for patch authors, with the kernel's headers that they include in `tests/cases/`.
    concat!("-I", env!("CARGO_MANIFEST_DIR"), "/tests/cases/include"),
    concat!("-I", env!("CARGO_MANIFEST_DIR"), "/../../kmod/include"),
];

/// Both objects of a case.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) directory: TempDir,
    pub(crate) original: ObjectFile,
    pub(crate) patched: ObjectFile,
}

impl Pair {
    /// The file of the original object.
    pub(crate) fn original_path(&self) -> PathBuf {
        self.directory.path().join("original.o")
    }
}

/// The compiler of the kernel that the project is for if it is there, else the system's.
pub(crate) fn gcc() -> &'static str {
    static GCC: OnceLock<&str> = OnceLock::new();
    GCC.get_or_init(|| {
        let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        ["gcc-12", "gcc"].into_iter().find(works).unwrap_or("gcc")
    })
}

/// Runs a tool to its end; its messages if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{stderr}", output.status));
    }
    Ok(stderr.into_owned())
}

/// Compiles a case.
pub(crate) fn pair(case: &Case, way: &Way) -> Result<Pair, String> {
    let directory = TempDir::new().map_err(|e| e.to_string())?;
    let compile = |output: &Path, more: &[String]| {
        let mut command = Command::new(gcc());
        command.args(FLAGS).args(way.flags).args(&case.flags).args(more);
        run(command.arg("-c").arg(&case.source).arg("-o").arg(output))?;
        let bytes = fs::read(output).map_err(|e| e.to_string())?;
        kpatch_elf::read(&bytes).map_err(|e| e.to_string())
    };
    let original = compile(&directory.path().join("original.o"), &[])?;
    let mut more = case.patched_flags.clone();
    more.push("-DPATCHED".into());
    let patched = compile(&directory.path().join("patched.o"), &more)?;
    Ok(Pair { directory, original, patched })
}

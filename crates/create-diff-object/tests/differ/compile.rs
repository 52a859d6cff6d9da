//! Compiles a case as kbuild compiles a file of the kernel, with and without the patch.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use kpatch_elf::ObjectFile;
use tempfile::TempDir;

use crate::case::Case;
use crate::compilers::Way;

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
        let mut command = way.command();
        command.args(&case.flags).args(more);
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

//! Object files between the phases: reading what the compiler made, and describing what goes into the
//! patch.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use create_diff_object::authors::DeclaredState;
use create_diff_object::notices::Notice;
use create_diff_object::outlive::Outliving;
use kpatch_elf::ObjectFile;
use kpatch_elf::ReadError;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

/// One object of the patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffObject {
    /// The object of the kernel that it was made from (`fs/proc/cmdline.o`).
    pub name: String,
    /// The object whose functions it replaces: `vmlinux` or a module.
    pub patches: String,
    /// The build-id of the module that it patches, if it has one; none of vmlinux.
    pub build_id: Option<Vec<u8>>,
    /// Its file.
    pub path: PathBuf,
    /// Functions that replace one of the kernel.
    pub changed: Vec<String>,
    /// Functions that the kernel does not have.
    pub new: Vec<String>,
    /// What may still run when the patch is disabled.
    pub outliving: Vec<Outliving>,
    /// Number of callbacks.
    pub callbacks: usize,
    /// States that the patch deals with.
    pub states: Vec<DeclaredState>,
    /// Variables that the kernel does not have and that the patch can write to.
    pub new_variables: Vec<String>,
    /// What the user should know of it.
    pub notices: Vec<Notice>,
}

impl DiffObject {
    /// Whether it changes anything of what it patches; else it has new code only, which others call.
    pub fn acts(&self) -> bool {
        !self.changed.is_empty() || self.callbacks > 0
    }
}

/// Reads what the compiler made of `object` of the kernel.
///
/// # Errors
/// A refusal when it is no machine code; I/O errors.
pub fn read(object: &str, path: &Path) -> Result<ObjectFile> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match kpatch_elf::read(&bytes) {
        Ok(object) => Ok(object),
        Err(
            error @ (ReadError::Bitcode | ReadError::Intermediate { .. } | ReadError::Foreign(_)),
        ) => Err(Refusal::new(
            Code::NotMachineCode,
            Place::object(object),
            error.to_string(),
            "kernels built with LTO or for another machine are not supported",
        )
        .into()),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

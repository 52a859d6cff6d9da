//! Verifying by names of files: the module, and what there is of its kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::modules;
use shipped_kernel::symvers;

use crate::Report;
use crate::Target;
use crate::modules_named;
use crate::placed;
use crate::verify_for;

/// The parts of a kernel by which a module is verified, each of which may be missing.
#[derive(Debug, Clone, Default)]
pub struct KernelFiles {
    /// Its image, `vmlinuz` or `vmlinux`.
    pub image: Option<PathBuf>,
    /// The directory of its modules.
    pub modules: Option<PathBuf>,
    /// Its `Module.symvers`.
    pub symvers: Option<PathBuf>,
}

/// Verifies the finished module at `path`.
///
/// # Errors
/// [`Refusals`](kpatch_refusal::Refusals) (to be had by downcast) when the module breaks a rule or a
/// part of the kernel cannot be read; any other error when the file cannot be read.
pub fn verify_file(path: &Path, files: &KernelFiles) -> Result<Report> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    verify_bytes(&bytes, files).map_err(|error| placed(error, &name))
}

fn verify_bytes(bytes: &[u8], files: &KernelFiles) -> Result<Report> {
    let image = files.image.as_deref().map(Image::open).transpose()?;
    let kallsyms = image.as_ref().map(Kallsyms::read).transpose()?;
    let exports = files.symvers.as_deref().map(symvers::read).transpose()?;
    let modules = match &files.modules {
        Some(directory) => Some(read_modules(bytes, directory)?),
        None => None,
    };
    let target = Target {
        kernel: image.as_ref().zip(kallsyms.as_ref()),
        modules: modules.as_ref(),
        exports: exports.as_ref(),
    };
    Ok(verify_for(bytes, &target)?)
}

/// The modules that the livepatch module names.
fn read_modules(bytes: &[u8], directory: &Path) -> Result<BTreeMap<String, Module>> {
    let mut all = BTreeMap::new();
    for name in modules_named(bytes)? {
        let module = Module::read(&modules::find_module(directory, &name)?)?;
        all.insert(name, module);
    }
    Ok(all)
}

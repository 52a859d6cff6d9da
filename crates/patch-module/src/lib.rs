//! Wraps diff objects, the C glue and the Rust core into an intermediate kernel module: one that has
//! everything but livepatch relocations.
//!
//! Phases, one file each: `template` decides who compiles the Rust parts. Freestanding, which serves
//! kernels with and without Rust support because distributions ship no Rust metadata: `toolchain` finds a
//! rustc with the sources of its `core`, `core_library` compiles that `core` for the kernel (once,
//! cached), `core_object` compiles the in-kernel core and proves that it needs nothing else. By the
//! kernel's own Rust support kbuild does that. In both ways `gate` writes down what the patch is for,
//! `kbuild` links the module with the kernel's own makefiles, `intermediate` checks the result.

mod authored;
mod core_library;
mod core_object;
mod gate;
mod intermediate;
mod kbuild;
mod name;
mod options;
mod rust_target;
mod sources;
mod tail_jumps;
mod template;
#[cfg(test)]
mod testing;
mod toolchain;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use tool_run::ToolLog;

use crate::template::Way;

pub use authored::Authored;
pub use authored::compile as compile_authored;
pub use gate::Gate;
pub use name::InvalidName;
pub use name::NAME_MAX;
pub use name::check_name;
pub use options::KernelOptions;
pub use template::Template;

/// The kernel that the module is for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The kernel's source tree. Not written to.
    pub source: &'a Path,
    /// The object directory, in the state of `make modules_prepare` and with the shipped
    /// `Module.symvers`. Not written to.
    pub object_dir: &'a Path,
    /// What `uname -r` says on the kernel; becomes part of vermagic.
    pub release: &'a str,
    /// The C compiler, a name or path that make can run.
    pub compiler: &'a str,
    /// The options that matter here.
    pub options: &'a KernelOptions,
}

/// What goes into the module.
#[derive(Debug, Clone, Copy)]
pub struct PatchModule<'a> {
    /// Its name, file name without `.ko`; see [`check_name`].
    pub name: &'a str,
    /// What runs in the place of what is patched.
    pub code: Code<'a>,
    /// Number of patched functions: records in all of the code together.
    pub functions: usize,
    /// Number of callbacks: records in all of the code together.
    pub callbacks: usize,
    /// Number of patched objects (vmlinux and modules).
    pub klp_objects: usize,
    /// The states that the patch deals with, id and version. Livepatches in Rust have their own.
    pub states: &'a BTreeMap<u64, u32>,
    /// What the module may be enabled on; on anything without it.
    pub gate: Option<&'a Gate>,
    /// Whether the patch takes the place of all earlier ones.
    pub replace: bool,
    /// Whether the module must never be unloaded once the patch was enabled.
    pub pin: bool,
    /// How it is built.
    pub template: Template,
}

/// Where the code of a patch comes from.
#[derive(Debug, Clone, Copy)]
pub enum Code<'a> {
    /// The differ's objects, in link order: those of one patched object (vmlinux or a module) must
    /// follow each other. Each has records in `.kpatch.funcs` or `.kpatch.callbacks`.
    Diff(&'a [PathBuf]),
    /// A livepatch that an author wrote in Rust.
    Author(&'a Authored),
}

/// Builds the intermediate module in `work_dir` (directories `core` and `module`, which former runs may have
/// left) and returns
/// the `.ko`. Rust's `core` is kept in `cache_dir`, which several runs may share. At most `jobs`
/// compilers run at a time.
///
/// # Errors
/// An [`InvalidName`]; a [`kpatch_refusal::Refusal`] when the template cannot be used, the core needs
/// symbols that the kernel does not offer or the module's table is not what was announced; otherwise when no rustc fits (the
/// message names the packages), or a tool or the file system fails.
pub fn build(
    target: &Target<'_>,
    module: &PatchModule<'_>,
    work_dir: &Path,
    cache_dir: &Path,
    jobs: usize,
    log: &ToolLog,
) -> Result<PathBuf> {
    check_name(module.name)?;
    if let Code::Diff(objects) = module.code {
        anyhow::ensure!(!objects.is_empty(), "a patch module needs a diff object");
    }
    let work_dir = make_absolute(work_dir)?;
    let cache_dir = make_absolute(cache_dir)?;

    let places = toolchain::Places::from_env();
    let directory = work_dir.join("module");
    let file = match template::choose(module.template, target, &places, log)? {
        Way::Freestanding => {
            let directories = (work_dir.as_path(), cache_dir.as_path());
            let (_, core) = core_object::freestanding(target.options, &places, directories, log)?;
            kbuild::lay_out(&directory, Some(&core.object), module)?;
            kbuild::make(&directory, target, module.name, None, jobs, log)?
        }
        Way::RustForLinux(rustc) => {
            kbuild::lay_out(&directory, None, module)?;
            let file = kbuild::make(&directory, target, module.name, Some(&rustc), jobs, log)?;
            // This kernel has functions for panics. A core that may panic is none all the same.
            let core = kbuild::core_object(&directory);
            let data =
                fs::read(&core).with_context(|| format!("cannot read `{}`", core.display()))?;
            core_object::check(&data)?;
            file
        }
    };
    let data = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    intermediate::check(&data, module)?;
    Ok(file)
}

/// Compilers run in directories of their own, so that they must be told absolute paths.
fn make_absolute(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    directory.canonicalize().with_context(|| format!("cannot find `{}`", directory.display()))
}

//! Kernels that were built here, in their source tree or beside it, and the tool run on them as their
//! builder runs it: the tree is named, and the patch.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::case::Build;
use crate::kernel;
use crate::kernel::KernelSet;

/// A kernel with the directory that it was built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltTree {
    /// Its parts. The modules are installed somewhere, for guests.
    pub kernel: KernelSet,
    /// Where it was built: the source tree itself, or another directory.
    pub objects: PathBuf,
}

impl BuiltTree {
    /// Whether it was built in its source tree.
    pub fn is_in_place(&self) -> bool {
        self.objects == self.kernel.source
    }
}

/// The built kernel `name` of `cache`; `None` when there is none.
///
/// # Errors
/// When its `kernel.env` cannot be understood, or names what does not exist.
pub fn find(cache: &Path, name: &str) -> Result<Option<BuiltTree>> {
    let file = cache.join("kernels").join(name).join("kernel.env");
    if !file.exists() {
        return Ok(None);
    }
    let kernel = kernel::read(&file)?;
    let objects = kernel::value(&file, "OBJECTS")?;
    let tree = BuiltTree { objects: PathBuf::from(objects).canonicalize()?, kernel };
    let source = tree.kernel.source.canonicalize()?;
    Ok(Some(BuiltTree { kernel: KernelSet { source, ..tree.kernel }, ..tree }))
}

/// The command for one build, run in `out`, where the module goes by itself. All else that is said is where
/// the tool's own files go.
///
/// # Errors
/// When `out` or a patch has no absolute path.
pub fn command(tool: &Path, tree: &BuiltTree, build: &Build, out: &Path) -> Result<Command> {
    let mut command = Command::new(tool);
    command.current_dir(out).arg("-s").arg(&tree.kernel.source);
    if !tree.is_in_place() {
        command.arg("-O").arg(&tree.objects);
    }
    for patch in &build.patches {
        let path = patch.canonicalize();
        command.arg(path.with_context(|| format!("no patch `{}`", patch.display()))?);
    }
    Ok(command)
}

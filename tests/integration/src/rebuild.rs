//! Builds modules outside of the kernel's tree, as anyone may. One of the kernel's own, from the same source
//! file, with the same configuration and compiler, does the same and has another build-id.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use kpatch_build::cache::Cache;
use kpatch_build::farm::Farms;
use kpatch_build::prepare;
use kpatch_build::prepare::Shipped;
use kpatch_build::progress::Progress;
use kpatch_build::source_tree;
use tool_run::ToolLog;

use crate::kernel::KernelSet;

/// Builds the module that consists of `source` alone (`drivers/block/loop.c`, or a file elsewhere by its whole
/// path) in `dir`, and returns its file.
/// The object directory is the one that the kernel was built in, or that the tool has prepared in `cache`; it
/// is not written to.
///
/// # Errors
/// When the object directory cannot be prepared, or the module not be built.
pub fn module(kernel: &KernelSet, cache: &Path, source: &str, dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let name = Path::new(source).file_stem().context("no source file")?.to_string_lossy();
    fs::copy(kernel.source.join(source), dir.join(format!("{name}.c")))?;
    fs::write(dir.join("Kbuild"), format!("obj-m := {name}.o\n"))?;

    let log = ToolLog::open(&dir.join("log"))?;
    if let Some(objects) = &kernel.objects {
        let mut make = Command::new("make");
        make.arg("-C").arg(&kernel.source).arg(format!("O={}", objects.display()));
        make.arg(format!("KERNELRELEASE={}", kernel.release));
        make_module(make, dir, &log)?;
    } else {
        prepare_and_make(kernel, cache, dir, &log)?;
    }
    let module = dir.join(format!("{name}.ko"));
    anyhow::ensure!(module.is_file(), "kbuild made no `{}`", module.display());
    Ok(module)
}

fn prepare_and_make(kernel: &KernelSet, cache: &Path, dir: &Path, log: &ToolLog) -> Result<()> {
    let cache = Cache::open(cache)?;
    let tree = source_tree::read(&kernel.source)?;
    let farm = Farms::open(&cache, &tree)?.base();
    let shipped = Shipped {
        config: kernel.headers.join(".config"),
        symvers: kernel.headers.join("Module.symvers"),
        release: kernel.release.clone(),
    };
    let progress = Progress::new(false);
    let prepared = prepare::prepare(&cache, &tree, &farm, &shipped, 1, log, &progress)?;

    let _lock = prepared.lock()?;
    make_module(prepared.make(1).context("a kernel that was built here")?, dir, log)
}

fn make_module(mut make: Command, dir: &Path, log: &ToolLog) -> Result<()> {
    // BTF would be made against a vmlinux that only a built tree has.
    make.arg(format!("M={}", dir.canonicalize()?.display()));
    make.args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]);
    log.run(&mut make)?;
    Ok(())
}

//! `kpatch-build rust`: from a livepatch that is written in Rust to a module. Nothing of the kernel is
//! compiled or compared: what is patched, the author says; that the kernel has it, is checked.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use clap::Args;
use kpatch_elf::livepatch::VMLINUX;
use patch_module::Authored;
use patch_module::Code;
use patch_module::PatchModule;
use patch_module::Template;
use shipped_kernel::Module;

use crate::cli;
use crate::gate;
use crate::link;
use crate::outcome::Usage;
use crate::session;
use crate::session::Session;
use crate::settings::Settings;
use crate::target::Target;

/// Builds a livepatch module from a livepatch that is written in Rust.
///
/// The source is the root of a crate without `std`, with its modules in files beside it, that uses `kpatch_core`
/// (kmod/core of the project) and says by `livepatch!` what it patches. examples/rust has some to begin with.
#[derive(Debug, Clone, Args)]
pub struct RustArguments {
    /// The livepatch
    #[arg(value_name = "FILE.rs")]
    pub livepatch: PathBuf,

    /// The kernel, and how the run is made
    #[command(flatten)]
    pub settings: Settings,

    /// Name of the module, and of the patch in /sys/kernel/livepatch [default: that of the file]
    #[arg(short, long, value_name = "NAME", value_parser = cli::module_name)]
    pub name: Option<String>,

    /// Directory for the finished module
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,

    /// A module that is patched and that the kernel did not come with; may be repeated
    #[arg(long = "module", value_name = "FILE.ko")]
    pub other_modules: Vec<PathBuf>,

    /// Build a patch that may be enabled on any kernel and module, whatever their build-ids
    #[arg(long)]
    pub no_build_id_check: bool,

    /// What compiles Rust: kbuild (`rust-for-linux`), which needs a kernel with CONFIG_RUST that was built
    /// here, or rustc by itself (`freestanding`); `auto` takes the first where it can
    #[arg(long, value_name = "TEMPLATE", default_value = "auto")]
    pub template: Template,
}

/// Builds the module that `arguments` ask for, and writes to `out` where it is.
///
/// # Errors
/// [`Usage`], refusals and tool failures, to be told apart by [`crate::outcome::exit_code`].
pub fn run(arguments: &RustArguments, mut out: impl Write) -> Result<()> {
    let name = name(arguments).map_err(Usage)?;
    if !arguments.livepatch.is_file() {
        return Err(Usage(format!("cannot read `{}`", arguments.livepatch.display())).into());
    }
    let session = session::open(&arguments.settings)?;
    let Session { progress, jobs, cache, work, log, target, .. } = &session;
    let only_on = target.only_on(arguments.no_build_id_check)?;
    let prepared = session.prepare()?;
    let options = link::options(target)?;
    let kernel = link::kernel(target, &prepared, &options);

    let places = (work.path.as_path(), cache.root());
    let _lock = prepared.lock()?;
    let authored = progress.step("compile", || {
        let source = (name.as_str(), arguments.livepatch.as_path());
        patch_module::compile_authored(&kernel, source, arguments.template, places, *jobs, log)
    })?;
    for name in &authored.outliving {
        progress.warning(&format!(
            "pinned: `{name}` jumps to other code of the livepatch, in which tasks may be when the patch is \
             disabled: the module cannot be unloaded (`#[inline(always)]` on what it ends with helps)"
        ));
    }
    let modules = modules(&authored, &arguments.other_modules, target)?;
    let build_ids = authored
        .objects
        .iter()
        .filter_map(|name| Some((name.as_str(), modules.get(name)?.build_id.as_deref())))
        .collect();
    let gate = only_on.map(|identity| gate::gate(identity, build_ids)).transpose()?;
    let module = PatchModule {
        name: &name,
        code: Code::Author(&authored),
        functions: authored.functions,
        callbacks: authored.callbacks,
        klp_objects: authored.objects.len(),
        states: &BTreeMap::new(),
        gate: gate.as_ref(),
        // The author says it when the module is loaded; and the states.
        replace: false,
        pin: !authored.outliving.is_empty(),
        template: arguments.template,
    };
    let intermediate = progress.step("link the module", || {
        patch_module::build(&kernel, &module, places.0, places.1, *jobs, log)
    })?;
    let module = progress.step("convert and verify", || {
        link::convert(&intermediate, &modules, target, &arguments.output, &name)
    })?;
    writeln!(out, "{}", module.display())?;
    session.work.done(arguments.settings.keep, &session.progress)
}

/// The name of the module: as given, or the file's.
fn name(arguments: &RustArguments) -> Result<String, String> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let stem = arguments.livepatch.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    cli::module_name(stem).map_err(|error| format!("{error}; name it with `-n`"))
}

/// The modules that are patched: those that the user names, else the kernel's.
fn modules(
    authored: &Authored,
    files: &[PathBuf],
    target: &Target,
) -> Result<BTreeMap<String, Module>> {
    let mut named = BTreeMap::new();
    for file in files {
        let module = Module::read(file)?;
        named.insert(module.name.clone(), module);
    }
    let mut all = BTreeMap::new();
    for name in authored.objects.iter().filter(|name| *name != VMLINUX) {
        let module = match named.remove(name) {
            Some(module) => module,
            None => {
                let found = target.parts.modules.find(name);
                let hint = "name its file by `--module` if the kernel did not come with it";
                Module::read(&found.context(hint)?)?
            }
        };
        all.insert(name.clone(), module);
    }
    if let Some(name) = named.keys().next() {
        return Err(Usage(format!("the livepatch has nothing to do with module `{name}`")).into());
    }
    Ok(all)
}

//! Livepatches that an author wrote in Rust on the in-kernel core: compiles them, and reads from the object
//! what they patch. `kmod/core/src/author.rs` says how they are written.
//!
//! Bias: what kernels without Rust do not have is refused for all kernels, so that a livepatch that builds
//! for one builds for the others.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use object::Object;
use object::ObjectSymbol;
use tool_run::ToolLog;

use crate::PatchModule;
use crate::Target;
use crate::Template;
use crate::check_name;
use crate::core_library;
use crate::core_object;
use crate::intermediate;
use crate::kbuild;
use crate::tail_jumps;
use crate::template;
use crate::template::Way;
use crate::toolchain;

/// A livepatch in Rust, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    pub(crate) crate_name: String,
    pub(crate) source: PathBuf,
    /// What was compiled of it; kbuild compiles it once more.
    pub(crate) object: PathBuf,
    /// Number of patched functions.
    pub functions: usize,
    /// Number of callbacks.
    pub callbacks: usize,
    /// What is patched, or has callbacks: `vmlinux` and modules.
    pub objects: BTreeSet<String>,
    /// Functions that run in the place of others and jump to more code of the livepatch: tasks may be in
    /// that when the kernel believes that all have left. Names as linkers know them.
    pub outliving: Vec<String>,
}

/// Compiles `source`, a crate whose modules are in files beside it, for the module `name`; see [`crate::build`]
/// for the rest.
///
/// # Errors
/// Refusals when the template cannot be used, or the code needs what kernels without Rust do not have;
/// rustc's own messages when it does not compile.
pub fn compile(
    target: &Target<'_>,
    (name, source): (&str, &Path),
    template: Template,
    (work_dir, cache_dir): (&Path, &Path),
    jobs: usize,
    log: &ToolLog,
) -> Result<Authored> {
    check_name(name)?;
    let work_dir = crate::make_absolute(work_dir)?;
    let cache_dir = crate::make_absolute(cache_dir)?;
    let source =
        source.canonicalize().with_context(|| format!("cannot read `{}`", source.display()))?;
    let mut authored = Authored {
        crate_name: name.replace('-', "_"),
        source,
        object: PathBuf::new(),
        functions: 0,
        callbacks: 0,
        objects: BTreeSet::new(),
        outliving: Vec::new(),
    };
    let places = toolchain::Places::from_env();
    let core = match template::choose(template, target, &places, log)? {
        Way::Freestanding => {
            let directories = (work_dir.as_path(), cache_dir.as_path());
            let (library, core) =
                core_object::freestanding(target.options, &places, directories, log)?;
            let directory = core_object::directory(&work_dir);
            authored.object = directory.join("authored.o");
            let mut rustc = library.rustc(&directory);
            let mut core_crate = std::ffi::OsString::from(format!("{}=", core_object::CRATE));
            core_crate.push(&core.metadata);
            rustc
                .arg(format!("--crate-name={}", authored.crate_name))
                .arg("--crate-type=lib")
                .arg(format!("--edition={}", core_object::EDITION))
                .arg("--extern")
                .arg(core_crate)
                .arg(core_library::emit("obj", &authored.object))
                .arg(&authored.source);
            log.run(&mut rustc)?;
            core.object
        }
        Way::RustForLinux(rustc) => {
            let directory = work_dir.join("module");
            let draft = PatchModule {
                name,
                code: crate::Code::Author(&authored),
                functions: 0,
                callbacks: 0,
                klp_objects: 0,
                states: &BTreeMap::new(),
                gate: None,
                replace: false,
                pin: false,
                template,
            };
            kbuild::lay_out(&directory, None, &draft)?;
            let object = kbuild::author_object(&directory, &authored.crate_name);
            let what = object.strip_prefix(&directory)?.display().to_string();
            kbuild::make_target(&directory, target, &what, Some(&rustc), jobs, log)?;
            // The directory is made anew before the module is.
            authored.object = work_dir.join("authored.o");
            fs::copy(&object, &authored.object)
                .with_context(|| format!("kbuild made no `{}`", object.display()))?;
            let core = work_dir.join("authored-core.o");
            fs::copy(kbuild::core_object(&directory), &core)?;
            core
        }
    };
    let read =
        |file: &Path| fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
    let data = read(&authored.object)?;
    let file = object::File::parse(&*data).context("rustc's output is not an object file")?;
    check(&file, &read(&core)?, &authored.source)?;
    let tables = intermediate::announced(&file)?;
    if tables.objects.is_empty() {
        let place = Place::file(authored.source.display().to_string());
        let hint = "say what is patched by `kpatch_core::livepatch!`";
        let message = "the livepatch patches nothing and has no callbacks";
        return Err(Refusal::new(Code::ModuleMalformed, place, message, hint).into());
    }
    Ok(Authored {
        outliving: tail_jumps::find(&file),
        functions: tables.functions,
        callbacks: tables.callbacks,
        objects: tables.objects,
        ..authored
    })
}

/// The gate: of Rust code it needs the core's alone.
fn check(file: &object::File<'_>, core: &[u8], source: &Path) -> Result<()> {
    let place = Place::file(source.display().to_string());
    let core = object::File::parse(core).context("the core is not an object file")?;
    let offered: BTreeSet<&str> = core
        .symbols()
        .filter(|symbol| symbol.is_global() && !symbol.is_undefined())
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    // `_R`: names of Rust (RFC 2603).
    let rust = core_object::needed(file).filter(|name| name.starts_with("_R"));
    let missing: BTreeSet<&str> = rust.filter(|name| !offered.contains(name)).collect();
    if !missing.is_empty() {
        return Err(Refusal::new(
            Code::CoreNotSelfContained,
            place,
            format!("the livepatch needs {}", core_object::listed(&missing)),
            "kernels without Rust have no panics and no formatting: use `get` instead of an index, \
             `checked_` or `wrapping_` arithmetic, `kpatch_core::info!` to print",
        )
        .into());
    }
    Ok(core_object::relocations(file, place)?)
}

//! The prepared object directory: kbuild's `prepare modules_prepare` with the shipped kernel's
//! configuration, and the compile database, kept in the cache. The directory names itself (in
//! `Makefile` and `.cmd` files), so it is built in place, under a lock, and counts only once its
//! completion mark is there. Bias: whatever could change the result is part of the key.
//!
//! Of a kernel that was built here nothing has to be made: see `built`.

mod built;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::config;
use shipped_kernel::config::Config;
use tool_run::ToolFailed;
use tool_run::ToolLog;

use crate::cache;
use crate::cache::Cache;
use crate::cache::ContentKey;
use crate::compile_database::CompileDatabase;
use crate::progress::Progress;
use crate::source_tree::SourceTree;
use crate::toolchain;
use crate::toolchain::Compiler;

/// What the target kernel brings along.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// Its configuration file.
    pub config: PathBuf,
    /// Its `Module.symvers`.
    pub symvers: PathBuf,
    /// Its release, as `uname -r` prints it.
    pub release: String,
}

/// A kernel that was built here.
#[derive(Debug, Clone)]
pub struct Built {
    /// The directory that it was built in; absolute, without symbolic links. Never written to.
    pub objects: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
}

/// What there is to compile parts of the kernel by.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The configuration of a kernel that was built elsewhere.
    Shipped(Shipped),
    /// The kernel's own build.
    Built(Built),
}

/// A prepared object directory.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The object directory.
    pub objects: PathBuf,
    /// Names everything that went into it.
    pub key: String,
    /// The compiler that built the kernel.
    pub compiler: Compiler,
    /// The base farm.
    pub farm: PathBuf,
    /// The source tree as the recorded commands name it, in which kbuild can be run.
    pub source: PathBuf,
    /// Where the object directory is in the source tree, if it is; a farm has it at the same place.
    inside: Option<PathBuf>,
    /// The file of the compile database.
    database: PathBuf,
    /// How kbuild is asked for more; of a kernel that was built there is all that it needs.
    making: Option<Making>,
}

#[derive(Debug, Clone)]
struct Making {
    release: String,
    dir: PathBuf,
}

/// What is needed to compile parts of the kernel `origin`: found, or made, in the cache.
///
/// # Errors
/// As [`prepare`]; for a build also what it lacks.
pub fn open(
    cache: &Cache,
    tree: &SourceTree,
    farm: &Path,
    origin: &Origin,
    jobs: usize,
    log: &ToolLog,
    progress: &Progress,
) -> Result<Prepared> {
    match origin {
        Origin::Shipped(shipped) => prepare(cache, tree, farm, shipped, jobs, log, progress),
        Origin::Built(built) => built::open(cache, tree, farm, built, progress),
    }
}

/// Prepares an object directory for `shipped`, or finds it in the cache.
///
/// # Errors
/// `CompilerMismatch`; `ConfigDrift` when a tool is missing or another; `PrepareFailed` when kbuild fails; I/O errors.
pub fn prepare(
    cache: &Cache,
    tree: &SourceTree,
    farm: &Path,
    shipped: &Shipped,
    jobs: usize,
    log: &ToolLog,
    progress: &Progress,
) -> Result<Prepared> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| {
            let place = Place::file(path.display().to_string());
            let hint = "install or unpack the kernel's headers package and name it: `--headers`";
            let message = format!("cannot be read: {error}");
            Refusals::from(Refusal::new(Code::TargetIncomplete, place, message, hint))
        })
    };
    let config =
        String::from_utf8(read(&shipped.config)?).context("the configuration is no text")?;
    let symvers = read(&shipped.symvers)?;
    let shipped_config = Config::parse(&shipped.config.display().to_string(), &config)?;
    let compiler = toolchain::find_compiler(&config, &shipped.config)?;
    let key = ContentKey::new("prepared objects 3")
        .part(&tree.key)
        .part(&config)
        .part(&symvers)
        .part(&shipped.release)
        .part(&compiler.version)
        .part(toolchain::tool_versions(&config))
        .name();
    let dir = cache.root().join("prepared").join(&key);
    fs::create_dir_all(cache.root().join("prepared"))?;
    let making = Making { release: shipped.release.clone(), dir: dir.clone() };
    let prepared = Prepared {
        objects: dir.join("objects"),
        key,
        compiler,
        farm: farm.to_owned(),
        source: farm.to_owned(),
        inside: None,
        database: dir.join("commands"),
        making: Some(making.clone()),
    };
    let _lock = prepared.lock()?;
    if making.is_complete() {
        return Ok(prepared);
    }
    cache.discard(&dir)?;
    fs::create_dir_all(&prepared.objects)?;
    fs::write(prepared.objects.join(".config"), &config)?;
    fs::write(prepared.objects.join("Module.symvers"), &symvers)?;
    progress.step("configure the source as shipped", || {
        prepared.run(prepared.make_with(&making, jobs).arg("olddefconfig"), log)
    })?;
    refuse_drift(&shipped_config, &prepared)?;
    progress.step("prepare the object directory", || {
        prepared.run(prepared.make_with(&making, jobs).args(["prepare", "modules_prepare"]), log)
    })?;
    refuse_drift(&shipped_config, &prepared)?;
    progress.step("read the compile commands", || {
        let output = dir.join("dry-run");
        let mut make = prepared.make_with(&making, jobs);
        // The distribution's key exists only where it builds its kernels; without one there is no
        // recipe for what certs/ and therefore vmlinux are made of. kbuild can make a default one.
        make.arg("CONFIG_MODULE_SIG_KEY=certs/signing_key.pem");
        CompileDatabase::create(make, farm, &output, &prepared.database, log)
    })?;
    cache.write_whole(&dir.join(COMPLETE), b"")?;
    Ok(prepared)
}

/// How many changed options a refusal lists.
const MOST_DRIFTS: usize = 12;

/// Refuses a prepared configuration that is not the shipped one: a tool that is missing drops
/// options in silence, and with them functions and members of structures.
fn refuse_drift(shipped: &Config, prepared: &Prepared) -> Result<(), Refusals> {
    let file = prepared.objects.join(".config");
    let changes = config::drift(shipped, &Config::read(&file)?);
    if changes.is_empty() {
        return Ok(());
    }
    let mut message = format!("{} options are not as the kernel was built with:", changes.len());
    for change in changes.iter().take(MOST_DRIFTS) {
        message.push_str(&format!("\n  {change}"));
    }
    if changes.len() > MOST_DRIFTS {
        message.push_str("\n  …");
    }
    let hint = match config::missing_package(&changes) {
        Some(package) => format!("install package `{package}` (and have it on PATH)"),
        None => "source and configuration must be of one version, and the tools that the kernel \
                 was built with must be on PATH"
            .to_owned(),
    };
    let place = Place::file(file.display().to_string());
    Err(Refusal::new(Code::ConfigDrift, place, message, hint).into())
}

/// Written last: without it a directory is what a killed run left.
const COMPLETE: &str = "complete";

/// There while kbuild makes a file in a complete directory: if it is found, one may be half made.
const CHANGING: &str = "changing";

impl Prepared {
    /// The compile database.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn database(&self) -> Result<CompileDatabase> {
        match self.making {
            Some(_) => CompileDatabase::load(&self.database),
            None => CompileDatabase::load_recorded(&self.objects, &self.source, &self.database),
        }
    }

    /// The file that says which files may include which.
    pub fn includes(&self) -> PathBuf {
        self.database.with_file_name(format!("{}.includes", self.key))
    }

    /// Where compilers run when the source is read from the farm at `farm`.
    pub fn directory(&self, farm: &Path) -> PathBuf {
        match &self.inside {
            Some(inside) => farm.join(inside),
            None => self.objects.clone(),
        }
    }

    /// `make` in this directory as it was prepared, without targets. `None` where the kernel was built here:
    /// nothing may be made there.
    pub fn make(&self, jobs: usize) -> Option<Command> {
        self.making.as_ref().map(|making| self.make_with(making, jobs))
    }

    fn make_with(&self, making: &Making, jobs: usize) -> Command {
        let mut make = toolchain::command("make");
        // Whole lines, also when several makes print at once: the dry run's output is read.
        make.arg(format!("-j{jobs}")).arg("--output-sync=line").arg("-C").arg(&self.farm);
        make.arg(format!("O={}", self.objects.display()));
        make.arg(format!("KERNELRELEASE={}", making.release));
        make.arg(format!("CC={}", self.compiler.command));
        make
    }

    /// Whether kbuild can be asked for what is missing.
    pub fn can_generate(&self) -> bool {
        self.making.is_some()
    }

    /// Makes kbuild build `object`, and with it the headers that it needs; the object itself is
    /// not kept. Returns whether kbuild succeeded; it is not asked if the kernel was built here.
    ///
    /// # Errors
    /// I/O errors.
    pub fn generate_for(&self, object: &str, jobs: usize, log: &ToolLog) -> Result<bool> {
        let Some(making) = &self.making else { return Ok(false) };
        let _lock = self.lock()?;
        let changing = making.dir.join(CHANGING);
        fs::write(&changing, "")?;
        let output = log.output(self.make_with(making, jobs).arg(object))?;
        let built = self.objects.join(object);
        if built.exists() {
            fs::remove_file(built)?;
        }
        fs::remove_file(&changing)?;
        Ok(output.status.success())
    }

    /// Keeps other runs from making files in this directory. Nothing is made where the kernel was built:
    /// there is no lock then.
    ///
    /// # Errors
    /// When the lock cannot be had.
    pub fn lock(&self) -> Result<Option<cache::Lock>> {
        let making = self.making.as_ref();
        making.map(|making| cache::lock(&making.dir.with_extension("lock"))).transpose()
    }

    /// Runs make; its failure is about the user's source or tools.
    fn run(&self, make: &mut Command, log: &ToolLog) -> Result<()> {
        let Err(error) = log.run(make) else { return Ok(()) };
        let Some(failed) = error.downcast_ref::<ToolFailed>() else { return Err(error) };
        let place = Place::file(self.objects.display().to_string());
        let hint = "the kernel's own build needs a tool or library: see the log; usually `flex`, \
                    `bison`, `bc`, `libelf-dev`, `libssl-dev`, `pahole` or `python3`";
        Err(Refusal::new(Code::PrepareFailed, place, failed.to_string(), hint).into())
    }
}

impl Making {
    fn is_complete(&self) -> bool {
        self.dir.join(COMPLETE).exists() && !self.dir.join(CHANGING).exists()
    }
}

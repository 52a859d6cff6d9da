//! Runs the tool under test.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;

use crate::case::Build;
use crate::case::Maker;
use crate::kernel::KernelSet;

/// The tool and what it works on.
#[derive(Debug, Clone)]
pub struct Target {
    /// The `kpatch-build` program.
    pub tool: PathBuf,
    /// The stock kernel.
    pub kernel: KernelSet,
    /// `-s`, when it is not the kernel set's own source.
    pub source: Option<PathBuf>,
    /// `--config`, when it is not left to the tool.
    pub config: Option<PathBuf>,
    /// `PATH` for the run, when it is not the caller's.
    pub path: Option<PathBuf>,
    /// The tool's cache, when it is not the usual one.
    pub cache: Option<PathBuf>,
}

impl Target {
    /// The tool and a kernel, with nothing out of the usual.
    pub fn of(tool: PathBuf, kernel: KernelSet) -> Self {
        Self { tool, kernel, source: None, config: None, path: None, cache: None }
    }
}

/// What a run of the tool left.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The module, if there is one.
    pub module: Option<PathBuf>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Ran {
    /// Everything that it printed, for messages.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The program to test: `KPATCH_BUILD_BIN`, else built now with `cargo build --release`.
///
/// # Errors
/// When it cannot be built.
pub fn tool() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KPATCH_BUILD_BIN") {
        let path = PathBuf::from(path);
        anyhow::ensure!(path.is_file(), "`KPATCH_BUILD_BIN={}`: no such file", path.display());
        return Ok(path.canonicalize()?);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "kpatch-build"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .context("cannot run `cargo`")?;
    anyhow::ensure!(
        output.status.success(),
        "`kpatch-build` does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The only artefact with an executable is the program; its path ends the field.
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter(|line| line.contains(r#""reason":"compiler-artifact""#))
        .filter_map(|line| line.split(r#""executable":""#).nth(1)?.split('"').next())
        .map(PathBuf::from)
        .find(|path| path.file_stem().is_some_and(|stem| stem == "kpatch-build"))
        .context("`cargo build -p kpatch-build` made no program")
}

/// The command for one build of the tool, with its output in `out`. Of a kernel that was built here its tree is
/// named and nothing else, as its builder would; unless the case has changed a part of it. Livepatches in Rust
/// are called as their files are.
pub fn command(target: &Target, build: &Build, name: &str, out: &Path) -> Command {
    let kernel = &target.kernel;
    let mut command = Command::new(&target.tool);
    if build.maker == Maker::Rust {
        command.arg("rust");
    }
    command.arg("-s").arg(target.source.as_ref().unwrap_or(&kernel.source));
    match &kernel.objects {
        Some(objects) if build.setup.is_none() => {
            if *objects != kernel.source {
                command.arg("-O").arg(objects);
            }
        }
        _ => {
            command.arg("-k").arg(&kernel.release);
            command.arg("--headers").arg(&kernel.headers);
            command.arg("--image").arg(&kernel.image);
            command.arg("--modules").arg(&kernel.modules);
        }
    }
    if let Some(config) = &target.config {
        command.arg("--config").arg(config);
    }
    command.arg("-o").arg(out);
    if build.maker == Maker::Patch {
        command.arg("-n").arg(name);
    }
    command.arg("--work-dir").arg(out.join("work"));
    command.args(&build.flags).args(&build.patches);
    if let Some(path) = &target.path {
        command.env("PATH", path);
    }
    if let Some(cache) = &target.cache {
        command.env("KPATCH_CACHE", cache);
    }
    command
}

/// Runs one build; the module is called `name`, everything lands in `out`.
///
/// # Errors
/// When the tool cannot be started, or left several modules. That it failed is no error here.
pub fn run(target: &Target, build: &Build, name: &str, out: &Path) -> Result<Ran> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    run_command(&mut command(target, build, name, out), out)
}

/// Runs the tool as `command` says, which leaves a module in `out`.
///
/// # Errors
/// As [`run`].
pub fn run_command(command: &mut Command, out: &Path) -> Result<Ran> {
    let started = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{}`", command.get_program().to_string_lossy()))?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        module: module_in(out)?,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The only `.ko` in `out`.
fn module_in(out: &Path) -> Result<Option<PathBuf>> {
    let mut modules = Vec::new();
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ko") {
            modules.push(path);
        }
    }
    anyhow::ensure!(modules.len() < 2, "several modules in `{}`", out.display());
    Ok(modules.pop())
}

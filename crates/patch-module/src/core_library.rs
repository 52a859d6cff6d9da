//! Compiles Rust's `core` for the inside of a kernel, once per compiler and set of flags.
//!
//! Only metadata is made: the in-kernel core uses what can be inlined and nothing else, which the
//! gate in [`crate::core_object`] proves. The cache holds a library whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::SystemTime;

use anyhow::Context;
use anyhow::Result;
use sha2::Digest;
use sha2::Sha256;
use tool_run::ToolLog;

use crate::options::KernelOptions;
use crate::rust_target;
use crate::toolchain;
use crate::toolchain::Rejected;
use crate::toolchain::Toolchain;

/// The directory of this phase in the cache.
const DIRECTORY: &str = "rust-core";
/// Directories that are being filled begin like this.
const UNFINISHED: &str = ".new-";
/// An unfinished directory this old belongs to a run that was killed: `core` takes half a minute.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Every crate is linked with it; the kernel offers its own arithmetic helpers and memory functions.
const COMPILER_BUILTINS: &str =
    "#![feature(compiler_builtins)]\n#![compiler_builtins]\n#![no_std]\n";

/// A compiler with `core` compiled for a kernel's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoreLibrary {
    /// The compiler that understands it.
    pub(crate) toolchain: Toolchain,
    /// The flags that it was compiled with; later crates must have the same.
    pub(crate) flags: Vec<String>,
    directory: PathBuf,
}

impl CoreLibrary {
    /// A rustc command for a crate that uses this `core`; writes into `directory` only.
    pub(crate) fn rustc(&self, directory: &Path) -> Command {
        let description = description_file(&self.directory);
        let mut command = compiler(&self.toolchain, &self.flags, &description, directory);
        command.arg("-L").arg(&self.directory);
        command
    }

    /// Where in the cache things are that were compiled with it.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// `core` by the best of `toolchains` that compiles it, from `cache` if it is there.
///
/// # Errors
/// When no compiler is left (the message says what to install), or the cache cannot be written.
pub(crate) fn prepare(
    toolchains: impl IntoIterator<Item = Result<Toolchain, Rejected>>,
    options: &KernelOptions,
    cache: &Path,
    log: &ToolLog,
) -> Result<CoreLibrary> {
    let cache = cache.join(DIRECTORY);
    fs::create_dir_all(&cache)
        .with_context(|| format!("cannot create cache `{}`", cache.display()))?;
    sweep(&cache);
    let mut rejected = Vec::new();
    for toolchain in toolchains {
        let toolchain = match toolchain {
            Ok(toolchain) => toolchain,
            Err(reason) => {
                rejected.push(reason);
                continue;
            }
        };
        let description = rust_target::description(toolchain.version, options);
        let flags = rust_target::flags(toolchain.version, options);
        let directory = cache.join(key(&toolchain, &description, &flags)?);
        if !directory.is_dir() {
            // Runs that start together wait for the first rather than doing the same work.
            let _lock = lock(&cache)?;
            if directory.is_dir() {
                return Ok(CoreLibrary { toolchain, flags, directory });
            }
            let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&cache)?;
            if let Err(error) = compile(&toolchain, &description, &flags, unfinished.path(), log) {
                let reason = format!("cannot compile its own `core`: {error:#}");
                rejected.push(Rejected { rustc: toolchain.rustc, reason });
                continue;
            }
            publish(unfinished, &directory)?;
        }
        return Ok(CoreLibrary { toolchain, flags, directory });
    }
    Err(none_left(&rejected))
}

/// Everything that the compiled library depends on, hashed into a name.
fn key(toolchain: &Toolchain, description: &str, flags: &[String]) -> Result<String> {
    // The distribution may rebuild a compiler under the same version.
    let stamp = |path: &Path| -> Result<String> {
        let file = fs::metadata(path).with_context(|| format!("no `{}`", path.display()))?;
        Ok(format!("{} {} {:?}", path.display(), file.len(), file.modified()?))
    };
    let parts = [
        toolchain.identity.clone(),
        stamp(&toolchain.rustc)?,
        stamp(&toolchain.core.join("src/lib.rs"))?,
        description.to_owned(),
        flags.join("\n"),
        COMPILER_BUILTINS.to_owned(),
    ];
    let (major, minor) = toolchain.version;
    Ok(format!("{major}.{minor}-{}", digest(&parts)))
}

/// 64 bits of a hash of `parts`, which are delimited: `ab`,`c` and `a`,`bc` differ.
pub(crate) fn digest(parts: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn compile(
    toolchain: &Toolchain,
    description: &str,
    flags: &[String],
    directory: &Path,
    log: &ToolLog,
) -> Result<()> {
    let description_file = description_file(directory);
    fs::write(&description_file, description)?;
    let rustc = || compiler(toolchain, flags, &description_file, directory);
    let builtins = directory.join("compiler_builtins.rs");
    fs::write(&builtins, COMPILER_BUILTINS)?;

    let library = directory.join("libcore.rmeta");
    let mut core = rustc();
    core.args(["--crate-name=core", "--crate-type=rlib", "--cap-lints=allow"])
        .arg(format!("--edition={}", edition(&toolchain.core)?))
        // Without it the metadata lacks the bodies of what is neither generic nor inline.
        .arg("-Zalways-encode-mir")
        .arg(emit("metadata", &library))
        .arg(toolchain.core.join("src/lib.rs"));
    log.run(&mut core)?;

    let mut empty = rustc();
    empty
        .args(["--crate-name=compiler_builtins", "--crate-type=rlib", "--cap-lints=allow"])
        .arg("--edition=2021")
        .arg(emit("metadata", &directory.join("libcompiler_builtins.rmeta")))
        .arg("--extern")
        .arg(with_path("core=", &library))
        .arg(&builtins);
    log.run(&mut empty)?;
    Ok(())
}

fn compiler(
    toolchain: &Toolchain,
    flags: &[String],
    description: &Path,
    directory: &Path,
) -> Command {
    let mut command = toolchain::command(&toolchain.rustc);
    command.args(flags).arg("--target").arg(description);
    // Without it rustc puts temporary files into the current directory, whatever else it is told.
    command.arg(with_path("--out-dir=", directory));
    command
}

/// Target descriptions are told apart by file name and content, so all crates must name the same.
fn description_file(directory: &Path) -> PathBuf {
    directory.join("target.json")
}

/// `--emit=KIND=PATH`, whatever is in the path.
pub(crate) fn emit(kind: &str, path: &Path) -> OsString {
    with_path(&format!("--emit={kind}="), path)
}

fn with_path(before: &str, path: &Path) -> OsString {
    let mut arg = OsString::from(before);
    arg.push(path);
    arg
}

/// The edition that the crate declares in its manifest.
fn edition(core: &Path) -> Result<String> {
    let manifest = core.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read `{}`", manifest.display()))?;
    let edition = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "edition").then(|| value.trim().trim_matches('"').to_owned())
    });
    edition.with_context(|| format!("`{}` names no edition", manifest.display()))
}

/// Gives a finished directory its name. Another run may have been faster: then its result is ours.
fn publish(unfinished: tempfile::TempDir, directory: &Path) -> Result<()> {
    match fs::rename(unfinished.path(), directory) {
        Ok(()) => {
            // It is no longer where it was: nothing to remove.
            let _ = unfinished.keep();
            Ok(())
        }
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot create cache `{}`", directory.display()))
        }
    }
}

/// Holds the directory's lock until the file is dropped; the kernel takes it from a process that dies.
fn lock(cache: &Path) -> Result<fs::File> {
    let path = cache.join("lock");
    let file = fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
    fs4::FileExt::lock(&file).with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(file)
}

/// Removes what killed runs left. Failing to do so harms nobody.
fn sweep(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let modified = entry.metadata().and_then(|data| data.modified());
        let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if unfinished && age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn none_left(rejected: &[Rejected]) -> anyhow::Error {
    let mut text = String::from("no rustc with the sources of its own `core` was found");
    for Rejected { rustc, reason } in rejected {
        text.push_str(&format!("\n  `{}`: {reason}", rustc.display()));
    }
    text.push_str(
        "\n  hint: install the Debian packages `rustc` and `rust-src` (Debian 12: `rustc-web` and \
         `rust-web-src`), or run `rustup component add rust-src`; KPATCH_RUSTC names a compiler",
    );
    anyhow::Error::msg(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::script;

    /// A toolchain whose rustc counts its runs and writes what it is asked to emit.
    fn toolchain(dir: &Path, works: bool) -> Toolchain {
        let core = dir.join("core");
        fs::create_dir_all(core.join("src")).unwrap();
        fs::write(core.join("src/lib.rs"), "").unwrap();
        fs::write(core.join("Cargo.toml"), "[package]\nedition = \"2024\"\n").unwrap();
        let rustc = dir.join("rustc");
        let end = if works { "" } else { "echo 'error: no such feature' >&2; exit 1" };
        let body = format!(
            "echo run >> '{}'\nfor a; do case $a in --emit=metadata=*) \
             echo x > \"${{a#--emit=metadata=}}\";; esac; done\n{end}",
            dir.join("runs").display()
        );
        script(&rustc, &body);
        Toolchain { rustc, version: (1, 96), identity: "test".into(), core }
    }

    fn runs(dir: &Path) -> usize {
        fs::read_to_string(dir.join("runs")).map_or(0, |text| text.lines().count())
    }

    #[test]
    fn compiled_once_per_set_of_options() {
        let dir = tempfile::tempdir().unwrap();
        let log = ToolLog::open(&dir.path().join("log")).unwrap();
        let cache = dir.path().join("cache");
        let toolchain = toolchain(dir.path(), true);
        let options = KernelOptions::default();
        let one = |options: &KernelOptions| {
            prepare([Ok(toolchain.clone())], options, &cache, &log).unwrap()
        };

        let first = one(&options);
        assert!(first.directory.join("libcore.rmeta").is_file());
        assert!(first.directory.join("libcompiler_builtins.rmeta").is_file());
        assert_eq!(runs(dir.path()), 2);
        assert_eq!(one(&options), first);
        assert_eq!(runs(dir.path()), 2, "compiled again");

        let other = one(&KernelOptions { ibt: true, ..options });
        assert_ne!(other.directory, first.directory);
        assert_eq!(runs(dir.path()), 4);

        let log = fs::read_to_string(log.path()).unwrap();
        let mut commands = log.lines().filter(|line| line.starts_with("$ "));
        assert!(commands.all(|line| line.contains("--out-dir=")), "litters the current directory");
    }

    #[test]
    fn runs_that_start_together_compile_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = ToolLog::open(&dir.path().join("log")).unwrap();
        let toolchain = toolchain(dir.path(), true);
        let options = KernelOptions::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let toolchains = [Ok(toolchain.clone())];
                scope.spawn(|| prepare(toolchains, &options, dir.path(), &log).unwrap());
            }
        });
        assert_eq!(runs(dir.path()), 2);
    }

    #[test]
    fn a_compiler_that_fails_is_named_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let log = ToolLog::open(&dir.path().join("log")).unwrap();
        let cache = dir.path().join("cache");
        let broken = toolchain(dir.path(), false);
        let options = KernelOptions::default();
        let error = prepare([Ok(broken)], &options, &cache, &log).unwrap_err().to_string();
        for part in ["no such feature", "`rust-src`", "`rust-web-src`", "KPATCH_RUSTC"] {
            assert!(error.contains(part), "{error}");
        }
        let left: Vec<_> = fs::read_dir(cache.join(DIRECTORY))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "lock")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn the_next_compiler_serves_when_the_first_fails() {
        let dir = tempfile::tempdir().unwrap();
        let log = ToolLog::open(&dir.path().join("log")).unwrap();
        let (bad, good) = (dir.path().join("bad"), dir.path().join("good"));
        let rejected = Rejected { rustc: dir.path().join("old"), reason: "too old".to_owned() };
        let toolchains = [Err(rejected), Ok(toolchain(&bad, false)), Ok(toolchain(&good, true))];
        let options = KernelOptions::default();
        let library = prepare(toolchains, &options, dir.path(), &log).unwrap();
        assert_eq!(library.toolchain.rustc, good.join("rustc"));
    }
}

//! Finds a rustc that comes with the sources of the very `core` it was built with.
//!
//! The kernel has its own machine conventions, so `core` must be compiled for it; a `core` of
//! another version does not compile. Bias: a compiler is used only if its sources are proven to be of
//! its version; the proof that nothing else is wrong is that `core` compiles.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tool_run::ToolLog;

use crate::rust_target::Version;

/// The oldest rustc that compiles the in-kernel core: that of the workspace.
const OLDEST: Version = (1, 85);

/// A compiler and the sources of its `core`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// Its version.
    pub(crate) version: Version,
    /// All that it says of itself (`rustc -vV`): version, commit, LLVM.
    pub(crate) identity: String,
    /// The crate directory of its `core`.
    pub(crate) core: PathBuf,
}

/// A compiler that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// A lower-case fragment.
    pub(crate) reason: String,
}

/// Where to look: what the environment says, made explicit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// `KPATCH_RUSTC`: the one compiler to use.
    pub(crate) chosen: Option<PathBuf>,
    /// The directories of `PATH`.
    pub(crate) path: Vec<PathBuf>,
    /// The distribution's compiler.
    pub(crate) system: PathBuf,
    /// rustup's directory of toolchains.
    pub(crate) rustup: PathBuf,
    /// Where the distribution puts sources: `/usr/src`.
    pub(crate) sources: PathBuf,
}

impl Places {
    /// The places that this process's environment names.
    pub(crate) fn from_env() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
        let rustup = variable("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
        Self {
            chosen: variable("KPATCH_RUSTC").map(PathBuf::from),
            path: variable("PATH").map(|p| std::env::split_paths(&p).collect()).unwrap_or_default(),
            system: "/usr/bin/rustc".into(),
            rustup: rustup.join("toolchains"),
            sources: "/usr/src".into(),
        }
    }

    /// Where a compiler is that is named as one names it to a shell: compilers run in a directory of
    /// their own.
    fn resolve(&self, named: &Path) -> PathBuf {
        if named.components().count() == 1 {
            let found = self.path.iter().map(|dir| dir.join(named)).find(|file| file.is_file());
            return found.unwrap_or_else(|| named.to_owned());
        }
        std::path::absolute(named).unwrap_or_else(|_| named.to_owned())
    }

    /// The compilers to try, best first.
    fn compilers(&self) -> Vec<PathBuf> {
        if let Some(chosen) = &self.chosen {
            return vec![self.resolve(chosen)];
        }
        let mut all = Vec::new();
        all.extend(self.path.iter().map(|dir| dir.join("rustc")).find(|file| file.is_file()));
        all.push(self.system.clone());
        let installed = fs::read_dir(&self.rustup).into_iter().flatten().flatten();
        // Nightlies last: their sources change under the same version.
        let mut installed: Vec<(bool, PathBuf)> = installed
            .map(|entry| entry.path().join("bin/rustc"))
            .map(|rustc| (rustc.to_string_lossy().contains("nightly"), rustc))
            .collect();
        installed.sort();
        all.extend(installed.into_iter().map(|(_, rustc)| rustc));
        all.retain(|rustc| rustc.is_file());
        all
    }
}

/// All compilers in `places`, best first: toolchains that have their sources, and why others have
/// not. Each is asked only when it is its turn: usually the first or second will do.
pub(crate) fn find(
    places: &Places,
    log: &ToolLog,
) -> impl Iterator<Item = Result<Toolchain, Rejected>> {
    let mut seen = BTreeSet::new();
    places.compilers().into_iter().filter_map(move |candidate| {
        match examine(&candidate, places, log) {
            Ok(toolchain) => {
                let new = seen.insert(toolchain.rustc.canonicalize().unwrap_or(candidate));
                new.then_some(Ok(toolchain))
            }
            Err(reason) => Some(Err(Rejected { rustc: candidate, reason })),
        }
    })
}

/// A command that runs `rustc` with everything that it may do, whatever its channel.
pub(crate) fn command(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    // A toolchain file near the current directory must not redirect rustup's proxy.
    command.current_dir("/").env("RUSTC_BOOTSTRAP", "1").env("LC_ALL", "C");
    command
}

fn examine(candidate: &Path, places: &Places, log: &ToolLog) -> Result<Toolchain, String> {
    let sysroot = PathBuf::from(ask(candidate, &["--print", "sysroot"], log)?.trim_end());
    // The compiler itself rather than rustup's proxy, which may become another one tomorrow.
    let itself = sysroot.join("bin/rustc");
    let rustc = if places.chosen.is_none() && itself.is_file() { itself } else { candidate.into() };
    let identity = ask(&rustc, &["-vV"], log)?;
    let release = identity.lines().find_map(|line| line.strip_prefix("release: "));
    let release = release.ok_or("does not tell its version")?.trim();
    let version = parse_version(release).ok_or_else(|| format!("has no version: `{release}`"))?;
    if version < OLDEST {
        return Err(format!("{release} is older than {}.{}", OLDEST.0, OLDEST.1));
    }
    let library = [
        sysroot.join("lib/rustlib/src/rust/library/core"),
        places.sources.join(format!("rustc-{release}/library/core")),
    ];
    let core = library.iter().find(|core| is_core_of(core, release)).ok_or_else(|| {
        let [first, second] = library.each_ref().map(|path| path.display());
        format!("{release} has no sources of its version in `{first}` or `{second}`")
    })?;
    Ok(Toolchain { rustc, version, identity, core: core.clone() })
}

/// The compiler in `places` that calls itself `text` (`rustc --version`): metadata of a kernel's Rust code
/// are understood by no other.
pub(crate) fn named(places: &Places, text: &str, log: &ToolLog) -> Option<PathBuf> {
    places.compilers().into_iter().find_map(|candidate| {
        let sysroot = PathBuf::from(ask(&candidate, &["--print", "sysroot"], log).ok()?.trim_end());
        let itself = sysroot.join("bin/rustc");
        let rustc = if itself.is_file() { itself } else { candidate };
        (ask(&rustc, &["--version"], log).ok()?.trim_end() == text).then_some(rustc)
    })
}

fn ask(rustc: &Path, args: &[&str], log: &ToolLog) -> Result<String, String> {
    let output = log.output(command(rustc).args(args)).map_err(|error| format!("{error:#}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or_default();
        return Err(format!("does not run ({}): {first}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| "prints what is not text".to_owned())
}

fn parse_version(release: &str) -> Option<Version> {
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether `core` holds the crate, and nothing beside it says that it is of another version. rustup's
/// component has no such file, but belongs to the toolchain in whose directory it is.
fn is_core_of(core: &Path, release: &str) -> bool {
    let said = core.join("../../src/version");
    let same = match fs::read_to_string(said) {
        Ok(text) => release.split('-').next() == Some(text.trim()),
        Err(_) => true,
    };
    same && core.join("src/lib.rs").is_file() && core.join("Cargo.toml").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::script;

    struct Fixture {
        dir: tempfile::TempDir,
        log: ToolLog,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let log = ToolLog::open(&dir.path().join("log")).unwrap();
            Self { dir, log }
        }

        fn path(&self, relative: &str) -> PathBuf {
            self.dir.path().join(relative)
        }

        /// A sysroot whose rustc only tells who it is.
        fn compiler(&self, sysroot: &str, release: &str) -> PathBuf {
            let root = self.path(sysroot);
            fs::create_dir_all(root.join("bin")).unwrap();
            let rustc = root.join("bin/rustc");
            let body = format!(
                "case $1 in --print) echo '{}';; *) echo 'release: {release}';; esac",
                root.display()
            );
            script(&rustc, &body);
            rustc
        }

        fn sources(&self, root: &str, said_version: Option<&str>) -> PathBuf {
            let core = self.path(root).join("library/core");
            fs::create_dir_all(core.join("src")).unwrap();
            fs::write(core.join("src/lib.rs"), "").unwrap();
            fs::write(core.join("Cargo.toml"), "").unwrap();
            if let Some(version) = said_version {
                fs::create_dir_all(self.path(root).join("src")).unwrap();
                fs::write(self.path(root).join("src/version"), format!("{version}\n")).unwrap();
            }
            core
        }

        fn places(&self) -> Places {
            Places {
                chosen: None,
                path: vec![self.path("none"), self.path("first/bin")],
                system: self.path("usr/bin/rustc"),
                rustup: self.path("rustup"),
                sources: self.path("usr/src"),
            }
        }
    }

    fn find_all(places: &Places, log: &ToolLog) -> (Vec<Toolchain>, Vec<Rejected>) {
        let (found, rejected): (Vec<_>, Vec<_>) = find(places, log).partition(Result::is_ok);
        let found = found.into_iter().filter_map(Result::ok);
        (found.collect(), rejected.into_iter().filter_map(Result::err).collect())
    }

    #[test]
    fn the_first_compiler_with_its_own_sources_is_best() {
        let fixture = Fixture::new();
        fixture.compiler("first", "1.95.0");
        let system = fixture.compiler("usr", "1.96.0");
        let core = fixture.sources("usr/src/rustc-1.96.0", Some("1.96.0"));
        fixture.compiler("rustup/nightly-x", "1.97.0-nightly");
        fixture.sources("rustup/nightly-x/lib/rustlib/src/rust", None);
        fixture.compiler("rustup/stable-x", "1.94.1");
        fixture.sources("rustup/stable-x/lib/rustlib/src/rust", None);

        let (found, rejected) = find_all(&fixture.places(), &fixture.log);
        let versions: Vec<Version> = found.iter().map(|toolchain| toolchain.version).collect();
        assert_eq!(versions, [(1, 96), (1, 94), (1, 97)]);
        assert_eq!((&found[0].rustc, &found[0].core), (&system, &core));
        assert_eq!(rejected.len(), 1);
        assert!(rejected[0].reason.starts_with("1.95.0 has no sources"), "{rejected:?}");
    }

    #[test]
    fn sources_of_another_version_do_not_count() {
        let fixture = Fixture::new();
        fixture.compiler("usr", "1.96.0");
        fixture.sources("usr/lib/rustlib/src/rust", Some("1.85.0"));
        let (found, rejected) = find_all(&fixture.places(), &fixture.log);
        assert_eq!(found, []);
        assert!(rejected[0].reason.contains("no sources of its version"), "{rejected:?}");
    }

    #[test]
    fn old_and_broken_compilers_are_named() {
        let fixture = Fixture::new();
        fixture.compiler("usr", "1.63.0");
        fixture.sources("usr/src/rustc-1.63.0", None);
        let broken = fixture.compiler("first", "1.96.0");
        script(&broken, "echo no toolchain >&2; exit 1");
        let (found, rejected) = find_all(&fixture.places(), &fixture.log);
        assert_eq!(found, []);
        let reasons: Vec<&str> = rejected.iter().map(|one| one.reason.as_str()).collect();
        assert!(reasons[0].contains("no toolchain"), "{reasons:?}");
        assert_eq!(reasons[1], "1.63.0 is older than 1.85");
    }

    #[test]
    fn a_compiler_is_known_by_what_it_calls_itself() {
        let fixture = Fixture::new();
        fixture.compiler("first", "1.95.0");
        let system = fixture.compiler("usr", "1.96.0");
        let named = |text| named(&fixture.places(), text, &fixture.log);
        assert_eq!(named("release: 1.96.0"), Some(system));
        assert_eq!(named("release: 1.96"), None);
    }

    #[test]
    fn a_chosen_compiler_is_the_only_one() {
        let fixture = Fixture::new();
        fixture.compiler("usr", "1.96.0");
        fixture.sources("usr/src/rustc-1.96.0", None);
        let chosen = fixture.compiler("mine", "1.95.0");
        let places = Places { chosen: Some(chosen.clone()), ..fixture.places() };
        let (found, rejected) = find_all(&places, &fixture.log);
        assert_eq!(found, []);
        assert_eq!(rejected[0].rustc, chosen);

        // By its name alone, as on a command line.
        let path = vec![fixture.path("none"), chosen.parent().unwrap().to_owned()];
        let places = Places { chosen: Some("rustc".into()), path, ..fixture.places() };
        assert_eq!(find_all(&places, &fixture.log).1[0].rustc, chosen);
    }
}

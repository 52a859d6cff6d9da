//! Reads the folders that describe tests: a case of the VM, a refusal, or a build alone.
//!
//! All three have a `case.conf` of `key = value` lines; a key may be repeated where it is a list of
//! sentences. Unknown keys are errors: a misspelt expectation would expect nothing.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::kernel::KNOWN;
use crate::kernel::Known;

/// Each case has its transitions, of which one may take a minute: of four steps two are one.
const SECONDS: usize = 60;
const STEPS: usize = 4;

/// What makes a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// `kpatch-build`, of patches.
    Patch,
    /// `kpatch-build rust`, of a livepatch in Rust.
    Rust,
    /// kbuild, of a C file: a module that livepatches are about.
    Kbuild,
}

/// A module that a case needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Name within the case: `main`, unless the case has several.
    pub name: String,
    /// What makes it.
    pub maker: Maker,
    /// Arguments besides those that every run has.
    pub flags: Vec<String>,
    /// The patches, in order; the source of what is no patch.
    pub patches: Vec<PathBuf>,
    /// Modules that are patched and that the kernel did not come with.
    pub targets: Vec<Build>,
    /// A change to the target or the environment, by name: see `setup.rs` of the tests.
    pub setup: Option<String>,
}

/// A CPU model to boot on, with what the kernel makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// Everything that the emulator has.
    Max,
    /// With `retbleed=stuff`: calls are counted, call padding is in use.
    Skylake,
    /// With `retbleed=unret`: returns go through the untrained return thunk.
    Epyc,
}

impl Cpu {
    /// All of them.
    pub const ALL: [Cpu; 3] = [Cpu::Max, Cpu::Skylake, Cpu::Epyc];

    /// As test names and `case.conf` say it.
    pub fn name(self) -> &'static str {
        match self {
            Cpu::Max => "max",
            Cpu::Skylake => "skylake",
            Cpu::Epyc => "epyc",
        }
    }
}

/// Whether a patch keeps a reference on its own module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// Nothing of it runs once it is disabled: `rmmod` must work.
    No,
    /// Some of it may: `rmmod` must be refused.
    Yes,
}

/// A case whose checks another one makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Along {
    /// Folder name.
    pub name: String,
    /// Its script.
    pub script: String,
}

/// A case of the VM.
#[derive(Debug, Clone)]
pub struct Case {
    /// Folder name; also the test's name.
    pub name: String,
    /// What it shows, one sentence.
    pub title: String,
    /// The guest's script: functions `before`, `loaded`, `disabled`, `unloaded`, or its own `run`.
    pub script: String,
    /// Runs of the tool.
    pub builds: Vec<Build>,
    /// Stock modules that the guest can load.
    pub modules: Vec<String>,
    /// C programs for the guest, compiled statically; a path that is not absolute is one of the kernel's source.
    pub helpers: Vec<PathBuf>,
    /// Other cases whose checks it makes, in this order.
    pub along: Vec<Along>,
    /// Programs of this machine that the guest gets in the place of busybox' own.
    pub programs: Vec<String>,
    /// Folders of the kernel's source whose files the guest gets.
    pub sources: Vec<PathBuf>,
    /// Steps that must be reported, in order.
    pub steps: Vec<String>,
    /// What the tool's output must contain.
    pub says: Vec<String>,
    /// Kernel warnings that must appear, once each, between the case's begin and end.
    pub warns: Vec<String>,
    /// CPU models to run on.
    pub cpus: Vec<Cpu>,
    /// Kernels to run on.
    pub kernels: Vec<&'static Known>,
    /// Whether the patch's module stays.
    pub pinned: Pinned,
    /// Whether it needs a boot of its own.
    pub alone: bool,
    /// How long it may take in an emulated guest on a busy machine, in seconds.
    pub seconds: u32,
    /// How often it does the same, if it is about that.
    pub rounds: Option<u32>,
}

/// What one run of the tool must end with: a refusal, or a module without a boot.
#[derive(Debug, Clone)]
pub struct ToolCase {
    /// Folder name.
    pub name: String,
    /// What it shows, one sentence.
    pub title: String,
    /// Patches and flags.
    pub build: Build,
    /// Exit code of the tool.
    pub exit: i32,
    /// The code that standard error must name (`KPB0101`).
    pub code: Option<String>,
    /// What standard error (a refusal) or all output (a build) must contain.
    pub says: Vec<String>,
    /// What it must not contain.
    pub silent: Vec<String>,
    /// Sections that the finished module must have.
    pub sections: Vec<String>,
}

/// The cases of the VM in `dir`, sorted by name.
///
/// # Errors
/// When a folder is not a case.
pub fn cases(dir: &Path) -> Result<Vec<Case>> {
    folders(dir)?.iter().map(|folder| case(folder)).collect()
}

/// The refusals or builds in `dir`, sorted by name.
///
/// # Errors
/// When a folder is not such a case.
pub fn tool_cases(dir: &Path) -> Result<Vec<ToolCase>> {
    folders(dir)?.iter().map(|folder| tool_case(folder)).collect()
}

fn case(folder: &Path) -> Result<Case> {
    let mut conf = Conf::read(folder)?;
    let mut builds: Vec<Build> = Vec::new();
    for (key, value) in conf.take_prefixed("build.") {
        builds.push(build(folder, &key, &value));
    }
    for (key, value) in conf.take_prefixed("target.") {
        let patches = vec![case_or_kernel(folder, &value)];
        builds.push(Build { maker: Maker::Kbuild, patches, ..build(folder, &key, "") });
    }
    for (key, value) in conf.take_prefixed("rust.") {
        let (targets, rest): (Vec<&str>, Vec<&str>) =
            value.split_whitespace().partition(|word| word.starts_with('@'));
        let targets = targets.into_iter().map(|word| {
            let found = builds.iter().find(|build| build.name == word[1..]);
            found.cloned().with_context(|| format!("no target `{word}`"))
        });
        let targets = targets.collect::<Result<_>>()?;
        let build = build(folder, &key, &rest.join(" "));
        builds.push(Build { maker: Maker::Rust, targets, ..build });
    }
    if builds.is_empty() {
        builds.push(build(folder, "main", "fix.patch"));
    }
    for (key, value) in conf.take_prefixed("setup.") {
        let build = builds.iter_mut().find(|build| build.name == key);
        build.with_context(|| format!("a set-up for no build: `{key}`"))?.setup = Some(value);
    }
    let cpus = match conf.words("cpus") {
        words if words.is_empty() => vec![Cpu::Max],
        words => words.iter().map(|word| cpu(word)).collect::<Result<_>>()?,
    };
    let kernels = match conf.words("kernels") {
        words if words.is_empty() => KNOWN.iter().filter(|known| known.by_default).collect(),
        words => words.iter().map(|word| kernels(word)).collect::<Result<Vec<_>>>()?.concat(),
    };
    let mut steps = conf.words("steps");
    if steps.is_empty() {
        steps = ["before", "loaded", "disabled", "unloaded"].map(str::to_owned).to_vec();
    }
    let mut modules = conf.words("modules");
    let mut along = Vec::new();
    for other in conf.words("along") {
        let other = case(&folder.join(other))?;
        anyhow::ensure!(other.helpers.is_empty(), "`{}` has a helper of its own", other.name);
        modules.extend(other.modules);
        along.push(Along { name: other.name, script: other.script });
    }
    let cycles = conf.number("cycles")?;
    let rounds = cycles.map(asked_instead_of).transpose()?;
    let seconds = conf.number("seconds")?.unwrap_or_else(|| seconds_for(steps.len()));
    let script = folder.join("guest.sh");
    let case = Case {
        name: name(folder),
        title: conf.one("title")?.context("no title")?,
        script: std::fs::read_to_string(&script)
            .with_context(|| format!("cannot read `{}`", script.display()))?,
        builds,
        modules,
        along,
        helpers: conf.words("helper").iter().map(|file| case_or_kernel(folder, file)).collect(),
        programs: conf.words("programs"),
        sources: conf.words("sources").into_iter().map(PathBuf::from).collect(),
        steps,
        says: conf.all("says"),
        warns: conf.all("warns"),
        cpus,
        kernels,
        pinned: if conf.flag("pinned")? { Pinned::Yes } else { Pinned::No },
        alone: conf.flag("alone")?,
        seconds: seconds * rounds.unwrap_or(1).div_ceil(cycles.unwrap_or(1).max(1)),
        rounds,
    };
    conf.done()?;
    check_patches(&case.builds)?;
    // Others of the boot would get them, too.
    let shares = !case.programs.is_empty() && !case.alone;
    anyhow::ensure!(!shares, "`{}`: `programs` without `alone = yes`", case.name);
    Ok(case)
}

/// How long a case of so many steps may take, if it does not say so.
fn seconds_for(steps: usize) -> u32 {
    u32::try_from(steps.div_ceil(STEPS) * SECONDS).unwrap_or(u32::MAX)
}

/// What `KPATCH_CYCLES` says, else `usual`.
fn asked_instead_of(usual: u32) -> Result<u32> {
    match std::env::var("KPATCH_CYCLES") {
        Ok(text) => text.parse().with_context(|| format!("`KPATCH_CYCLES={text}`: no number")),
        Err(_) => Ok(usual),
    }
}

fn tool_case(folder: &Path) -> Result<ToolCase> {
    let mut conf = Conf::read(folder)?;
    let (maker, sources) = match conf.one("rust")? {
        Some(rust) => (Maker::Rust, rust),
        None => (Maker::Patch, conf.one("build")?.unwrap_or_else(|| "fix.patch".to_owned())),
    };
    let exit = conf.one("exit")?.unwrap_or_else(|| "0".to_owned());
    let case = ToolCase {
        name: name(folder),
        title: conf.one("title")?.context("no title")?,
        build: Build { maker, setup: conf.one("setup")?, ..build(folder, "main", &sources) },
        exit: exit.parse().with_context(|| format!("exit code `{exit}`"))?,
        code: conf.one("code")?,
        says: conf.all("says"),
        silent: conf.all("silent"),
        sections: conf.words("sections"),
    };
    conf.done()?;
    check_patches(std::slice::from_ref(&case.build))?;
    Ok(case)
}

/// Words that begin with `-` are flags, the others patches in the folder.
fn build(folder: &Path, name: &str, value: &str) -> Build {
    let (flags, patches): (Vec<&str>, Vec<&str>) =
        value.split_whitespace().partition(|word| word.starts_with('-'));
    Build {
        name: name.to_owned(),
        maker: Maker::Patch,
        flags: flags.into_iter().map(str::to_owned).collect(),
        patches: patches.into_iter().map(|file| folder.join(file)).collect(),
        targets: Vec::new(),
        setup: None,
    }
}

/// A file of the case or, where the folder has none of that name, of the kernel's source.
fn case_or_kernel(folder: &Path, file: &str) -> PathBuf {
    let ours = folder.join(file);
    if ours.is_file() { ours } else { PathBuf::from(file) }
}

fn check_patches(builds: &[Build]) -> Result<()> {
    // The kernel's source has the others, where the folder has not.
    let ours = builds.iter().filter(|build| build.maker != Maker::Kbuild);
    for patch in ours.flat_map(|build| &build.patches) {
        anyhow::ensure!(patch.is_file(), "there is no `{}`", patch.display());
    }
    Ok(())
}

impl Build {
    /// The build as `kernel` needs it: of a patch that has a variant for it, `fix.6.1.patch` beside
    /// `fix.patch`, the variant is taken.
    pub fn on(&self, kernel: &Known) -> Build {
        let variant = |patch: &PathBuf| {
            let variant = patch.with_extension(format!("{}.patch", kernel.variant));
            if variant.is_file() { variant } else { patch.clone() }
        };
        let flags = kernel.flags.iter().filter(|_| self.maker != Maker::Kbuild);
        let flags = flags.map(|flag| (*flag).to_owned());
        Build {
            flags: self.flags.iter().cloned().chain(flags).collect(),
            patches: self.patches.iter().map(variant).collect(),
            ..self.clone()
        }
    }
}

fn kernels(word: &str) -> Result<Vec<&'static Known>> {
    let named: Vec<&Known> = KNOWN.iter().filter(|known| known.name == word).collect();
    anyhow::ensure!(!named.is_empty(), "no kernel `{word}`");
    Ok(named)
}

fn cpu(word: &str) -> Result<Cpu> {
    Cpu::ALL.into_iter().find(|cpu| cpu.name() == word).with_context(|| format!("no cpu `{word}`"))
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot list `{}`", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// A `case.conf`; what is read is taken out, so that `done` sees what nobody knows.
struct Conf {
    file: PathBuf,
    entries: Vec<(String, String)>,
}

impl Conf {
    fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("case.conf");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let mut entries = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .with_context(|| format!("`{}`: no `=` in `{line}`", file.display()))?;
            entries.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self { file, entries })
    }

    fn all(&mut self, key: &str) -> Vec<String> {
        let (found, rest) = std::mem::take(&mut self.entries).into_iter().partition(|e| e.0 == key);
        self.entries = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|entry| entry.1).collect()
    }

    fn one(&mut self, key: &str) -> Result<Option<String>> {
        let mut values = self.all(key);
        anyhow::ensure!(values.len() < 2, "`{}`: `{key}` twice", self.file.display());
        Ok(values.pop())
    }

    fn words(&mut self, key: &str) -> Vec<String> {
        self.all(key).iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).collect()
    }

    fn flag(&mut self, key: &str) -> Result<bool> {
        match self.one(key)?.as_deref() {
            None | Some("no") => Ok(false),
            Some("yes") => Ok(true),
            Some(other) => anyhow::bail!("`{}`: `{key} = {other}`", self.file.display()),
        }
    }

    fn number(&mut self, key: &str) -> Result<Option<u32>> {
        let value = self.one(key)?;
        let number = value.as_ref().map(|value| value.parse()).transpose();
        number.with_context(|| format!("`{}`: `{key}` is no number", self.file.display()))
    }

    fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (found, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|e| e.0.starts_with(prefix));
        self.entries = rest;
        found.into_iter().map(|(key, value)| (key[prefix.len()..].to_owned(), value)).collect()
    }

    fn done(&self) -> Result<()> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => anyhow::bail!("`{}`: unknown key `{key}`", self.file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(conf: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("case.conf"), conf).unwrap();
        std::fs::write(dir.path().join("guest.sh"), "before() { :; }\n").unwrap();
        std::fs::write(dir.path().join("1.patch"), "").unwrap();
        dir
    }

    #[test]
    fn reads_builds_with_flags_and_defaults() {
        let dir = folder(
            "title = t\nbuild.one = -R 1.patch\nsetup.one = release x\ncpus = max epyc\nwarns = a\nwarns=b",
        );
        let case = case(dir.path()).unwrap();
        assert_eq!(case.builds[0].name, "one");
        assert_eq!(case.builds[0].flags, ["-R"]);
        assert_eq!(case.builds[0].patches, [dir.path().join("1.patch")]);
        assert_eq!(case.builds[0].setup.as_deref(), Some("release x"));
        assert_eq!(case.builds[0].maker, Maker::Patch);
        assert_eq!(case.cpus, [Cpu::Max, Cpu::Epyc]);
        assert!(case.kernels.iter().all(|kernel| kernel.name != "plain-6.12"));
        assert_eq!(case.kernels.len(), KNOWN.len() - 1);
        assert_eq!(case.warns, ["a", "b"]);
        assert_eq!(case.steps, ["before", "loaded", "disabled", "unloaded"]);
        assert_eq!((case.seconds, case.rounds), (60, None));
    }

    #[test]
    fn a_case_takes_others_along() {
        let both = tempfile::tempdir().unwrap();
        let write = |name: &str, conf: &str| {
            let dir = both.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("case.conf"), conf).unwrap();
            std::fs::write(dir.join("guest.sh"), name).unwrap();
            std::fs::write(dir.join("fix.patch"), "").unwrap();
            dir
        };
        write("one", "title = t\nmodules = loop");
        let all = write("all", "title = t\nmodules = dummy\nalong = ../one");
        let case = case(&all).unwrap();
        assert_eq!(case.modules, ["dummy", "loop"]);
        assert_eq!(case.along, [Along { name: "one".to_owned(), script: "one".to_owned() }]);
        let none = write("none", "title = t\nalong = ../two");
        assert!(super::case(&none).is_err());
    }

    #[test]
    fn what_livepatches_are_about_comes_first() {
        let dir = folder("title = t\nrust.main = 1.patch @mod\ntarget.mod = samples/mod.c");
        let case = case(dir.path()).unwrap();
        let builds: Vec<_> = case.builds.iter().map(|build| (&*build.name, build.maker)).collect();
        assert_eq!(builds, [("mod", Maker::Kbuild), ("main", Maker::Rust)]);
        let on = |build: &Build| build.on(&KNOWN[3]).flags.concat();
        assert_eq!(on(&case.builds[0]), "");
        assert_eq!(on(&case.builds[1]), "--template=freestanding");
        assert_eq!(case.builds[1].targets, case.builds[..1]);
    }

    #[test]
    fn a_kernel_has_patches_of_its_own() {
        let dir =
            folder("title = t\nbuild.one = 1.patch\nkernels = stock-6.1 rust-6.12 plain-6.12");
        std::fs::write(dir.path().join("1.6.1.patch"), "").unwrap();
        let case = case(dir.path()).unwrap();
        let builds: Vec<_> = case.kernels.iter().map(|kernel| case.builds[0].on(kernel)).collect();
        let patches: Vec<_> = builds.iter().map(|build| build.patches[0].clone()).collect();
        assert_eq!(
            patches,
            ["1.6.1.patch", "1.patch", "1.patch", "1.patch"].map(|name| dir.path().join(name))
        );
        let flags: Vec<_> = builds.iter().map(|build| build.flags.concat()).collect();
        assert_eq!(flags, ["", "--template=rust-for-linux", "--template=freestanding", ""]);
    }

    #[test]
    fn a_misspelt_key_or_a_missing_patch_is_an_error() {
        let dir = folder("title = t\nbuild.one = 1.patch\nwarn = a");
        assert!(case(dir.path()).unwrap_err().to_string().contains("unknown key `warn`"));
        let dir = folder("title = t\nbuild.one = 1.patch\nsetup.two = release x");
        assert!(case(dir.path()).unwrap_err().to_string().contains("no build: `two`"));
        let dir = folder("title = t\nbuild.one = 1.patch\nkernels = stock-6.2");
        assert!(case(dir.path()).unwrap_err().to_string().contains("no kernel `stock-6.2`"));
        let dir = folder("title = t\nbuild.one = 1.patch\ncycles = many");
        assert!(case(dir.path()).unwrap_err().to_string().contains("`cycles` is no number"));
        let dir = folder("title = t\nbuild.one = 2.patch");
        assert!(case(dir.path()).unwrap_err().to_string().contains("2.patch"));
        let dir = folder("title = t\nbuild.one = 1.patch\nprograms = bash");
        assert!(case(dir.path()).unwrap_err().to_string().contains("alone = yes"));
    }

    /// What `docs/livepatching.md` says to run exists.
    #[test]
    fn the_tests_that_the_documentation_names_exist() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut known: Vec<String> = Vec::new();
        for (folder, prefix) in [("cases", ""), ("kpatch/cases", "kpatch-")] {
            for case in cases(&here.join(folder)).unwrap() {
                known.push(format!("{prefix}{}", case.name));
                known.extend(case.steps);
            }
        }
        let text = std::fs::read_to_string(here.join("../../docs/livepatching.md")).unwrap();
        let cells = text.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once("| "));
        let names = cells.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2));
        let plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let names: Vec<&str> = names.filter(plain).collect();
        assert!(names.len() > 40, "{names:?}");
        let missing: Vec<&str> =
            names.into_iter().filter(|name| !known.iter().any(|one| one == name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

//! Real changes of the stable series, on the kernel that they are for: each becomes a patch that
//! loads, settles, is disabled and leaves the log clean, or is refused for a known reason.
//!
//! They lie outside of the project (`../shared/patches`), and distributions drop old kernels from
//! their archives: where the changes are gone they are left out, always, and said so; where their kernel
//! is, they are taken out of the usual one, if it has them: code that goes back is as real a change.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::build;
use integration::build::Target;
use integration::case::Build;
use integration::case::Case;
use integration::case::Cpu;
use integration::case::Maker;
use integration::case::Pinned;
use integration::initramfs::GuestCase;
use integration::initramfs::Patch;
use integration::kernel;
use integration::kernel::KernelSet;
use integration::kernel::Known;
use integration::modules;
use kpatch_refusal::Code;

use crate::Test;
use crate::suite::Suite;
use crate::suite::here;
use crate::vm;

/// What the changes' description calls the version of the kernel that they are for.
const NAMED: &str = "linux-source-";

/// The changes that are tested where `KPATCH_FIXES` does not say `all`: of vmlinux and of modules, small and
/// large, split functions, static branches, new data; one that is also loaded before its module, and one that
/// must be refused.
const USUAL: [&str; 8] = [
    "drivers_net_netconsole",
    "drivers_nvme_host_fc",
    "fs_dax",
    "fs_fs-writeback",
    "fs_netfs_main",
    "net_ipv6_tcpv6_offload",
    "net_netfilter_ipvs_ip_vs_ftp",
    "net_rds_af_rds",
];

/// Changes that cannot be a patch (yet), and why.
const REFUSED: &[(&str, Code)] = &[
    // It changes `__init` code alone.
    ("fs_netfs_main", Code::InitChanged),
    // It changes initial values of structures.
    ("net_smc_smc_inet", Code::DataChanged),
];

/// Changes to modules whose patch is also loaded before the module.
const PATCH_FIRST: &[&str] = &["drivers_net_netconsole", "net_rds_af_rds"];

/// The usual course, with a look at what the kernel says of the patched object.
const SCRIPT: &str = "
before() { :; }
loaded() { is 1 cat /sys/kernel/livepatch/$(name_of main)/$OBJECT/patched; }
";

/// The module comes, goes and comes again while the patch is there.
const SCRIPT_PATCH_FIRST: &str = "
before() { [ ! -d /sys/module/$OBJECT ] || wrong \"$OBJECT is there already\"; }
is_patched() { is $1 cat /sys/kernel/livepatch/$(name_of main)/$OBJECT/patched; }
step_loaded() {
	klp_load main
	is_patched 0
	for round in 1 2; do
		stock $OBJECT
		is_patched 1
		works rmmod $OBJECT
		is_patched 0
	done
	stock $OBJECT
	is_patched 1
}
disabled() { works rmmod $OBJECT; }
unloaded() { :; }
";

fn test_name(change: &str) -> String {
    format!("fixes::{change}")
}

fn folder() -> PathBuf {
    here().join("../../../shared/patches")
}

/// The files of the changes that are to be tested, by name.
fn changes() -> Result<Vec<(String, PathBuf)>> {
    let mut changes = all_changes()?;
    if std::env::var("KPATCH_FIXES").is_ok_and(|value| value == "all") {
        return Ok(changes);
    }
    changes.retain(|(name, _)| USUAL.contains(&name.as_str()));
    Ok(changes)
}

fn all_changes() -> Result<Vec<(String, PathBuf)>> {
    let mut changes = Vec::new();
    let dir = folder();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("in `{}`", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            changes.push((name, path));
        }
    }
    changes.sort();
    Ok(changes)
}

/// Which way a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it was made.
    Forward,
    /// Taken out of a kernel that has it.
    Back,
}

/// The version of the kernel that the changes are for, as their description has it behind the name of the
/// source package: "`linux-source-6.12` 6.12.1-1".
fn version(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace().skip_while(|word| !word.contains(NAMED));
    let version = words.nth(1)?.trim_end_matches([',', ';', ')']);
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// The kernel on which the changes are tested: theirs, or else the usual one.
fn kernel_set() -> Result<(KernelSet, Way), String> {
    let cache = kernel::cache_dir();
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap_or_default();
    let theirs = version(&readme).map(|version| kernel::of_version(&cache, version));
    let found = match theirs.transpose().map_err(|error| format!("{error:#}"))?.flatten() {
        Some(set) => Some((set, Way::Forward)),
        None => {
            let usual = kernel::find(&cache).map_err(|error| format!("{error:#}"))?;
            usual.map(|set| (set, Way::Back))
        }
    };
    found.ok_or_else(|| format!("no kernel in `{}`", cache.display()))
}

/// Turns the change in `file` around, if it is in the source of `kernel`.
fn reversed(kernel: &KernelSet, file: &Path, dir: &Path) -> Result<Option<PathBuf>> {
    let text = std::fs::read_to_string(file)?;
    let path = text.lines().find_map(|line| line.strip_prefix("+++ b/"));
    let path = path.context("a change that names no file")?.split('\t').next().unwrap_or_default();
    let sides = [dir.join("a"), dir.join("b")];
    for side in &sides {
        let copy = side.join(path);
        std::fs::create_dir_all(copy.parent().unwrap_or(dir))?;
        std::fs::copy(kernel.source.join(path), copy)?;
    }
    let mut patch = Command::new("patch");
    patch.args(["-R", "-p1", "-s", "-f", "-d"]).arg(&sides[1]).arg("-i").arg(file);
    if !patch.output().context("cannot run `patch`")?.status.success() {
        return Ok(None);
    }
    let diff = Command::new("diff").args(["-u", "a", "b", "-r"]).current_dir(dir).output()?;
    let back = dir.join("back.patch");
    std::fs::write(&back, diff.stdout)?;
    Ok(Some(back))
}

pub(crate) fn tests() -> Result<Vec<Test>> {
    if !folder().is_dir() {
        let absent = Some(format!("no real changes in `{}`", folder().display()));
        let run = |_: &Suite| Ok(());
        let name = test_name("all");
        return Ok(vec![Test { name, boots: true, absent, run: Box::new(run) }]);
    }
    let absent = kernel_set().err();
    let test = |(change, _): (String, PathBuf)| {
        let name = test_name(&change);
        let key = name.clone();
        let run = move |suite: &Suite| suite.recorded(&key);
        Test { name, boots: true, absent: absent.clone(), run: Box::new(run) }
    };
    Ok(changes()?.into_iter().map(test).collect())
}

/// Builds the changes whose tests are among `names`, and boots what came out.
pub(crate) fn run_ahead(suite: &Suite, names: &[&str]) {
    let Ok(changes) = changes() else {
        eprintln!("\n*** SKIPPED: real changes: there is no `{}`\n", folder().display());
        return;
    };
    let chosen: Vec<_> =
        changes.iter().filter(|(change, _)| names.contains(&&*test_name(change))).collect();
    if chosen.is_empty() || suite.missing(true).is_some() {
        return;
    }
    let (kernel, way) = match kernel_set() {
        Ok(found) => found,
        Err(missing) => {
            eprintln!("\n*** SKIPPED: {} real changes: {missing}\n", chosen.len());
            return;
        }
    };
    eprintln!("==> builds of real changes on {}", kernel.release);
    if way == Way::Back {
        eprintln!("*** the kernel that they are for is not there: they are taken out of this one");
    }
    let outcomes = Mutex::new(Vec::new());
    let build = |change: &&(String, PathBuf)| {
        let (name, file) = *change;
        let outcome = build_change(suite, (&kernel, way), name, file);
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((name.clone(), outcome));
    };
    // The first fills the tool's cache; the others would only wait for it.
    let (first, others) = chosen.split_at(1);
    first.iter().for_each(build);
    vm::two_at_a_time(others, build);

    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut cases = Vec::new();
    let mut refused = 0;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(Outcome::Built(patch)) => cases.extend(patch.cases(&name)),
            Ok(Outcome::Refused) => {
                refused += 1;
                suite.record(&test_name(&name), Vec::new());
            }
            Ok(Outcome::NotThere) => {
                eprintln!("*** SKIPPED: {}: not in this kernel, or built upon", test_name(&name));
                suite.record(&test_name(&name), Vec::new());
            }
            Err(error) => suite.record(&test_name(&name), vec![format!("{error:#}")]),
        }
    }
    eprintln!("    {} changes: {refused} refused as they should be", chosen.len());
    boot(suite, &kernel, &cases);
}

/// What became of one change.
enum Outcome {
    /// A patch.
    Built(Built),
    /// A refusal, as it should be.
    Refused,
    /// It was to be taken out of a kernel that does not have it, or cannot do without any more.
    NotThere,
}

/// What one change became.
struct Built {
    bytes: Vec<u8>,
    pinned: Pinned,
    object: String,
}

fn build_change(
    suite: &Suite,
    (kernel, way): (&KernelSet, Way),
    name: &str,
    file: &Path,
) -> Result<Outcome> {
    let target = Target { kernel: kernel.clone(), ..suite.target()?.clone() };
    let dir = suite.folder(&format!("fixes/{name}"))?;
    let patch = match way {
        Way::Forward => Some(file.to_owned()),
        Way::Back => reversed(kernel, file, &dir)?,
    };
    let Some(patch) = patch else { return Ok(Outcome::NotThere) };
    let build = Build {
        name: "main".to_owned(),
        maker: Maker::Patch,
        flags: Vec::new(),
        patches: vec![patch],
        targets: Vec::new(),
        setup: None,
    };
    // The kernel takes 55 characters.
    let module: String = format!("fix_{name}").chars().take(50).collect();
    let ran = build::run(&target, &build, &module, &dir)?;
    let all = ran.all();
    if let Some((_, code)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        ensure!(
            ran.code == Some(3) && all.contains(&format!("{code}: ")),
            "exit code {:?}, not a refusal with {code} (if it is a patch now: strike it off the \
             list of refused ones):\n{all}",
            ran.code
        );
        return Ok(Outcome::Refused);
    }
    // What it did away with may be gone from headers since.
    let too_late = format!("{}: ", Code::DoesNotCompile);
    if way == Way::Back && ran.code == Some(3) && all.contains(&too_late) {
        return Ok(Outcome::NotThere);
    }
    ensure!(ran.code == Some(0), "exit code {:?}:\n{all}", ran.code);
    let bytes = std::fs::read(ran.module.context("the tool left no module")?)?;
    let objects = modules::patched_objects(&bytes)?;
    ensure!(objects.len() == 1, "one file is in one object, not in {objects:?}");
    let object = objects.into_iter().next().context("no object")?;
    let pinned = if all.contains("\npinned: ") { Pinned::Yes } else { Pinned::No };
    Ok(Outcome::Built(Built { bytes, pinned, object }))
}

/// A case of a boot: the change that it tests, the case, and what it takes into the guest.
type Prepared = (String, Case, Vec<u8>);

impl Built {
    fn cases(&self, change: &str) -> Vec<Prepared> {
        let stock = self.object != "vmlinux";
        let setup = if stock { "setup() { stock $OBJECT; }\n" } else { "" };
        let mut scripts = vec![(change.to_owned(), format!("{setup}{SCRIPT}"))];
        if stock && PATCH_FIRST.contains(&change) {
            // Before the other, which leaves the module loaded.
            scripts.insert(0, (format!("{change}-patch-first"), SCRIPT_PATCH_FIRST.to_owned()));
        }
        let case = |(name, script): (String, String)| {
            let case = Case {
                name,
                title: "a real change".to_owned(),
                script: format!("OBJECT={}\n{script}", self.object),
                builds: Vec::new(),
                modules: stock.then(|| self.object.clone()).into_iter().collect(),
                helpers: Vec::new(),
                along: Vec::new(),
                programs: Vec::new(),
                sources: Vec::new(),
                steps: ["before", "loaded", "disabled", "unloaded"].map(str::to_owned).to_vec(),
                says: Vec::new(),
                warns: Vec::new(),
                cpus: vec![Cpu::Max],
                kernels: vec![Known::USUAL],
                pinned: self.pinned,
                alone: false,
                seconds: 60,
                rounds: None,
            };
            (change.to_owned(), case, self.bytes.clone())
        };
        scripts.into_iter().map(case).collect()
    }
}

/// Two boots, side by side, with half of the cases each.
fn boot(suite: &Suite, kernel: &KernelSet, cases: &[Prepared]) {
    eprintln!("==> boots of real changes");
    // All cases of one change stay in one boot, in their order.
    let changes: BTreeSet<&str> = cases.iter().map(|(change, ..)| change.as_str()).collect();
    let half = changes.iter().nth(changes.len() / 2).copied().unwrap_or_default();
    let (second, first): (Vec<&Prepared>, Vec<&Prepared>) =
        cases.iter().partition(|(change, ..)| change.as_str() >= half);
    let failures = Mutex::new(Vec::new());
    vm::two_at_a_time(&[first, second], |cases| {
        let ready = cases.iter().map(|(_, case, bytes)| {
            let patch = Patch { build: "main".to_owned(), bytes: bytes.clone() };
            GuestCase { case, patches: vec![patch] }
        });
        vm::boot_ready(suite, kernel, Cpu::Max, ready.collect(), |case, failed| {
            let failed = failed.iter().map(|text| format!("{}: {text}", case.name));
            let change = cases.iter().find(|(_, one, _)| one.name == case.name);
            let change = change.map(|(change, ..)| change.clone()).unwrap_or_default();
            let mut all = failures.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((change, failed.collect::<Vec<_>>()));
        });
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    for change in changes {
        let of_change = failures.iter().filter(|(name, _)| name == change);
        suite.record(&test_name(change), of_change.flat_map(|(_, all)| all.clone()).collect());
    }
}

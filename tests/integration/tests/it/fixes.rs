//! Real changes of the stable series, on the kernel that they are for: each becomes a patch that
//! loads, settles, is disabled and leaves the log clean, or is refused for a known reason.
//!
//! They lie outside of the project (`../shared/patches`), and distributions drop old kernels from
//! their archives: where either is gone they are left out, always, and said so.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
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

/// The kernel that the changes are for.
const VERSION: &str = "6.12.107-";

/// Changes that cannot be a patch (yet), and why.
const REFUSED: &[(&str, Code)] = &[
    // It changes `__init` code alone.
    ("fs_netfs_main", Code::InitChanged),
    // The changed function is `inline`, which the kernel makes `notrace`, not inlined, and called from
    // other files.
    ("security_selinux_avc", Code::NoFtraceEntry),
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

/// The changes' files, by name.
fn changes() -> Result<Vec<(String, PathBuf)>> {
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

fn kernel_set() -> Result<KernelSet, String> {
    let cache = kernel::cache_dir();
    match kernel::of_version(&cache, VERSION) {
        Ok(found) => found.ok_or_else(|| {
            format!("no kernel {VERSION} in `{}`, for which they are", cache.display())
        }),
        Err(error) => Err(format!("{error:#}")),
    }
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
    let kernel = match kernel_set() {
        Ok(kernel) => kernel,
        Err(missing) => {
            eprintln!("\n*** SKIPPED: {} real changes: {missing}\n", chosen.len());
            return;
        }
    };
    eprintln!("==> builds of real changes");
    let outcomes = Mutex::new(Vec::new());
    let build = |change: &&(String, PathBuf)| {
        let (name, file) = *change;
        let outcome = build_change(suite, &kernel, name, file);
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
            Ok(Some(patch)) => cases.extend(patch.cases(&name)),
            Ok(None) => {
                refused += 1;
                suite.record(&test_name(&name), Vec::new());
            }
            Err(error) => suite.record(&test_name(&name), vec![format!("{error:#}")]),
        }
    }
    eprintln!("    {} changes: {refused} refused as they should be", chosen.len());
    boot(suite, &kernel, &cases);
}

/// What one change became.
struct Built {
    bytes: Vec<u8>,
    pinned: Pinned,
    object: String,
}

/// Builds a change; `None` when it was refused as expected.
fn build_change(
    suite: &Suite,
    kernel: &KernelSet,
    name: &str,
    file: &Path,
) -> Result<Option<Built>> {
    let target = Target { kernel: kernel.clone(), ..suite.target()?.clone() };
    let build = Build {
        name: "main".to_owned(),
        maker: Maker::Patch,
        targets: Vec::new(),
        flags: Vec::new(),
        patches: vec![file.to_owned()],
        setup: None,
    };
    // The kernel takes 55 characters.
    let module: String = format!("fix_{name}").chars().take(50).collect();
    let ran = build::run(&target, &build, &module, &suite.folder(&format!("fixes/{name}"))?)?;
    let all = ran.all();
    if let Some((_, code)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        ensure!(
            ran.code == Some(3) && all.contains(&format!("{code}: ")),
            "exit code {:?}, not a refusal with {code} (if it is a patch now: strike it off the \
             list of refused ones):\n{all}",
            ran.code
        );
        return Ok(None);
    }
    ensure!(ran.code == Some(0), "exit code {:?}:\n{all}", ran.code);
    let bytes = std::fs::read(ran.module.context("the tool left no module")?)?;
    let objects = modules::patched_objects(&bytes)?;
    ensure!(objects.len() == 1, "one file is in one object, not in {objects:?}");
    let object = objects.into_iter().next().context("no object")?;
    let pinned = if all.contains("\npinned: ") { Pinned::Yes } else { Pinned::No };
    Ok(Some(Built { bytes, pinned, object }))
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
                helper: None,
                programs: Vec::new(),
                sources: Vec::new(),
                steps: ["before", "loaded", "disabled", "unloaded"].map(str::to_owned).to_vec(),
                says: Vec::new(),
                warns: Vec::new(),
                cpus: vec![Cpu::Max],
                kernels: vec![Known::USUAL],
                pinned: self.pinned,
                alone: false,
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

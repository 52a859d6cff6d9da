//! Kernels that were built here. The tool is told the tree and the patch and nothing else; the patch must
//! work on the kernel that the tree holds; and the tree is what it was, to the last time stamp.
//!
//! Such kernels lie in the cache: `scripts/build-kernel.sh` makes them. Where one is not there and need not
//! be its tests are left out, and said so.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::build;
use integration::build::Ran;
use integration::built;
use integration::built::BuiltTree;
use integration::case::Build;
use integration::case::Case;
use integration::case::Cpu;
use integration::initramfs::GuestCase;
use integration::initramfs::Patch;
use integration::kernel;
use integration::tree;

use crate::Test;
use crate::suite;
use crate::suite::Suite;
use crate::tool::failed;
use crate::traps;
use crate::two_modules;
use crate::vm;

/// The kernels, by what their tests are called: how each was built, and its name in the cache.
const TREES: &[(&str, &str)] = &[("beside", "rust-6.12"), (IN_PLACE, "plain-6.12")];

const IN_PLACE: &str = "in-place";

/// Cases of `cases/` that are built for each and booted on it: new data in the kernel, and a module.
const CASES: &[&str] = &["cmdline", "meminfo", "module"];

/// A run of the tool by itself, with a folder for what it leaves.
type Check = fn(&Suite, &BuiltTree, &Path) -> Result<()>;

/// What such runs must come to.
const RUNS: &[(&str, Check)] = &[
    ("read-only", read_only),
    ("source-edited-after-the-build", source_edited),
    ("configuration-edited-after-the-build", configuration_edited),
    (OTHER_SOURCE, other_source),
    (TWO_MODULES, two_modules::check),
];

const OTHER_SOURCE: &str = "source-of-another-build";

const TWO_MODULES: &str = "object-of-two-modules";

/// What comes of all builds together.
const UNTOUCHED: &str = "untouched";

fn test_name(how: &str, what: &str) -> String {
    format!("tree::{how}::{what}")
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (how, kernel) in TREES.iter().copied() {
        let absent = find(kernel).err().filter(|_| !suite::is_required(kernel));
        for what in CASES.iter().chain(&[UNTOUCHED]) {
            let (name, key) = (test_name(how, what), test_name(how, what));
            let run = move |suite: &Suite| suite.recorded(&key);
            tests.push(Test { name, boots: true, absent: absent.clone(), run: Box::new(run) });
        }
        for (what, check) in RUNS {
            // In place there is no other source that could be named; the other kernel has no such object.
            let is_for = match *what {
                OTHER_SOURCE => how != IN_PLACE,
                TWO_MODULES => how == IN_PLACE,
                _ => true,
            };
            if !is_for {
                continue;
            }
            let name = test_name(how, what);
            let folder = name.clone();
            let run = move |suite: &Suite| -> Result<()> {
                let tree = find(kernel).map_err(anyhow::Error::msg)?;
                check(suite, &tree, &suite.folder(&folder)?.canonicalize()?)
            };
            let run = Box::new(move |suite: &Suite| run(suite).map_err(failed));
            tests.push(Test { name, boots: false, absent: absent.clone(), run });
        }
    }
    tests
}

/// A built kernel of the cache, or why there is none.
fn find(kernel: &str) -> Result<BuiltTree, String> {
    let cache = kernel::cache_dir();
    match built::find(&cache, kernel) {
        Ok(found) => found.ok_or_else(|| {
            let place = cache.join("kernels").join(kernel);
            format!("no built kernel `{}` (scripts/build-kernel.sh {kernel})", place.display())
        }),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Builds and boots what the tests called `names` need.
pub(crate) fn run_ahead(suite: &Suite, names: &[&str]) {
    for (how, kernel) in TREES {
        let is_chosen = |what: &str| names.contains(&test_name(how, what).as_str());
        let chosen: Vec<&str> = CASES.iter().copied().filter(|case| is_chosen(case)).collect();
        if chosen.is_empty() && !is_chosen(UNTOUCHED) || suite.missing(true).is_some() {
            continue;
        }
        match find(kernel) {
            Err(missing) => eprintln!("\n*** SKIPPED: tree::{how}: {missing}\n"),
            Ok(tree) => {
                if let Err(error) = build_and_boot(suite, how, &tree, &chosen) {
                    for what in CASES.iter().chain(&[UNTOUCHED]) {
                        suite.record(&test_name(how, what), vec![format!("{error:#}")]);
                    }
                }
            }
        }
    }
}

/// Builds the cases `chosen`, or one if there are none, and boots them.
fn build_and_boot(suite: &Suite, how: &str, tree: &BuiltTree, chosen: &[&str]) -> Result<()> {
    eprintln!("==> builds for a kernel that was built {how}");
    let cases: Vec<Case> =
        vm::all_cases()?.into_iter().filter(|case| CASES.contains(&&*case.name)).collect();
    ensure!(cases.len() == CASES.len(), "`cases/` has not all of {CASES:?}");
    let before = fingerprint(tree)?;
    let mut ready = Vec::new();
    for case in &cases {
        let is_needed = chosen.contains(&&*case.name) || chosen.is_empty() && ready.is_empty();
        if !is_needed {
            continue;
        }
        match patch(suite, how, tree, case) {
            Ok(patch) => ready.push(GuestCase { case, patches: vec![patch] }),
            Err(error) => suite.record(&test_name(how, &case.name), vec![format!("{error:#}")]),
        }
    }
    let after = fingerprint(tree)?;
    let changed = tree::differences(&before, &after);
    let changed = changed.iter().map(|path| format!("changed: `{}`", path.display()));
    suite.record(&test_name(how, UNTOUCHED), changed.collect());
    vm::boot_ready(suite, &tree.kernel, Cpu::Max, ready, |case, failures| {
        suite.record(&test_name(how, &case.name), failures);
    });
    Ok(())
}

/// Source and objects, as they are.
fn fingerprint(tree: &BuiltTree) -> Result<Vec<tree::Entry>> {
    let mut entries = tree::fingerprint(&tree.kernel.source)?;
    if !tree.is_in_place() {
        entries.extend(tree::fingerprint(&tree.objects)?);
        entries.sort();
    }
    Ok(entries)
}

fn patch(suite: &Suite, how: &str, tree: &BuiltTree, case: &Case) -> Result<Patch> {
    let [build] = case.builds.as_slice() else { anyhow::bail!("a case of several builds") };
    let out = suite.folder(&format!("tree/{how}/{}", case.name))?.canonicalize()?;
    let mut command = built::command(&suite.target()?.tool, tree, build, &out)?;
    let ran = build::run_command(&mut command, &out)?;
    eprintln!("    built {}: exit code {:?}, {:.1} s", case.name, ran.code, ran.seconds);
    ensure!(ran.code == Some(0), "exit code {:?}:\n{}", ran.code, ran.all());
    for text in &case.says {
        ensure!(ran.all().contains(text), "the tool does not say `{text}`:\n{}", ran.all());
    }
    let module = ran.module.context("no module")?;
    Ok(Patch { build: build.name.clone(), bytes: std::fs::read(module)? })
}

/// Runs the tool in a mount namespace in which `script` was run before, with the source tree as `$1`, the
/// objects as `$2` and `out` as `$3`. `None`, and said so, where there are no namespaces.
fn run_in_namespace(
    suite: &Suite,
    tree: &BuiltTree,
    out: &Path,
    script: &str,
    build: &Build,
) -> Result<Option<Ran>> {
    let Some(mut command) = traps::namespace() else {
        eprintln!("*** SKIPPED: `{}`: no mount namespace to be had here", out.display());
        ensure!(!suite::must_run(), "no mount namespace to be had here");
        return Ok(None);
    };
    let inner = built::command(&suite.target()?.tool, tree, build, out)?;
    let script = format!("set -e\nsource=$1 objects=$2 out=$3\nshift 3\n{script}\nexec \"$@\"\n");
    command.arg(script).arg("sh").args([&tree.kernel.source, &tree.objects]).arg(out);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(out);
    build::run_command(&mut command, out).map(Some)
}

/// Source and objects cannot be written to by anybody: the module is the same as ever.
fn read_only(suite: &Suite, tree: &BuiltTree, out: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
for dir in "$source" "$objects"; do
	mount --bind "$dir" "$dir"
	mount -o remount,ro,bind "$dir"
	if touch "$dir/Makefile" 2>/dev/null; then
		echo "the mount is not read-only" >&2
		exit 99
	fi
done"#;
    let Some(ran) = run_in_namespace(suite, tree, out, SCRIPT, &traps::small())? else {
        return Ok(());
    };
    ensure!(ran.code == Some(0), "exit code {:?}:\n{}", ran.code, ran.all());
    let there = std::fs::read(ran.module.context("no module")?)?;
    let usual = out.join("usual");
    std::fs::create_dir_all(&usual)?;
    let mut command = built::command(&suite.target()?.tool, tree, &traps::small(), &usual)?;
    let ran = build::run_command(&mut command, &usual)?;
    let usual = std::fs::read(ran.module.context("no module")?)?;
    ensure!(there == usual, "the module is not the one from a writable tree");
    Ok(())
}

/// A function is edited after the build, and then patched: what runs is not what the source says.
fn source_edited(suite: &Suite, tree: &BuiltTree, out: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
file=fs/proc/cmdline.c
sed "s/seq_putc(m, '\\\\n');/seq_puts(m, \"edited\\\\n\");/" "$source/$file" >"$out/edited.c"
if cmp -s "$source/$file" "$out/edited.c"; then exit 99; fi
mount --bind "$out/edited.c" "$source/$file"
"#;
    // The patch that is made here fits the edited file.
    let before = "\tseq_puts(m, saved_command_line);\n";
    let patch = format!(
        "--- a/fs/proc/cmdline.c\n+++ b/fs/proc/cmdline.c\n@@ -10,2 +10,3 @@\n {before}+{}\
         \tseq_puts(m, \"edited\\n\");\n",
        "\tseq_puts(m, \" patched\");\n "
    );
    let file = out.join("edited.patch");
    std::fs::write(&file, patch)?;
    let said = refused_in_namespace(suite, tree, out, SCRIPT, &file, "KPB0211")?;
    let named =
        |said: String| said.contains("cmdline_proc_show") && said.contains("likely the source");
    ensure!(said.is_none_or(named), "neither the function nor the reason is named");
    Ok(())
}

/// An option is changed after the build: the objects were compiled with another one.
fn configuration_edited(suite: &Suite, tree: &BuiltTree, out: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
sed 's/^CONFIG_PROC_SYSCTL=y/# CONFIG_PROC_SYSCTL is not set/' "$objects/.config" >"$out/config"
if cmp -s "$objects/.config" "$out/config"; then exit 99; fi
mount --bind "$out/config" "$objects/.config"
"#;
    let patch = &traps::small().patches[0];
    let said = refused_in_namespace(suite, tree, out, SCRIPT, patch, "KPB0203")?;
    ensure!(said.is_none_or(|said| said.contains("CONFIG_PROC_SYSCTL")), "the option is not named");
    Ok(())
}

/// What the tool says of `patch` in a namespace; it must be a refusal with `code`.
fn refused_in_namespace(
    suite: &Suite,
    tree: &BuiltTree,
    out: &Path,
    script: &str,
    patch: &Path,
    code: &str,
) -> Result<Option<String>> {
    let build = Build { patches: vec![patch.to_owned()], ..traps::small() };
    let Some(ran) = run_in_namespace(suite, tree, out, script, &build)? else { return Ok(None) };
    refused(&ran, code)?;
    Ok(Some(ran.all()))
}

/// A tree that is the same, but is not the one that the kernel was built from.
fn other_source(suite: &Suite, tree: &BuiltTree, out: &Path) -> Result<()> {
    let source: PathBuf = crate::setup::link_copy(&tree.kernel.source, &out.join("source"))?;
    let mut other = tree.clone();
    other.kernel.source = source;
    let mut command = built::command(&suite.target()?.tool, &other, &traps::small(), out)?;
    let ran = build::run_command(&mut command, out)?;
    refused(&ran, "KPB0201")?;
    ensure!(ran.all().contains("was not built from"), "{}", ran.all());
    Ok(())
}

pub(crate) fn refused(ran: &Ran, code: &str) -> Result<()> {
    ensure!(ran.code == Some(3), "exit code {:?}:\n{}", ran.code, ran.all());
    ensure!(ran.stderr.contains(&format!("{code}: ")), "it is not {code}:\n{}", ran.all());
    ensure!(ran.module.is_none(), "there is a module");
    Ok(())
}

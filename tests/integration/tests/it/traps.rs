//! What must not happen to the user's source tree, and what must not come out of it: nothing is
//! ever written there, not by a run that is killed either; it may be read-only; a configuration in
//! it must have no effect.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::build;
use integration::build::Target;
use integration::case::Build;
use integration::case::Maker;
use integration::tree;

use crate::Test;
use crate::setup;
use crate::suite::Suite;
use crate::suite::here;
use crate::tool::failed;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("source-untouched-even-by-a-killed-run", killed),
        test("source-read-only", read_only),
        test("source-with-a-configuration", configured),
    ]
}

fn test(name: &str, run: fn(&Suite) -> Result<()>) -> Test {
    Test {
        name: format!("trap::{name}"),
        boots: false,
        absent: None,
        run: Box::new(move |suite| run(suite).map_err(failed)),
    }
}

/// The small patch of the demonstration.
pub(crate) fn small() -> Build {
    Build {
        name: "main".to_owned(),
        maker: Maker::Patch,
        targets: Vec::new(),
        flags: Vec::new(),
        patches: vec![here().join("../../examples/cmdline.patch")],
        setup: None,
    }
}

/// Runs the build and insists on a module; returns its bytes.
fn module(target: &Target, out: &Path) -> Result<Vec<u8>> {
    let ran = build::run(target, &small(), "kt_trap", out)?;
    ensure!(ran.code == Some(0), "exit code {:?}:\n{}", ran.code, ran.all());
    Ok(std::fs::read(ran.module.context("no module")?)?)
}

/// From an empty cache, killed with all its children at several moments, each time a little further
/// on; then left alone. The tree is the same to the last byte and time stamp, and what the killed
/// runs left in the cache does no harm: the module is the one that an undisturbed run makes.
fn killed(suite: &Suite) -> Result<()> {
    let dir = suite.folder("trap/killed")?;
    let plain = suite.target()?;
    let source = plain.kernel.source.canonicalize()?;
    let before = tree::fingerprint(&source)?;
    let mut target = plain.clone();
    target.cache = Some(dir.join("cache"));
    let mut unfinished = 0;
    for (round, millis) in [500, 4_000, 12_000].into_iter().enumerate() {
        let out = dir.join(format!("killed-{round}"));
        std::fs::create_dir_all(&out)?;
        if kill_after(&target, &out, Duration::from_millis(millis))? {
            unfinished += 1;
        }
    }
    let after = tree::fingerprint(&source)?;
    ensure!(before == after, "changed: {:?}", tree::differences(&before, &after));
    ensure!(unfinished > 0, "no run was killed in the middle");
    let module = module(&target, &dir.join("out"))?;
    let after = tree::fingerprint(&source)?;
    ensure!(before == after, "changed: {:?}", tree::differences(&before, &after));
    let undisturbed = self::module(plain, &dir.join("undisturbed"))?;
    ensure!(module == undisturbed, "the module is not the one that an undisturbed run makes");
    Ok(())
}

/// Whether the run was still going on when it was killed, with all that it had started.
fn kill_after(target: &Target, out: &Path, delay: Duration) -> Result<bool> {
    let mut child = build::command(target, &small(), "kt_trap", out)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(delay);
    let unfinished = child.try_wait()?.is_none();
    // The group's number is the child's, which stays taken until it is waited for.
    if unfinished {
        let group = format!("-{}", child.id());
        // The shell's own: a minimal system has no program of that name.
        let script = format!("kill -s KILL -- {group}");
        let status = Command::new("sh").args(["-c", &script]).status()?;
        ensure!(status.success(), "cannot kill the process group {group}");
    }
    child.wait()?;
    let modules = std::fs::read_dir(out)?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "ko"))
        .count();
    ensure!(!unfinished || modules == 0, "a killed run left a module");
    Ok(unfinished)
}

/// The tree on a read-only mount, in a mount namespace of its own.
fn read_only(suite: &Suite) -> Result<()> {
    let dir = suite.folder("trap/read-only")?;
    let target = suite.target()?;
    let source = target.kernel.source.canonicalize()?;
    let Some(mut command) = namespace() else {
        eprintln!("*** SKIPPED: trap::source-read-only: no mount namespace to be had here");
        ensure!(!crate::suite::must_run(), "no mount namespace to be had here");
        return Ok(());
    };
    let out = dir.join("out");
    std::fs::create_dir_all(&out)?;
    let inner = build::command(target, &small(), "kt_trap", &out);
    let output = command
        .arg(READ_ONLY)
        .arg("sh")
        .arg(&source)
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(output.status.success(), "{}:\n{said}", output.status);
    let there = std::fs::read(out.join("kt_trap.ko")).context("no module")?;
    let usual = module(target, &dir.join("usual"))?;
    ensure!(there == usual, "the module is not the one from a writable tree");
    Ok(())
}

/// Makes `$1` read-only, proves it, and runs the rest.
const READ_ONLY: &str = r#"
set -e
source=$1
shift
mount --bind "$source" "$source"
mount -o remount,ro,bind "$source"
if touch "$source/Makefile" 2>/dev/null; then
	echo "the mount is not read-only" >&2
	exit 99
fi
exec "$@"
"#;

/// `unshare … sh -c`, as root or with a user namespace, whichever works.
pub(crate) fn namespace() -> Option<Command> {
    [&["-m"][..], &["-r", "-m"]].into_iter().find_map(|flags| {
        let mut trial = Command::new("unshare");
        trial.args(flags).args(["sh", "-c", "mount --bind /tmp /tmp"]);
        let works = trial.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        works.then(|| {
            let mut command = Command::new("unshare");
            command.args(flags).args(["sh", "-c"]);
            command
        })
    })
}

/// A tree that was configured for another kernel, with the headers that go with it: without procfs
/// the patched file would not even be compiled. The module is the same as from a clean tree.
fn configured(suite: &Suite) -> Result<()> {
    let dir = suite.folder("trap/configured")?;
    let plain = suite.target()?;
    let source: PathBuf = setup::link_copy(&plain.kernel.source, &dir.join("source"))?;
    for folder in ["include/config", "include/generated", "arch/x86/include/generated/asm"] {
        std::fs::create_dir_all(source.join(folder))?;
    }
    let write = |file: &str, text: &str| std::fs::write(source.join(file), text);
    write(
        ".config",
        "CONFIG_64BIT=y\n# CONFIG_PROC_FS is not set\n# CONFIG_LIVEPATCH is not set\n",
    )?;
    write("include/config/auto.conf", "CONFIG_64BIT=y\n")?;
    write("include/config/kernel.release", "6.12.0-own\n")?;
    write("include/generated/autoconf.h", "#define CONFIG_64BIT 1\n#error wrong configuration\n")?;
    write("include/generated/utsrelease.h", "#error wrong release\n")?;
    write("arch/x86/include/generated/asm/syscalls_64.h", "#error wrong table\n")?;
    let before = tree::fingerprint(&source)?;
    let mut target = plain.clone();
    target.source = Some(source.clone());
    let there = module(&target, &dir.join("out"))?;
    let after = tree::fingerprint(&source)?;
    ensure!(before == after, "changed: {:?}", tree::differences(&before, &after));
    let usual = module(plain, &dir.join("usual"))?;
    ensure!(there == usual, "the module is not the one from a clean tree");
    Ok(())
}

//! Controls: a harness that never fails proves nothing. A module with one wrong addend, one that does not
//! stay where it must, a step that fails, a kernel that warns, one that dies: each must be seen, and told
//! apart.

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::case::Build;
use integration::case::Case;
use integration::case::Cpu;
use integration::case::Pinned;
use integration::initramfs::GuestCase;
use integration::initramfs::Patch;
use integration::kernel::Known;
use integration::mutate;
use integration::qemu::End;
use integration::serial;

use crate::Test;
use crate::suite::Suite;
use crate::tool::failed;
use crate::vm;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("wrong-addend", wrong_addend),
        test("unpinned-tail-call", |suite| unpinned(suite, "tail-call")),
        test("unpinned-cold-part", |suite| unpinned(suite, "cold-part")),
        test("failing-step", failing_step),
        test("kernel-warning", kernel_warning),
        test("kernel-panic", kernel_panic),
    ]
}

fn test(name: &str, run: fn(&Suite) -> Result<()>) -> Test {
    Test {
        name: format!("vm::control::{name}"),
        boots: true,
        absent: None,
        run: Box::new(move |suite| run(suite).map_err(failed)),
    }
}

/// The module of `cmdline` with one addend off by one loads like the good one; what it does must be
/// found out by the look at its behaviour, and by that alone.
fn wrong_addend(suite: &Suite) -> Result<()> {
    let cases = vm::all_cases()?;
    let case = cases.iter().find(|case| case.name == "cmdline").context("no case `cmdline`")?;
    let build: &Build = &case.builds[0];
    let ran = suite.build(&case.name, build)?;
    ensure!(ran.code == Some(0), "the good module does not build:\n{}", ran.all());
    let good = std::fs::read(ran.module.context("no module")?)?;
    let (bytes, what) = mutate::wrong_addend(&good)?;
    let guest = GuestCase { case, patches: vec![Patch { build: build.name.clone(), bytes }] };
    let (log, end) = vm::boot(suite, Cpu::Max, &[guest], "boot/control-wrong-addend")?;
    let failures = serial::failures(&log, &case.name, &case.steps, &case.warns);
    ensure!(end == End::Done, "the boot ended with {end:?} ({what})");
    let steps = &log.cases.get(&case.name).context("the case did not run")?.steps;
    let verdicts: Vec<(&str, bool)> =
        steps.iter().map(|step| (step.name.as_str(), step.passed)).collect();
    ensure!(
        verdicts == [("before", true), ("loaded", false), ("disabled", true), ("unloaded", true)],
        "with {what} the steps are {verdicts:?}"
    );
    // It was loaded and live: the text is what is wrong, not the loading.
    let [failure] = failures.as_slice() else {
        anyhow::bail!("with {what}, not one failure but {failures:?}");
    };
    ensure!(
        failure.starts_with("step `loaded`: 'cat /proc/cmdline' is ")
            && !failure.contains("insmod"),
        "with {what} the step fails for another reason: {failure}"
    );
    Ok(())
}

/// Without its pin, the module of case `name` is unloaded from under the task that sleeps in it.
fn unpinned(suite: &Suite, name: &str) -> Result<()> {
    let cases = vm::all_cases()?;
    let case = cases.iter().find(|case| case.name == name).context("no such case")?;
    let build: &Build = &case.builds[0];
    let ran = suite.build(&case.name, build)?;
    ensure!(ran.code == Some(0), "the good module does not build:\n{}", ran.all());
    let bytes = mutate::unpinned(&std::fs::read(ran.module.context("no module")?)?)?;
    let guest = GuestCase { case, patches: vec![Patch { build: build.name.clone(), bytes }] };
    let (log, end) = vm::boot(suite, Cpu::Max, &[guest], &format!("boot/control-unpinned-{name}"))?;
    let found = log.cases.get(&case.name).context("the case did not run")?;
    let verdicts: Vec<(&str, bool)> =
        found.steps.iter().map(|step| (step.name.as_str(), step.passed)).collect();
    // The kernel took the task for one that has left the patch, and let the module go.
    ensure!(
        verdicts.starts_with(&[
            ("before", true),
            ("loaded", true),
            ("disabled", true),
            ("unloaded", false)
        ]),
        "the steps are {verdicts:?}"
    );
    let unloaded = &found.steps[3].detail;
    ensure!(
        unloaded.contains(" is gone"),
        "the step `unloaded` fails for another reason: {unloaded}"
    );
    let failures = serial::failures(&log, &case.name, &case.steps, &case.warns).join("\n");
    ensure!(
        failures.contains("the kernel reports: ") && failures.contains("BUG: "),
        "the task returned into a module that was gone, the boot ended with {end:?}, and all that \
         was seen is: {failures}"
    );
    Ok(())
}

fn failing_step(suite: &Suite) -> Result<()> {
    let case = scripted("is right echo right\n\tis right echo wrong");
    let (failures, end) = run(suite, &case)?;
    ensure!(end == End::Done, "the boot ended with {end:?}");
    ensure!(
        failures == ["step `only`: 'echo wrong' is 'wrong', not 'right'"],
        "the failures are {failures:?}"
    );
    Ok(())
}

/// What the kernel says fails a case whose own checks all pass.
fn kernel_warning(suite: &Suite) -> Result<()> {
    let case = scripted("echo '<1>WARNING: made up by a test' >/dev/kmsg");
    let (failures, end) = run(suite, &case)?;
    ensure!(end == End::Done, "the boot ended with {end:?}");
    let [failure] = failures.as_slice() else { anyhow::bail!("the failures are {failures:?}") };
    ensure!(failure.contains("WARNING: made up by a test"), "the failure is {failure}");
    Ok(())
}

fn kernel_panic(suite: &Suite) -> Result<()> {
    let case = scripted("echo c >/proc/sysrq-trigger");
    let (failures, end) = run(suite, &case)?;
    ensure!(matches!(end, End::Panic | End::Exited), "the boot ended with {end:?}");
    let all = failures.join("\n");
    ensure!(
        all.contains("step `only` was not reported") && all.contains("panic"),
        "the failures are {all}"
    );
    Ok(())
}

fn run(suite: &Suite, case: &Case) -> Result<(Vec<String>, End)> {
    let guest = GuestCase { case, patches: Vec::new() };
    let (log, end) = vm::boot(suite, Cpu::Max, &[guest], &format!("boot/{}", case.name))?;
    Ok((serial::failures(&log, &case.name, &case.steps, &case.warns), end))
}

/// A case with one step of a few shell lines, without a patch.
fn scripted(lines: &str) -> Case {
    Case {
        name: "control".to_owned(),
        title: "a control of the harness".to_owned(),
        script: format!("only() {{\n\t{lines}\n}}\nrun() {{ step only only; }}\n"),
        builds: Vec::new(),
        modules: Vec::new(),
        helpers: Vec::new(),
        along: Vec::new(),
        programs: Vec::new(),
        sources: Vec::new(),
        steps: vec!["only".to_owned()],
        says: Vec::new(),
        warns: Vec::new(),
        cpus: vec![Cpu::Max],
        kernels: vec![Known::USUAL],
        pinned: Pinned::No,
        alone: true,
        seconds: 60,
        rounds: None,
    }
}

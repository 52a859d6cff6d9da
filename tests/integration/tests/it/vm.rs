//! Cases in the VM: their builds, the boots that run them, and the verdicts.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use integration::case;
use integration::case::Case;
use integration::case::Cpu;
use integration::initramfs;
use integration::initramfs::GuestCase;
use integration::initramfs::Patch;
use integration::kernel::KNOWN;
use integration::kernel::KernelSet;
use integration::kernel::Known;
use integration::qemu;
use integration::qemu::End;
use integration::qemu::Vm;
use integration::serial;

use crate::Test;
use crate::suite;
use crate::suite::Suite;
use crate::suite::here;

/// Boot and power off of an emulated guest on a busy machine.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// The kernel, the CPU model and the cases of a boot.
type Boot<'a> = (&'static Known, Cpu, Vec<&'a Case>);

pub(crate) fn all_cases() -> Result<Vec<Case>> {
    let mut cases = case::cases(&here().join("cases"))?;
    for case in case::cases(&here().join("kpatch/cases"))? {
        cases.push(Case { name: format!("kpatch-{}", case.name), ..case });
    }
    Ok(cases)
}

fn test_name(kernel: &Known, cpu: Cpu, case: &Case) -> String {
    match kernel.label {
        "" => format!("vm::{}::{}", cpu.name(), case.name),
        label => format!("vm::{label}::{}::{}", cpu.name(), case.name),
    }
}

/// Whether `case` is about this kernel on this CPU model.
fn runs_on(case: &Case, kernel: &Known, cpu: Cpu) -> bool {
    case.kernels.contains(&kernel) && kernel.cpus.contains(&cpu) && case.cpus.contains(&cpu)
}

pub(crate) fn tests() -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    let cases = all_cases()?;
    for kernel in &KNOWN {
        let absent = suite::left_out(kernel)?;
        let is_used = cases.iter().any(|case| case.kernels.contains(&kernel));
        if let Some(why) = absent.as_ref().filter(|_| is_used) {
            eprintln!("*** SKIPPED: vm::{}::…: {why}", kernel.label);
        }
        for cpu in Cpu::ALL {
            for case in cases.iter().filter(|case| runs_on(case, kernel, cpu)) {
                let name = test_name(kernel, cpu, case);
                let key = name.clone();
                let run = move |suite: &Suite| suite.recorded(&key);
                tests.push(Test { name, boots: true, absent: absent.clone(), run: Box::new(run) });
            }
        }
    }
    Ok(tests)
}

/// Runs the builds, then the boots, that the tests called `names` need.
pub(crate) fn run_ahead(suite: &Suite, names: &[&str]) {
    if suite.missing(true).is_some() {
        return;
    }
    let Ok(cases) = all_cases() else { return };
    let present = |kernel: &&Known| matches!(suite::left_out(kernel), Ok(None));
    let mut boots: Vec<Boot<'_>> = Vec::new();
    for kernel in KNOWN.iter().filter(present) {
        for cpu in Cpu::ALL {
            let wanted = |case: &&Case| {
                let name = test_name(kernel, cpu, case);
                runs_on(case, kernel, cpu) && names.contains(&name.as_str())
            };
            let (alone, shared): (Vec<&Case>, Vec<&Case>) =
                cases.iter().filter(wanted).partition(|case| case.alone);
            if !shared.is_empty() {
                boots.push((kernel, cpu, shared));
            }
            boots.extend(alone.into_iter().map(|case| (kernel, cpu, vec![case])));
        }
    }
    if boots.is_empty() {
        return;
    }
    eprintln!("==> builds");
    for kernel in &KNOWN {
        let chosen = |case: &&Case| {
            boots
                .iter()
                .any(|(one, _, all)| *one == kernel && all.iter().any(|c| c.name == case.name))
        };
        let builds: Vec<_> = cases
            .iter()
            .filter(chosen)
            .flat_map(|case| case.builds.iter().map(move |build| (case, build)))
            .collect();
        // The first fills the tool's cache; the others would only wait for it.
        let (first, others) = builds.split_at(builds.len().min(1));
        for (case, build) in first {
            let _ = suite.build_on(kernel, &case.name, build);
        }
        two_at_a_time(others, |(case, build)| {
            let _ = suite.build_on(kernel, &case.name, build);
        });
    }
    eprintln!("==> boots");
    two_at_a_time(&boots, |(kernel, cpu, cases)| boot_all(suite, kernel, *cpu, cases));
}

/// Boots `cases` together and records what came out.
fn boot_all(suite: &Suite, kernel: &Known, cpu: Cpu, cases: &[&Case]) {
    let mut ready = Vec::new();
    let record = |case: &Case, failures: Vec<String>| {
        suite.record(&test_name(kernel, cpu, case), failures);
    };
    for case in cases {
        match patches(suite, kernel, case) {
            Ok(patches) => ready.push(GuestCase { case, patches }),
            Err(error) => record(case, vec![format!("{error:#}")]),
        }
    }
    match suite.target_on(kernel) {
        Ok(target) => boot_ready(suite, &target.kernel, cpu, ready, record),
        Err(error) => {
            ready.iter().for_each(|guest| record(guest.case, vec![format!("{error:#}")]));
        }
    }
}

/// Boots `ready` together and calls `record` with the failures of each. One that kills its guest is
/// reported; those behind it get another boot.
pub(crate) fn boot_ready(
    suite: &Suite,
    kernel: &KernelSet,
    cpu: Cpu,
    mut ready: Vec<GuestCase<'_>>,
    record: impl Fn(&Case, Vec<String>),
) {
    let mut round = 0;
    let mut again = false;
    while !ready.is_empty() {
        round += 1;
        let place =
            format!("boot/{}/{}-{}-{round}", kernel.release, cpu.name(), ready[0].case.name);
        match boot_kernel(suite, kernel, cpu, &ready, &place) {
            Err(error) => {
                for guest in ready.drain(..) {
                    record(guest.case, vec![format!("{error:#}")]);
                }
            }
            Ok((log, end)) => {
                let (reached, later): (Vec<_>, Vec<_>) =
                    ready.into_iter().partition(|guest| log.cases.contains_key(&guest.case.name));
                let stuck = reached.is_empty();
                for guest in &reached {
                    record(guest.case, verdict(&log, end, cpu, guest.case, &place));
                }
                ready = later;
                if stuck && !again {
                    // Nothing of ours has run yet. An emulator on a busy machine now and then loses a
                    // guest that early; one that loses it twice has a reason.
                    eprintln!("    the guest did not start ({end:?}): once more");
                    again = true;
                } else if stuck {
                    for guest in ready.drain(..) {
                        record(guest.case, verdict(&log, end, cpu, guest.case, &place));
                    }
                }
            }
        }
    }
}

/// The finished modules of a case, if the tool made them and said what it must say.
fn patches(suite: &Suite, kernel: &Known, case: &Case) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    let mut said = String::new();
    for build in &case.builds {
        let ran = suite.build_on(kernel, &case.name, build)?;
        let all = ran.all();
        anyhow::ensure!(
            ran.code == Some(0),
            "build `{}`: exit code {:?}:\n{all}",
            build.name,
            ran.code
        );
        let module =
            ran.module.with_context(|| format!("build `{}` left no module", build.name))?;
        patches.push(Patch { build: build.name.clone(), bytes: std::fs::read(&module)? });
        said.push_str(&all);
    }
    for text in &case.says {
        anyhow::ensure!(said.contains(text), "the tool does not say `{text}`:\n{said}");
    }
    Ok(patches)
}

/// One boot of the usual kernel; the serial log is kept in `place`.
pub(crate) fn boot(
    suite: &Suite,
    cpu: Cpu,
    guests: &[GuestCase<'_>],
    place: &str,
) -> Result<(serial::Log, End)> {
    boot_kernel(suite, &suite.target()?.kernel, cpu, guests, place)
}

fn boot_kernel(
    suite: &Suite,
    kernel: &KernelSet,
    cpu: Cpu,
    guests: &[GuestCase<'_>],
    place: &str,
) -> Result<(serial::Log, End)> {
    let initramfs = initramfs::for_cases(kernel, guests)?;
    let limits = guests.iter().map(|guest| u64::from(guest.case.seconds));
    let limit = BOOT_LIMIT + Duration::from_secs(limits.sum());
    let outcome = qemu::run(&Vm {
        kernel: &kernel.image,
        initramfs: &initramfs,
        cpu,
        accel: suite.accel()?,
        limit,
        last_line: "KTEST - done",
        second_port: None,
    })?;
    let dir = suite.folder(place)?;
    std::fs::write(dir.join("serial.log"), &outcome.serial)?;
    std::fs::write(dir.join("qemu.log"), &outcome.stderr)?;
    let names: Vec<&str> = guests.iter().map(|guest| guest.case.name.as_str()).collect();
    eprintln!(
        "    booted {} {} ({:?}, {:.1} s): {}",
        kernel.release,
        cpu.name(),
        outcome.end,
        outcome.seconds,
        names.join(" ")
    );
    Ok((serial::parse(&outcome.serial), outcome.end))
}

/// Why a case failed in a boot; empty if it passed.
fn verdict(log: &serial::Log, end: End, cpu: Cpu, case: &Case, place: &str) -> Vec<String> {
    let mut failures = serial::failures(log, &case.name, &case.steps, &case.warns);
    // A boot without the mitigation that it is for would prove nothing.
    let mitigation = match cpu {
        Cpu::Max => "",
        Cpu::Skylake => "Mitigation: Stuffing",
        Cpu::Epyc => "Mitigation: untrained return thunk",
    };
    if !mitigation.is_empty() && !log.notes.iter().any(|note| note.contains(mitigation)) {
        failures.push(format!("the kernel did not turn on `{mitigation}`: {:?}", log.notes));
    }
    if !failures.is_empty() {
        failures.push(format!("(the boot ended with {end:?}; its log is `{place}/serial.log`)"));
    }
    failures
}

/// Calls `work` for each item, from two threads.
pub(crate) fn two_at_a_time<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let todo = Mutex::new((0..items.len()).collect::<BTreeSet<usize>>());
    let next = || todo.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(i) = next() {
                    work(&items[i]);
                }
            });
        }
    });
}

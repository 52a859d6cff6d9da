//! Shows a livepatch at work: boots the stock kernel in QEMU, and prints `/proc/cmdline` before the
//! module is loaded, while it is, after it is disabled and after it is unloaded.
//!
//! usage: demo-boot MODULE.ko
//!
//! The kernel is the cache's current one (scripts/fetch-kernel.sh). Exit code 1 when the guest did
//! not come to its end, or the text was not another one with the patch and the old one after it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use integration::case::Cpu;
use integration::initramfs;
use integration::kernel;
use integration::modules;
use integration::qemu;
use integration::qemu::Vm;

const LIMIT: Duration = Duration::from_secs(180);
const LAST: &str = "DEMO done";

/// The guest. Lines start with `DEMO`; `show` lines carry what is compared at the end.
const INIT: &str = r#"#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/kmsg 2>&1
say() { echo "<1>DEMO $*" >/dev/kmsg; }
show() { say "show $1 $(cat /proc/cmdline)"; }
patch=/sys/kernel/livepatch/@NAME@
say "step up after $(cut -d. -f1 /proc/uptime) s: $(uname -sr), unmodified"
show before
if ! insmod /patch.ko; then
	say "step insmod failed"
	say done
	poweroff -f
fi
tries=0
while [ "$(cat $patch/transition)" = 1 ] && [ $tries -lt 600 ]; do
	tries=$((tries + 1))
	usleep 100000
done
say "step insmod @NAME@.ko; every task runs the new code (transition $(cat $patch/transition))"
show loaded
echo 0 >$patch/enabled
tries=0
while [ -e $patch ] && [ $tries -lt 600 ]; do
	tries=$((tries + 1))
	usleep 100000
done
say "step echo 0 >$patch/enabled"
show disabled
# The kernel drops its own reference shortly after the folder is gone.
tries=0
while [ "$(cat /sys/module/@NAME@/refcnt)" != 0 ] && [ $tries -lt 20 ]; do
	tries=$((tries + 1))
	usleep 100000
done
if rmmod @NAME@; then
	say "step rmmod @NAME@"
else
	say "step rmmod is refused: the patch holds a reference, since it has new functions"
fi
show unloaded
say done
poweroff -f
"#;

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), None) = (args.next(), args.next()) else {
        anyhow::bail!("usage: demo-boot MODULE.ko");
    };
    let module = std::fs::read(&path)
        .with_context(|| format!("cannot read `{}`", path.to_string_lossy()))?;
    let name = modules::modinfo(&module, "name")?.context("not a module: it has no name")?;
    let cache = kernel::cache_dir();
    let kernel =
        kernel::find(&cache)?.context("no kernel in the cache: scripts/fetch-kernel.sh")?;
    qemu::available()?;
    let accel = qemu::accelerator(&cache, &kernel.image)?;
    let init = INIT.replace("@NAME@", &name);
    let initramfs = initramfs::with_init(&init, &[("patch.ko", &module)])?;
    println!("    booting {} in QEMU ({accel:?})", kernel.image.display());
    let mut shown = BTreeMap::new();
    let vm = Vm {
        kernel: &kernel.image,
        initramfs: &initramfs,
        cpu: Cpu::Max,
        accel,
        limit: LIMIT,
        last_line: LAST,
        second_port: None,
    };
    let outcome = qemu::watch(&vm, |line| {
        let Some((_, words)) = line.split_once("DEMO ") else { return };
        if let Some(step) = words.strip_prefix("step ") {
            println!("    {step}");
        } else if let Some((when, text)) =
            words.strip_prefix("show ").and_then(|w| w.split_once(' '))
        {
            println!("      {when:<9}$ cat /proc/cmdline\n               {text}");
            shown.insert(when.to_owned(), text.to_owned());
        }
    })?;
    let log = || {
        let lines: Vec<&str> = outcome.serial.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    };
    anyhow::ensure!(
        outcome.end == qemu::End::Done,
        "the guest did not come to its end ({:?}); its last lines:\n{}",
        outcome.end,
        log()
    );
    let text = |when: &str| shown.get(when).map(String::as_str).unwrap_or_default();
    anyhow::ensure!(
        !text("loaded").is_empty() && text("loaded") != text("before"),
        "the module does not change /proc/cmdline; the guest's last lines:\n{}",
        log()
    );
    anyhow::ensure!(
        text("disabled") == text("before") && text("unloaded") == text("before"),
        "the old text did not come back; the guest's last lines:\n{}",
        log()
    );
    println!("    up, patched, unpatched and down in {:.1} s", outcome.seconds);
    Ok(())
}

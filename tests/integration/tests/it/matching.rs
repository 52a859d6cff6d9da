//! Run-pre matching on the stock kernel: files from all over it, compiled here, must be what runs, each
//! function of each of them.

use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use serde_json::Value;

use crate::Test;
use crate::suite::Suite;
use crate::tool::failed;

/// vmlinux and modules; small ones and big ones; with weak functions, static branches, inline assembly.
const FILES: &[&str] = &[
    "arch/x86/kernel/ptrace.c",
    "arch/x86/mm/fault.c",
    "block/ioctl.c",
    "crypto/proc.c",
    "drivers/base/cpu.c",
    "drivers/block/loop.c",
    "drivers/char/mem.c",
    "drivers/md/md-bitmap.c",
    "drivers/net/tun.c",
    "drivers/pci/proc.c",
    "fs/eventfd.c",
    "fs/namei.c",
    "fs/overlayfs/dir.c",
    "fs/pipe.c",
    "fs/proc/cmdline.c",
    "fs/proc/meminfo.c",
    "fs/seq_file.c",
    "fs/xattr.c",
    "io_uring/poll.c",
    "ipc/sem.c",
    "kernel/audit.c",
    "kernel/fork.c",
    "kernel/futex/core.c",
    "kernel/kthread.c",
    "kernel/module/procfs.c",
    "kernel/sched/fair.c",
    "kernel/sys_ni.c",
    "kernel/time/timer.c",
    "lib/kobject.c",
    "lib/string.c",
    "mm/maccess.c",
    "mm/mincore.c",
    "mm/slub.c",
    "mm/vmstat.c",
    "net/core/stream.c",
    "net/ipv4/ping.c",
    "net/ipv4/tcp_input.c",
    "net/netfilter/nf_log.c",
    "net/unix/garbage.c",
    "security/keys/user_defined.c",
    "security/selinux/avc.c",
    "virt/kvm/eventfd.c",
];

pub(crate) fn tests() -> Vec<Test> {
    vec![Test {
        name: "matching::stock-kernel".to_owned(),
        boots: false,
        absent: None,
        run: Box::new(|suite| stock_kernel(suite).map_err(failed)),
    }]
}

fn stock_kernel(suite: &Suite) -> Result<()> {
    let target = suite.target()?;
    let kernel = &target.kernel;
    let output = Command::new(&target.tool)
        .arg("match")
        .arg("--json")
        .arg("-s")
        .arg(&kernel.source)
        .arg("-k")
        .arg(&kernel.release)
        .arg("--headers")
        .arg(&kernel.headers)
        .arg("--image")
        .arg(&kernel.image)
        .arg("--modules")
        .arg(&kernel.modules)
        .args(FILES)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}:\n{said}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let objects = report["objects"].as_array().context("no objects")?;
    ensure!(objects.len() >= FILES.len(), "{} objects of {} files", objects.len(), FILES.len());
    let (mut functions, mut matched, mut overridden) = (0, 0, 0);
    for object in objects {
        let count = |key: &str| object[key].as_u64().with_context(|| format!("no `{key}`"));
        ensure!(object["unmatched"].as_array().is_some_and(Vec::is_empty), "{object}");
        ensure!(count("functions")? == count("matched")? + count("overridden")?, "{object}");
        functions += count("functions")?;
        matched += count("matched")?;
        overridden += count("overridden")?;
    }
    eprintln!(
        "    {} objects: {matched} of {functions} functions are what runs, {overridden} are weak and \
         overridden",
        objects.len()
    );
    // Whoever matches nothing has no mismatch either.
    ensure!(matched > 1500, "only {matched} functions");
    let weak = |name: &str| objects.iter().any(|o| o["object"] == name && o["overridden"] != 0);
    ensure!(
        weak("drivers/base/cpu.o") && weak("kernel/sys_ni.o"),
        "no weak function is overridden"
    );
    let modules = objects.iter().filter(|object| object["part_of"] != "vmlinux").count();
    ensure!(modules >= 4, "only {modules} objects of modules");
    Ok(())
}

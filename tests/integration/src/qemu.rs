//! Runs QEMU: arguments, choice of the accelerator, a hard wall limit, and an end as soon as the
//! guest has said its last word or died.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;

use crate::case::Cpu;
use crate::initramfs;

const QEMU: &str = "qemu-system-x86_64";

/// After the last line the guest powers off; this long it may take.
const GRACE: Duration = Duration::from_secs(5);

/// KVM that works is there in two seconds; KVM that hangs never is.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// By the host's processor.
    Kvm,
    /// Emulated.
    Tcg,
}

impl Accel {
    fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        }
    }
}

/// One boot.
#[derive(Debug, Clone)]
pub struct Vm<'a> {
    /// The kernel image.
    pub kernel: &'a Path,
    /// The first root, a cpio archive.
    pub initramfs: &'a [u8],
    /// CPU model; models other than `Max` are emulated, whatever the host can do.
    pub cpu: Cpu,
    /// What executes `Cpu::Max`.
    pub accel: Accel,
    /// Hard limit in wall time.
    pub limit: Duration,
    /// The line that ends the run when the serial console shows it.
    pub last_line: &'a str,
    /// Where to put what the guest writes to its second serial port, if it has one.
    pub second_port: Option<&'a Path>,
}

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the last line.
    Done,
    /// With a kernel panic.
    Panic,
    /// QEMU ended before the last line.
    Exited,
    /// The limit was reached.
    TimedOut,
}

/// What a boot left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The serial console.
    pub serial: String,
    /// What QEMU itself said.
    pub stderr: String,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// Whether QEMU is installed; the text says what is missing.
///
/// # Errors
/// When it cannot be started.
pub fn available() -> Result<()> {
    let status = Command::new(QEMU)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{QEMU}` (package `qemu-system-x86`)"))?;
    anyhow::ensure!(status.success(), "`{QEMU} --version` fails");
    Ok(())
}

/// Boots `vm` and returns what it said.
///
/// # Errors
/// When QEMU cannot be started or the initramfs cannot be written. That the guest failed is no
/// error here.
pub fn run(vm: &Vm<'_>) -> Result<Outcome> {
    watch(vm, |_| {})
}

/// Like [`run`], and shows each line of the serial console to `seen` as it comes.
///
/// # Errors
/// As [`run`].
pub fn watch(vm: &Vm<'_>, mut seen: impl FnMut(&str)) -> Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let initrd = dir.path().join("initramfs.cpio");
    std::fs::write(&initrd, vm.initramfs)?;
    let started = Instant::now();
    let mut child = Killed(
        Command::new(QEMU)
            .args(arguments(vm, &initrd))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{QEMU}`"))?,
    );
    let stdout = child.0.stdout.take().context("no standard output")?;
    let mut stderr = child.0.stderr.take().context("no standard error")?;
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    let complaints = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });

    let mut deadline = started + vm.limit;
    let mut end = End::Exited;
    let mut serial = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                seen(&line);
                serial.push_str(&line);
                serial.push('\n');
                if line.ends_with(vm.last_line) {
                    end = End::Done;
                    deadline = deadline.min(Instant::now() + GRACE);
                } else if line.contains("end Kernel panic") {
                    end = End::Panic;
                    deadline = Instant::now() + Duration::from_millis(200);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if end == End::Exited {
                    end = End::TimedOut;
                }
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(child);
    let _ = reader.join();
    let stderr = complaints.join().unwrap_or_default();
    Ok(Outcome { end, serial, stderr, seconds: started.elapsed().as_secs_f64() })
}

/// The accelerator that works here: `KPATCH_VM_ACCEL`, else what an earlier run found out, else KVM
/// if a boot with it comes up in time. A host may offer KVM and then hang: only a boot shows it.
///
/// # Errors
/// When the initramfs of the probe cannot be built or the answer cannot be kept.
pub fn accelerator(cache: &Path, kernel: &Path) -> Result<Accel> {
    match std::env::var("KPATCH_VM_ACCEL").as_deref() {
        Ok("kvm") => return Ok(Accel::Kvm),
        Ok("tcg") => return Ok(Accel::Tcg),
        Ok(other) => anyhow::bail!("`KPATCH_VM_ACCEL={other}`: neither `kvm` nor `tcg`"),
        Err(_) => {}
    }
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accel::Tcg);
    }
    let file = cache.join("vm-accel");
    let machine = machine();
    if let Ok(text) = std::fs::read_to_string(&file) {
        match text.strip_suffix(&format!("\n{machine}")) {
            Some("kvm") => return Ok(Accel::Kvm),
            Some("tcg") => return Ok(Accel::Tcg),
            _ => {}
        }
    }
    let outcome = run(&Vm {
        kernel,
        initramfs: &initramfs::probe()?,
        cpu: Cpu::Max,
        accel: Accel::Kvm,
        limit: PROBE_LIMIT,
        last_line: "KTEST - done",
        second_port: None,
    })?;
    let accel = if outcome.end == End::Done { Accel::Kvm } else { Accel::Tcg };
    std::fs::create_dir_all(cache)?;
    let mut answer = tempfile::NamedTempFile::new_in(cache)?;
    std::io::Write::write_all(&mut answer, format!("{}\n{machine}", accel.name()).as_bytes())?;
    answer.persist(&file).with_context(|| format!("cannot write `{}`", file.display()))?;
    Ok(accel)
}

/// What the answer of the probe depends on: host kernel and QEMU.
fn machine() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let qemu = Command::new(QEMU).arg("--version").output().map(|output| output.stdout);
    let qemu = String::from_utf8_lossy(&qemu.unwrap_or_default()).into_owned();
    let version = qemu.lines().next().unwrap_or_default();
    format!("{} {} {version}\n", host.trim(), kernel.trim())
}

fn arguments(vm: &Vm<'_>, initrd: &Path) -> Vec<String> {
    let (model, parameter) = match vm.cpu {
        Cpu::Max => ("max", ""),
        Cpu::Skylake => ("Skylake-Client", " retbleed=stuff"),
        Cpu::Epyc => ("EPYC", " retbleed=unret"),
    };
    let accel = if vm.cpu == Cpu::Max { vm.accel } else { Accel::Tcg };
    let model = if accel == Accel::Kvm { "host" } else { model };
    // Writes to /dev/kmsg must not be dropped: they carry the results.
    let append = format!("console=ttyS0 panic=-1 printk.devkmsg=on{parameter}");
    // One thread for both processors: with a thread each, QEMU lets one run an instruction that the
    // other has half patched, and a kernel that patches itself crashes now and then.
    let accelerator = match accel {
        Accel::Kvm => "kvm",
        Accel::Tcg => "tcg,thread=single",
    };
    let arguments = [
        "-accel",
        accelerator,
        "-cpu",
        model,
        "-m",
        "512",
        "-smp",
        "2",
        "-display",
        "none",
        "-nodefaults",
        "-serial",
        "stdio",
        "-no-reboot",
        "-kernel",
        &vm.kernel.to_string_lossy(),
        "-initrd",
        &initrd.to_string_lossy(),
        "-append",
        &append,
    ];
    let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    if let Some(file) = vm.second_port {
        arguments.extend(["-serial".to_owned(), format!("file:{}", file.display())]);
    }
    arguments
}

/// A child that does not outlive its owner, however that one ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! The image is the truth: the symbol table that is decoded from it must be the one that the kernel
//! itself shows once it runs, moved by one KASLR offset. The guest's `/proc/kallsyms` comes out
//! through a second serial port, compressed.

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::case::Cpu;
use integration::initramfs;
use integration::qemu;
use integration::qemu::End;
use integration::qemu::Vm;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Running;

use crate::Test;
use crate::suite::Suite;
use crate::tool::failed;

const LIMIT: Duration = Duration::from_secs(120);
const LAST: &str = "KALLSYMS sent";

const INIT: &str = "#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec </dev/null >/dev/kmsg 2>&1
stty -F /dev/ttyS1 raw -echo && gzip -c /proc/kallsyms >/dev/ttyS1 && echo '<1>KALLSYMS sent'
poweroff -f
";

pub(crate) fn tests() -> Vec<Test> {
    vec![Test {
        name: "kallsyms::same-as-the-guest".to_owned(),
        boots: true,
        absent: None,
        run: Box::new(|suite| same_as_the_guest(suite).map_err(failed)),
    }]
}

fn same_as_the_guest(suite: &Suite) -> Result<()> {
    let image = Image::open(&suite.target()?.kernel.image)?;
    let shipped = Kallsyms::read(&image)?;
    let mut text = guest_kallsyms(suite, "boot/kallsyms")?;
    let mut offset = compare(&shipped, &text)?;
    if offset == 0 {
        // One boot in some 500 is not moved; two in a row would be a guest without KASLR, which
        // could not show what is moved and what is not.
        text = guest_kallsyms(suite, "boot/kallsyms-again")?;
        offset = compare(&shipped, &text)?;
    }
    ensure!(offset != 0, "KASLR does not move the guest's kernel");
    eprintln!("    {} symbols, moved by {offset:#x}", shipped.len());

    // The comparison must see one letter.
    let wrong = text.replacen(" saved_command_line\n", " saved_command_lime\n", 1);
    ensure!(wrong != text, "`saved_command_line` is not among the guest's symbols");
    let Err(error) = compare(&shipped, &wrong) else {
        anyhow::bail!("a changed name is not seen");
    };
    let error = error.to_string();
    ensure!(error.contains("saved_command_lime"), "the wrong symbol is blamed: {error}");
    Ok(())
}

fn compare(shipped: &Kallsyms, text: &str) -> Result<u64> {
    let running = Running::parse("the guest's kallsyms", text.to_owned())?;
    running.compare(shipped).map_err(|difference| anyhow::anyhow!("{difference}"))
}

/// What a booted guest has in `/proc/kallsyms`; logs are kept in `place`.
fn guest_kallsyms(suite: &Suite, place: &str) -> Result<String> {
    let dir = suite.folder(place)?;
    let packed = dir.join("kallsyms.gz");
    let outcome = qemu::run(&Vm {
        kernel: &suite.target()?.kernel.image,
        initramfs: &initramfs::with_init(INIT, &[])?,
        cpu: Cpu::Max,
        accel: suite.accel()?,
        limit: LIMIT,
        last_line: LAST,
        second_port: Some(&packed),
    })?;
    std::fs::write(dir.join("serial.log"), &outcome.serial)?;
    ensure!(
        outcome.end == End::Done,
        "the boot ended with {:?}; its log is `{place}/serial.log`",
        outcome.end
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&packed)?)
        .read_to_string(&mut text)
        .context("what came out of the guest is damaged")?;
    Ok(text)
}

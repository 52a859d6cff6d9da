//! `kpatch-build image`: what the tool knows of a kernel's image or a module, for people and programs.
//!
//! It shows what is decided upon when a patch is built: the symbols as the kernel counts them, the code
//! that runs, the build-id by which the kernel is known. Bias: it says what the file says, and refuses
//! what the build would refuse.

mod arguments;
mod code;
mod kernel;
mod module;
pub mod report;
mod text;

pub use arguments::ImageArguments;

use std::io;
use std::io::BufWriter;
use std::io::Write;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use shipped_kernel::Module;

use report::ImageReport;

/// Reads the file and prints what was asked for.
///
/// # Errors
/// Refusals about the file; those of `out`, but for a reader that has seen enough.
pub fn run(arguments: &ImageArguments, out: impl Write) -> Result<()> {
    let report = read(arguments)?;
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let mut write = || -> Result<()> {
        if arguments.json {
            out.write_all(report.to_json()?.as_bytes())?;
        } else {
            report.write_text(&mut out)?;
        }
        Ok(out.flush()?)
    };
    match write() {
        Err(error) if is_closed(&error) => Ok(()),
        result => result,
    }
}

/// What is in the file and was asked for.
///
/// # Errors
/// Refusals about the file.
pub fn read(arguments: &ImageArguments) -> Result<ImageReport> {
    let data = std::fs::read(&arguments.file).map_err(|error| {
        let place = Place::object(arguments.file.display().to_string());
        let hint = "name a kernel's image (`/boot/vmlinuz-RELEASE`) or a module";
        Refusal::new(Code::TargetIncomplete, place, format!("cannot be read: {error}"), hint)
    })?;
    if Module::is_one(&data) {
        module::report(arguments, data)
    } else {
        kernel::report(arguments, data)
    }
}

/// `| head`: not a failure.
fn is_closed(error: &anyhow::Error) -> bool {
    let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(closed)
}

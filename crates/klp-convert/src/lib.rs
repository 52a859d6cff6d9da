//! The last step to a livepatch module: placeholders of the intermediate module become livepatch
//! symbols and relocations, and the finished module is checked against the kernel's contract.
//!
//! The input is what kbuild makes of the differ's objects, the glue and the core: an ordinary module
//! with the tables of [`kpatch_elf::livepatch`]. Nothing may touch the module afterwards but a
//! signature: the kernel keeps its symbol indices.
//!
//! Bias: the kernel resolves some mistakes to address 0 in silence or skips a relocation without a
//! word. Whatever is not understood is refused here.

mod code;
mod convert;
mod ibt;
mod late;
mod objtool;
mod placeholders;
mod refuse;
mod verify;
mod verify_file;

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use kpatch_refusal::Refusals;

pub use convert::convert;
pub use ibt::check_indirect_targets;
pub use objtool::check_objtool_ran;
pub use verify::AppliedWith;
pub use verify::Found;
pub use verify::Patches;
pub use verify::Report;
pub use verify::Resolved;
pub use verify::Target;
pub use verify::Where;
pub use verify::modules_named;
pub use verify::verify;
pub use verify::verify_for;
pub use verify_file::KernelFiles;
pub use verify_file::verify_file;

/// Where the ELF header says how many sections there are.
const E_SHNUM: std::ops::Range<usize> = 60..62;

/// Converts the intermediate module at `input` and verifies the result with an independent reader,
/// also against what is known of the `target`. `output` is replaced as a whole at the end, or left
/// alone.
///
/// # Errors
/// [`Refusals`] (to be had by downcast) when the module breaks a rule; any other error when a file
/// cannot be read or written.
pub fn convert_file(input: &Path, output: &Path, target: &Target<'_>) -> Result<Report> {
    let bytes =
        std::fs::read(input).with_context(|| format!("cannot read `{}`", input.display()))?;
    let intermediate = kpatch_elf::read(&bytes)
        .with_context(|| format!("`{}` is not a module", input.display()))?;
    let name = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy();
    let (bytes, report) = finish(&intermediate, target).map_err(|error| placed(error, &name))?;
    persist(output, &bytes)?;
    Ok(report)
}

/// Everything between reading and writing.
fn finish(intermediate: &kpatch_elf::ObjectFile, target: &Target<'_>) -> Result<(Vec<u8>, Report)> {
    let module = convert(intermediate)?;
    let bytes = kpatch_elf::write(&module).context("cannot write the module")?;
    // `e_shnum` is 0 when there are more sections than it can count; the kernel's loader does not
    // look where the number is then (`elf_validity_cache_copy` in `kernel/module/main.c`).
    if bytes[E_SHNUM] == [0, 0] {
        bail!("the module has more sections than the kernel can load: {}", module.sections.len());
    }
    let report = verify_for(&bytes, target)?;
    Ok((bytes, report))
}

/// Names the module in refusals that do not name an object themselves.
fn placed(error: anyhow::Error, name: &str) -> anyhow::Error {
    match error.downcast::<Refusals>() {
        Ok(Refusals(mut all)) => {
            for refusal in &mut all {
                refusal.place.object.get_or_insert_with(|| name.to_owned());
            }
            Refusals(all).into()
        }
        Err(other) => other,
    }
}

fn persist(output: &Path, bytes: &[u8]) -> Result<()> {
    let shown = output.display();
    let directory = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".klp-convert-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any output of a build: the process's umask has the last word.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file =
        builder.tempfile_in(directory).with_context(|| format!("cannot create `{shown}`"))?;
    file.write_all(bytes).with_context(|| format!("cannot write `{shown}`"))?;
    file.as_file().sync_all().with_context(|| format!("cannot write `{shown}`"))?;
    file.persist(output).with_context(|| format!("cannot replace `{shown}`"))?;
    Ok(())
}

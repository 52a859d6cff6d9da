//! Reads the finished module once more, with another ELF reader than the one that wrote it, and
//! checks every rule of the kernel's contract: by itself, and against what is known of the kernel
//! that it is for ([`Target`]). `docs/verify.md` of the project lists the rules, where each comes
//! from and which file here checks it; the tests hold that list against what they break.
//!
//! Bias: rules that the kernel does not enforce, but whose breach it answers with silence (a weak
//! undefined symbol, a section for an object that the patch does not name), are rules here.

mod freed;
mod gate;
mod image;
mod mcount;
mod modinfo;
mod relocations;
mod report;
mod rewritten;
mod symbols;
mod tables;
mod target;
mod trailer;

pub use report::AppliedWith;
pub use report::Found;
pub use report::Patches;
pub use report::Report;
pub use report::Resolved;
pub use report::Where;
pub use target::Target;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::ibt::check_indirect_targets_if;
use crate::objtool::check_objtool_ran;
use crate::refuse::HINT_REPORT;
use image::Image;

/// Verifies a finished livepatch module by itself.
///
/// # Errors
/// All rules that it breaks; only the first if it cannot be parsed.
pub fn verify(bytes: &[u8]) -> Result<Report, Refusals> {
    verify_for(bytes, &Target::default())
}

/// Verifies a finished livepatch module, also against what is known of its kernel.
///
/// # Errors
/// All rules that it breaks; only the first if it, or a part of the kernel, cannot be parsed.
pub fn verify_for(bytes: &[u8], target: &Target<'_>) -> Result<Report, Refusals> {
    let image = Image::parse(bytes).map_err(|refusal| Refusals::from(*refusal))?;
    let mut refusals = Vec::new();
    trailer::check(bytes, image.end, &mut refusals);
    let info = modinfo::check(&image, &mut refusals);
    sections(&image, &mut refusals);
    let names = symbols::check(&image, &mut refusals);
    let applied_with = relocations::check(&image, bytes, &mut refusals);
    rewritten::check(&image, bytes, &mut refusals);
    freed::check(&image, bytes, &mut refusals);
    mcount::check(&image, bytes, &mut refusals);
    let (patched, objects) = tables::check(&image, bytes, &applied_with, &mut refusals);
    gate::check(&image, bytes, &objects, &info, &mut refusals);
    code(&image, &mut refusals);
    built(bytes, target::has_ibt(target)?, &mut refusals);
    let known = (names.as_slice(), patched.as_slice());
    let checked = target::check(&image, bytes, &info, known, target, &mut refusals)?;
    let report = Report {
        name: info.name,
        vermagic: info.vermagic,
        built_for: info.built_for,
        applied_with,
        symbols: checked.symbols,
        functions: checked.functions,
    };
    Refusals::none_or(refusals, report)
}

/// The modules of the kernel that a livepatch module names, to be given to [`verify_for`].
///
/// # Errors
/// The module cannot be parsed.
pub fn modules_named(bytes: &[u8]) -> Result<BTreeSet<String>, Refusals> {
    let image = Image::parse(bytes).map_err(|refusal| Refusals::from(*refusal))?;
    // What is broken is told when the module is verified.
    let ignored = &mut Vec::new();
    let info = modinfo::check(&image, ignored);
    let names = symbols::check(&image, ignored);
    let (patched, _) = tables::check(&image, bytes, &BTreeMap::new(), ignored);
    Ok(target::modules_named(&names, &patched, &info))
}

/// What the build must have done: objtool, and indirect branch tracking where the kernel has it. These
/// checks decode the code through the toolchain's own reader.
fn built(bytes: &[u8], has_ibt: bool, refusals: &mut Vec<Refusal>) {
    match kpatch_elf::read(bytes) {
        Ok(module) => {
            for result in [check_objtool_ran(&module), check_indirect_targets_if(&module, has_ibt)]
            {
                refusals.extend(result.err().into_iter().flat_map(|Refusals(all)| all));
            }
        }
        // Nearly all of it has been refused with a better reason.
        Err(error) if refusals.is_empty() => {
            refusals.push(broken("", format!("the file is not readable: {error}")));
        }
        Err(_) => {}
    }
}

fn broken(symbol: &str, message: impl Into<String>) -> Refusal {
    let mut place = Place::default();
    if !symbol.is_empty() {
        place = place.symbol(symbol);
    }
    Refusal::new(Code::ModuleMalformed, place, message, HINT_REPORT)
}

/// Sections that must or must not be there.
fn sections(image: &Image<'_>, refusals: &mut Vec<Refusal>) {
    for name in [".modinfo", ".gnu.linkonce.this_module"] {
        let count = image.named(name).len();
        if count != 1 {
            refusals.push(broken("", format!("the module has {count} sections `{name}`, not 1")));
        }
    }
    for section in &image.sections {
        if section.name.starts_with(".kpatch.placeholder") {
            let message = format!("`{}` is left of the intermediate module", section.name);
            refusals.push(broken("", message));
        }
        // `arch/x86/include/asm/runtime-const.h`: only vmlinux's are ever processed.
        let runtime = ["runtime_ptr_", "runtime_shift_", "runtime_mask_"];
        if section.is_loaded() && runtime.iter().any(|p| section.name.starts_with(p)) {
            refusals.push(Refusal::new(
                Code::RuntimeConst,
                Place::default().symbol(section.name),
                "the module lists constants that only boot code fixes",
                "patch a caller instead",
            ));
        }
    }
}

/// The dummy of `runtime_const_ptr` (`arch/x86/include/asm/runtime-const.h`): `movabs $imm64`.
fn code(image: &Image<'_>, refusals: &mut Vec<Refusal>) {
    const DUMMY: [u8; 8] = 0x0123_4567_89ab_cdef_u64.to_le_bytes();
    for section in image.sections.iter().filter(|s| s.is_code()) {
        for (offset, bytes) in section.data.windows(10).enumerate() {
            let movabs = matches!(bytes[0], 0x48 | 0x49) && matches!(bytes[1], 0xb8..=0xbf);
            if movabs && bytes[2..] == DUMMY {
                refusals.push(Refusal::new(
                    Code::RuntimeConst,
                    Place::default().symbol(section.name),
                    format!(
                        "a constant at offset {offset:#x} is the dummy that only boot code fixes"
                    ),
                    "patch a caller instead",
                ));
            }
        }
    }
}

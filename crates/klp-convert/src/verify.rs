//! Reads the finished module once more, with another ELF reader than the one that wrote it, and
//! checks every rule of the kernel's contract that can be checked without the kernel's image:
//! `Documentation/livepatch/module-elf-format.rst`, `kernel/module/main.c`,
//! `kernel/livepatch/core.c`, `arch/x86/kernel/module.c`.
//!
//! Bias: rules that the kernel does not enforce, but whose breach it answers with silence (a weak
//! undefined symbol, a section for an object that the patch does not name), are rules here.

mod image;
mod modinfo;
mod relocations;
mod symbols;
mod tables;

use std::collections::BTreeMap;
use std::fmt;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::refuse::HINT_REPORT;
use image::Image;

/// What a verified module holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name of the module, from `.modinfo`.
    pub name: String,
    /// The kernel that it is for, from `.modinfo`.
    pub vermagic: String,
    /// Livepatch relocations by the object whose loading applies them.
    pub applied_with: BTreeMap<String, AppliedWith>,
    /// All livepatch symbols, `.klp.sym.<object>.<name>,<position>`, sorted.
    pub symbols: Vec<String>,
    /// Patched functions that the table for the core names, 0 without a table.
    pub functions: usize,
}

/// The livepatch relocations of one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppliedWith {
    /// Number of sections.
    pub sections: usize,
    /// Number of relocations in them.
    pub relocations: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "livepatch module `{}` for {}", self.name, self.vermagic)?;
        for (object, counts) in &self.applied_with {
            writeln!(
                f,
                "  {} relocation(s) in {} section(s) applied with `{object}`",
                counts.relocations, counts.sections
            )?;
        }
        for symbol in &self.symbols {
            writeln!(f, "  {symbol}")?;
        }
        write!(f, "  {} patched function(s) in the table", self.functions)
    }
}

/// Verifies a finished livepatch module.
///
/// # Errors
/// All rules that it breaks; only the first if it cannot be parsed.
pub fn verify(bytes: &[u8]) -> Result<Report, Refusals> {
    let image = Image::parse(bytes).map_err(|refusal| Refusals::from(*refusal))?;
    let mut refusals = Vec::new();
    let info = modinfo::check(&image, &mut refusals);
    sections(&image, &mut refusals);
    let names = symbols::check(&image, &mut refusals);
    let applied_with = relocations::check(&image, bytes, &mut refusals);
    let functions = tables::check(&image, bytes, &applied_with, &mut refusals);
    code(&image, &mut refusals);
    let report = Report {
        name: info.name,
        vermagic: info.vermagic,
        applied_with,
        symbols: names,
        functions,
    };
    Refusals::none_or(refusals, report)
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

//! The module against the kernel that it is for: what the shipped image and modules say.
//!
//! Bias: what the kernel would not find, or not find for certain, is refused here; a part of the
//! kernel that nobody gave is told to be unknown in the report.

mod exports;
mod functions;
mod lookup;
mod reach;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::EndbrSeals;
use shipped_kernel::Exports;
use shipped_kernel::FtraceSites;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::TextRanges;
use shipped_kernel::tables;

use super::image::Image as File;
use super::modinfo::ModInfo;
use super::modinfo::THIS_MODULE;
use super::report::Patches;
use super::report::Resolved;
use super::tables::Patched;

/// What is known of the kernel that a module is for; by default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// Its image and the symbols in it.
    pub kernel: Option<(&'a Image, &'a Kallsyms)>,
    /// Its modules by name. If there are any, all that the livepatch names must be among them.
    pub modules: Option<&'a BTreeMap<String, Module>>,
    /// What `Module.symvers` lists; without it image and modules are asked.
    pub exports: Option<&'a Exports>,
}

/// The tables of image and modules.
struct Shipped<'a> {
    target: Target<'a>,
    kernel: Option<Kernel<'a>>,
    modules: BTreeMap<&'a str, (FtraceSites, EndbrSeals)>,
}

struct Kernel<'a> {
    image: &'a Image,
    kallsyms: &'a Kallsyms,
    sites: FtraceSites,
    text: TextRanges,
    seals: EndbrSeals,
}

impl<'a> Shipped<'a> {
    fn of(target: Target<'a>) -> Result<Self, Refusals> {
        let mut kernel = None;
        if let Some((image, kallsyms)) = target.kernel {
            let sites = FtraceSites::of_image(image, kallsyms)?;
            let text = TextRanges::of_image(image, kallsyms)?;
            let seals = EndbrSeals::of_image(image, kallsyms)?;
            kernel = Some(Kernel { image, kallsyms, sites, text, seals });
        }
        let mut modules = BTreeMap::new();
        for (name, module) in target.modules.into_iter().flatten() {
            let tables = (FtraceSites::of_module(module)?, EndbrSeals::of_module(module)?);
            modules.insert(name.as_str(), tables);
        }
        Ok(Self { target, kernel, modules })
    }
}

/// What the report tells of the kernel.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) symbols: Vec<Resolved>,
    pub(super) functions: Vec<Patches>,
}

/// Whether the target tracks indirect branches, if that is known.
pub(super) fn has_ibt(target: &Target<'_>) -> Result<bool, Refusals> {
    let Some((image, kallsyms)) = target.kernel else { return Ok(false) };
    Ok(!EndbrSeals::of_image(image, kallsyms)?.is_empty())
}

/// Checks the module against all that is known.
pub(super) fn check(
    file: &File<'_>,
    bytes: &[u8],
    info: &ModInfo,
    (names, patched): (&[String], &[Patched]),
    target: &Target<'_>,
    refusals: &mut Vec<Refusal>,
) -> Result<Checked, Refusals> {
    let shipped = Shipped::of(*target)?;
    built_for(file, info, target, refusals)?;
    exports::check(file, info, target, refusals)?;
    let mut checked = Checked::default();
    for name in names {
        // A malformed name is refused with the symbol table.
        let Ok(symbol) = LivepatchSymbol::parse(name) else { continue };
        let found = lookup::find(target, &symbol.object, &symbol.name, symbol.position.into());
        let found = found.unwrap_or_else(|message| {
            refusals.push(not_there(name, message));
            None
        });
        checked.symbols.push(Resolved { name: name.clone(), found: found.map(|f| f.shown()) });
    }
    for patched in patched {
        checked.functions.push(functions::check(&shipped, patched, refusals));
    }
    reach::check(file, bytes, &shipped, refusals);
    Ok(checked)
}

fn not_there(name: &str, message: String) -> Refusal {
    let hint = "build the patch for exactly this kernel; name its own image and modules";
    Refusal::new(Code::NotForKernel, Place::default().symbol(name), message, hint)
}

/// Version magic and the size of `struct module` are the kernel's.
fn built_for(
    file: &File<'_>,
    info: &ModInfo,
    target: &Target<'_>,
    refusals: &mut Vec<Refusal>,
) -> Result<(), Refusals> {
    let modules = || target.modules.into_iter().flatten();
    let mut known = BTreeSet::new();
    if let Some((image, kallsyms)) = target.kernel {
        known.extend(tables::vermagic(image, kallsyms)?);
        // Without the image's own string the release has to do.
        let release = format!("{} ", image.banner.release);
        if !info.vermagic.starts_with(&release) {
            known.insert(release);
        }
    }
    known.extend(modules().map(|(_, module)| module.vermagic.clone()));
    for vermagic in known.iter().filter(|vermagic| **vermagic != info.vermagic) {
        let message = format!("the module is for `{}`, the kernel is `{vermagic}`", info.vermagic);
        refusals.push(not_there(THIS_MODULE, message));
    }
    let size = |index: usize| file.sections[index].data.len();
    let ours = file.named(THIS_MODULE).first().map(|index| size(*index));
    for (name, module) in modules() {
        let section = module.sections_named(THIS_MODULE).next();
        let theirs = section.and_then(|index| module.section_data(index)).map(<[u8]>::len);
        if theirs != ours {
            // `elf_validity_cache_index_mod` compares with `sizeof(struct module)`.
            let message = format!(
                "`struct module` has {} bytes, that of `{name}` has {}",
                ours.unwrap_or(0),
                theirs.unwrap_or(0)
            );
            refusals.push(not_there(THIS_MODULE, message));
        }
    }
    Ok(())
}

/// The modules that a module names: those of livepatch symbols and patched functions, and those that
/// have to be loaded before it.
pub(super) fn modules_named(
    names: &[String],
    patched: &[Patched],
    info: &ModInfo,
) -> BTreeSet<String> {
    let symbols = names.iter().filter_map(|name| LivepatchSymbol::parse(name).ok());
    let mut all: BTreeSet<String> = symbols.map(|symbol| symbol.object).collect();
    all.extend(patched.iter().map(|patched| patched.object.clone()));
    all.extend(info.depends.iter().cloned());
    all.remove(VMLINUX);
    all
}

//! Ordinary undefined symbols, which the loader resolves by the exports of kernel and modules
//! (`resolve_symbol` in `kernel/module/main.c`), and the CRCs of their types (`check_version` in
//! `kernel/module/version.c`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use goblin::elf::section_header::SHN_UNDEF;
use goblin::elf::sym::STB_WEAK;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::Export;
use shipped_kernel::Exports;
use shipped_kernel::tables::exports;

use super::Target;
use super::not_there;
use crate::verify::image::Image as File;
use crate::verify::modinfo::ModInfo;

/// Size of `struct modversion_info`: CRC in 8 bytes, name.
const VERSION: usize = 64;
/// What stands for the layout of `struct module` (`check_modstruct_version`).
const LAYOUT: &str = "module_layout";

/// Checks all ordinary undefined symbols, as far as exports are known.
pub(super) fn check(
    file: &File<'_>,
    info: &ModInfo,
    target: &Target<'_>,
    refusals: &mut Vec<Refusal>,
) -> Result<(), Refusals> {
    let Some(known) = Known::of(target)? else { return Ok(()) };
    let versions = versions(file);
    let undefined = file.symbols.iter().skip(1).filter(|symbol| {
        symbol.raw.st_shndx == SHN_UNDEF as usize
            && symbol.raw.st_bind() != STB_WEAK
            && !symbol.name.is_empty()
    });
    for name in undefined.map(|symbol| symbol.name) {
        match known.exports.get(name) {
            Some(export) => {
                refusals.extend(unusable(name, export, info));
                refusals.extend(wrong_version(name, export, &versions));
            }
            // It may be an export of a module that nobody gave.
            None if !known.complete && !info.depends.is_empty() => {}
            None => refusals.push(not_there(name, "neither kernel nor modules export it".into())),
        }
    }
    if let Some(export) = known.exports.get(LAYOUT) {
        refusals.extend(wrong_version(LAYOUT, export, &versions));
    }
    Ok(())
}

/// What is known of exports.
struct Known<'a> {
    exports: Cow<'a, Exports>,
    /// Whether those of all modules are.
    complete: bool,
}

impl<'a> Known<'a> {
    fn of(target: &Target<'a>) -> Result<Option<Self>, Refusals> {
        if let Some(listed) = target.exports {
            return Ok(Some(Self { exports: Cow::Borrowed(listed), complete: true }));
        }
        let Some((image, kallsyms)) = target.kernel else { return Ok(None) };
        let mut all = exports::of_image(image, kallsyms)?;
        for module in target.modules.into_iter().flatten().map(|(_, module)| module) {
            all.extend(exports::of_module(module)?);
        }
        Ok(Some(Self { exports: Cow::Owned(all), complete: target.modules.is_some() }))
    }
}

/// Why the module may not use an export that there is.
fn unusable(name: &str, export: &Export, info: &ModInfo) -> Option<Refusal> {
    let exporter = &export.module;
    if exporter != VMLINUX && !info.depends.contains(exporter) {
        let message =
            format!("`{exporter}` exports it, which need not be loaded before the module");
        return Some(not_there(name, message));
    }
    let namespace = export.namespace.as_ref()?;
    (!info.imports.contains(namespace)).then(|| {
        let message = format!("it is exported in namespace `{namespace}`, which is not imported");
        not_there(name, message)
    })
}

/// The CRC of an export, if it has one, is the one that the module was built with.
fn wrong_version(name: &str, export: &Export, versions: &BTreeMap<String, u32>) -> Option<Refusal> {
    let message = match versions.get(name) {
        // Without CONFIG_MODVERSIONS nothing has a CRC.
        _ if export.crc == 0 => return None,
        Some(crc) if *crc == export.crc => return None,
        Some(crc) => {
            format!("the module has CRC {crc:#010x} of it, the kernel has {:#010x}", export.crc)
        }
        None => "the module has no CRC of it".to_owned(),
    };
    Some(not_there(name, message))
}

/// The CRCs in the module: `__versions`, and since 6.14 also, or instead, `__version_ext_crcs` with
/// names in `__version_ext_names`.
fn versions(file: &File<'_>) -> BTreeMap<String, u32> {
    let data =
        |name: &str| file.named(name).first().map_or(&[][..], |index| file.sections[*index].data);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let word = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?));
    let names = data("__version_ext_names").split(|byte| *byte == 0);
    let crcs = data("__version_ext_crcs").chunks_exact(4);
    let mut all: BTreeMap<String, u32> =
        names.zip(crcs).filter_map(|(name, crc)| Some((text(name), word(crc)?))).collect();
    for record in data("__versions").chunks_exact(VERSION) {
        let name = record[8..].split(|byte| *byte == 0).next().unwrap_or_default();
        if let Some(crc) = word(record) {
            all.insert(text(name), crc);
        }
    }
    all
}

//! What the image and its modules export, by their own tables, and whether `Module.symvers` says the
//! same.
//!
//! Source: `struct kernel_symbol` in kernel/module/internal.h, three 32-bit distances, each from its
//! own place: value, name, namespace (since 5.4); include/linux/export-internal.h;
//! `find_exported_symbol_in_section` in kernel/module/main.c. GPL-only symbols have tables of their
//! own up to 6.x, in 7.x one table has all and `__kflagstab` a byte of flags for each. Bias: a module
//! that is linked by another list than the kernel's loads with wrong types or not at all, so every
//! difference counts.

use std::collections::BTreeMap;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use super::i32s;
use super::table;
use crate::image::Image;
use crate::image::unreadable;
use crate::kallsyms::Kallsyms;
use crate::modules;
use crate::modules::Module;
use crate::symvers::Export;
use crate::symvers::Exports;

/// Size of `struct kernel_symbol` in bytes.
const ENTRY: usize = 12;
/// Where the distances to name and namespace are in it.
const NAME: u64 = 4;
const NAMESPACE: u64 = 8;
/// `KSYM_FLAG_GPL_ONLY` in include/linux/module_symbol.h (7.x).
const GPL_ONLY: u8 = 1;
/// Longest name (KSYM_NAME_LEN).
const NAME_LIMIT: usize = 512;
/// How many differences a refusal names.
const SHOWN: usize = 5;

/// One table with what belongs to it, each in the order of the table.
#[derive(Debug, Clone, Copy)]
struct Tables<'a> {
    symbols: &'a [u8],
    crcs: &'a [u8],
    /// Empty if there are none.
    flags: &'a [u8],
    gpl: bool,
}

impl Tables<'_> {
    /// Adds all exports; `name_at` gives the string to which the distance at a place leads.
    fn read(
        &self,
        module: &str,
        name_at: impl Fn(u64) -> Option<String>,
        exports: &mut Exports,
    ) -> Result<(), String> {
        let count = self.symbols.len() / ENTRY;
        let damaged = self.symbols.len() % ENTRY != 0
            // Without CONFIG_MODVERSIONS there are none.
            || ![0, 4 * count].contains(&self.crcs.len())
            || ![0, count].contains(&self.flags.len());
        if damaged {
            return Err("its tables of exports do not fit together".to_string());
        }
        let mut crcs = i32s(self.crcs).map(|crc| u32::from_ne_bytes(crc.to_ne_bytes()));
        for index in 0..count {
            let at = (index * ENTRY) as u64;
            let name = name_at(at + NAME).filter(|name| !name.is_empty());
            let (Some(name), Some(namespace)) = (name, name_at(at + NAMESPACE)) else {
                return Err(format!("entry {index} of its exports has no readable name"));
            };
            let export = Export {
                crc: crcs.next().unwrap_or(0),
                module: module.to_string(),
                gpl: self.gpl || self.flags.get(index).is_some_and(|flags| flags & GPL_ONLY != 0),
                namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
            };
            if exports.insert(name.clone(), export).is_some() {
                return Err(format!("it exports `{name}` twice"));
            }
        }
        Ok(())
    }
}

/// What the image exports.
///
/// # Errors
/// [`Code::ImageUnreadable`] if there is no table, or the tables contradict themselves.
pub fn of_image(image: &Image, kallsyms: &Kallsyms) -> Result<Exports, Refusals> {
    let refuse = |message: String| unreadable(&image.name, message);
    let find = |name: &str| {
        let markers = (format!("__start_{name}"), format!("__stop_{name}"));
        let found = table(image, kallsyms, (&markers.0, &markers.1))?;
        Ok::<_, Refusals>(found.unwrap_or_default())
    };
    let flags = find("__kflagstab")?.1;
    let mut exports = BTreeMap::new();
    for (symbols, crcs, flags, gpl) in [
        ("__ksymtab", "__kcrctab", flags, false),
        ("__ksymtab_gpl", "__kcrctab_gpl", &[][..], true),
    ] {
        let (start, symbols) = find(symbols)?;
        let tables = Tables { symbols, crcs: find(crcs)?.1, flags, gpl };
        let name_at = |at: u64| {
            let place = start.checked_add(at)?;
            let distance = i32s(image.bytes_at(place, 4)?).next()?;
            string(image.bytes_from(place.checked_add_signed(distance.into())?)?)
        };
        tables.read("vmlinux", name_at, &mut exports).map_err(refuse)?;
    }
    if exports.is_empty() {
        return Err(refuse("it has no table of exports (`__ksymtab`)".to_string()));
    }
    Ok(exports)
}

/// What a module exports; it may be nothing.
///
/// # Errors
/// [`Code::TargetIncomplete`] if the tables cannot be read or contradict themselves.
pub fn of_module(module: &Module) -> Result<Exports, Refusals> {
    let refuse = |message: String| modules::refuse(Place::object(&module.name), message);
    let section = |name: &str| module.sections_named(name).next();
    let data =
        |name: &str| section(name).and_then(|at| module.section_data(at)).unwrap_or_default();
    let mut exports = BTreeMap::new();
    for (symbols, crcs, flags, gpl) in [
        ("__ksymtab", "__kcrctab", data("__kflagstab"), false),
        ("__ksymtab_gpl", "__kcrctab_gpl", &[][..], true),
    ] {
        let Some(index) = section(symbols) else { continue };
        if section(crcs)
            .is_some_and(|crcs| module.relocations(crcs).is_ok_and(|all| !all.is_empty()))
        {
            return Err(refuse(format!("its `{crcs}` has relocations, which is not supported")));
        }
        let targets: BTreeMap<u64, _> = module
            .relocations(index)?
            .iter()
            .map(|relocation| (relocation.offset, module.target(relocation)))
            .collect();
        let tables = Tables { symbols: data(symbols), crcs: data(crcs), flags, gpl };
        let name_at = |at: u64| {
            let (section, offset) = (*targets.get(&at)?)?;
            string(module.section_data(section)?.get(usize::try_from(offset).ok()?..)?)
        };
        tables.read(&module.name, name_at, &mut exports).map_err(refuse)?;
    }
    Ok(exports)
}

fn string(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().take(NAME_LIMIT).position(|byte| *byte == 0)?;
    Some(std::str::from_utf8(&bytes[..end]).ok()?.to_owned())
}

/// Compares what `object` (`vmlinux` or a module) exports with what is listed of it.
///
/// # Errors
/// [`Code::ExportsMismatch`], with the number of differences and the first few.
pub fn compare(object: &str, shipped: &Exports, listed: &Exports) -> Result<(), Refusals> {
    let mut differences: Vec<String> = shipped
        .iter()
        .filter_map(|(name, export)| {
            let difference = difference(export, listed.get(name))?;
            Some(format!("`{name}` {difference}"))
        })
        .collect();
    let of_object = listed.iter().filter(|(_, export)| export.module == object);
    differences.extend(
        of_object
            .filter(|(name, _)| !shipped.contains_key(*name))
            .map(|(name, _)| format!("`{name}` is listed, but not exported")),
    );
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let shown = differences[..differences.len().min(SHOWN)].join(", ");
    let message = format!("the exports are not those that `Module.symvers` lists: {shown}{more}");
    let hint = "take image, modules and headers of exactly the same version of the packages";
    Err(Refusal::new(Code::ExportsMismatch, Place::object(object), message, hint).into())
}

/// How an export is not as listed.
fn difference(shipped: &Export, listed: Option<&Export>) -> Option<String> {
    let Some(listed) = listed else { return Some("is exported, but not listed".to_string()) };
    if shipped.module != listed.module {
        return Some(format!("is listed for `{}`", listed.module));
    }
    if shipped.crc != listed.crc {
        return Some(format!("has CRC {:#010x}, listed is {:#010x}", shipped.crc, listed.crc));
    }
    if shipped.gpl != listed.gpl {
        return Some(format!("is {}for GPL modules only", if shipped.gpl { "" } else { "not " }));
    }
    if shipped.namespace != listed.namespace {
        let namespace = |export: &Export| export.namespace.clone().unwrap_or_default();
        return Some(format!(
            "is in namespace `{}`, listed is `{}`",
            namespace(shipped),
            namespace(listed)
        ));
    }
    None
}

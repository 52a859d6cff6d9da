//! `Module.symvers`: what the shipped kernel and its modules export.
//!
//! The format is modpost's (scripts/mod/modpost.c, `write_dump`): CRC, symbol, module, kind of
//! export, namespace, separated by tabs; before 5.4 without a namespace, in 5.4 and 5.5 with the
//! namespace in front of the module. Bias: a line that is not of this form is an error, since a
//! missing export would silently turn into a livepatch symbol.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// One exported symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The CRC of its type (CONFIG_MODVERSIONS), 0 without.
    pub crc: u32,
    /// `vmlinux`, or the module as the kernel names it: without path, `_` for `-`.
    pub module: String,
    /// Exported to modules with a GPL-compatible licence only.
    pub gpl: bool,
    /// The namespace that a module has to import.
    pub namespace: Option<String>,
}

/// All exports by name.
pub type Exports = BTreeMap<String, Export>;

/// Reads a `Module.symvers` file.
///
/// # Errors
/// [`Code::TargetIncomplete`] if it cannot be read or a line is malformed.
pub fn read(path: &Path) -> Result<Exports, Refusals> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        refuse(Place::file(&name), format!("the kernel's exports cannot be read: {error}"))
    })?;
    parse(&name, &text)
}

/// Parses the text of a `Module.symvers`; `name` is for messages.
///
/// # Errors
/// [`Code::TargetIncomplete`] for a malformed line, a symbol exported twice, or no line at all.
pub fn parse(name: &str, text: &str) -> Result<Exports, Refusals> {
    let mut exports = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let place = || Place::file(name).line(u32::try_from(index + 1).unwrap_or(u32::MAX));
        let (symbol, export) = parse_line(line)
            .ok_or_else(|| refuse(place(), "is not a line of `Module.symvers`".to_string()))?;
        if exports.insert(symbol.to_string(), export).is_some() {
            return Err(refuse(place(), format!("`{symbol}` is exported twice")));
        }
    }
    if exports.is_empty() {
        return Err(refuse(Place::file(name), "lists no exports".to_string()));
    }
    Ok(exports)
}

/// The kernel's name of a module: without directory, `_` for `-`.
pub fn module_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).replace('-', "_")
}

fn parse_line(line: &str) -> Option<(&str, Export)> {
    let mut fields = line.split('\t');
    let crc = u32::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    let symbol = fields.next().filter(|symbol| !symbol.is_empty())?;
    let (module, kind) = (fields.next()?, fields.next()?);
    let fifth = fields.next();
    let (module, kind, namespace) = match fifth {
        // 5.4 and 5.5.
        Some(last) if last.starts_with("EXPORT_") => (kind, last, Some(module)),
        namespace => (module, kind, namespace),
    };
    let gpl = match kind {
        "EXPORT_SYMBOL" | "EXPORT_UNUSED_SYMBOL" => false,
        // The others are of kernels before 5.12.
        "EXPORT_SYMBOL_GPL" | "EXPORT_UNUSED_SYMBOL_GPL" | "EXPORT_SYMBOL_GPL_FUTURE" => true,
        _ => return None,
    };
    if module.is_empty() {
        return None;
    }
    let namespace = namespace.filter(|namespace| !namespace.is_empty()).map(str::to_string);
    if fields.next().is_some() {
        return None;
    }
    Some((symbol, Export { crc, module: module_name(module), gpl, namespace }))
}

fn refuse(place: Place, message: String) -> Refusals {
    let hint = "give the `Module.symvers` of the kernel's headers package";
    Refusal::new(Code::TargetIncomplete, place, message, hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Mutations;

    const TEXT: &str = "0xf7370f56\tsystem_state\tvmlinux\tEXPORT_SYMBOL\t\n\
        0x3c804b25\tcpu_cache\tvmlinux\tEXPORT_SYMBOL_GPL\tDEVMEM\n\
        0x00000001\tkvm_x\tarch/x86/kvm/kvm-intel\tEXPORT_SYMBOL_GPL\n";

    #[test]
    fn reads_all_fields() {
        let exports = parse("Module.symvers", TEXT).unwrap();
        let export = |crc, module: &str, gpl, namespace: Option<&str>| Export {
            crc,
            module: module.to_string(),
            gpl,
            namespace: namespace.map(str::to_string),
        };
        assert_eq!(exports.len(), 3);
        assert_eq!(exports["system_state"], export(0xf737_0f56, "vmlinux", false, None));
        assert_eq!(exports["cpu_cache"], export(0x3c80_4b25, "vmlinux", true, Some("DEVMEM")));
        assert_eq!(exports["kvm_x"], export(1, "kvm_intel", true, None));
    }

    #[test]
    fn reads_the_older_forms() {
        let text = "0x1\told\tvmlinux\tEXPORT_SYMBOL\n\
            0x2\tspaced\tDEVMEM\tdrivers/x-y\tEXPORT_SYMBOL_GPL\n\
            0x3\tplain\t\tvmlinux\tEXPORT_SYMBOL\n";
        let exports = parse("Module.symvers", text).unwrap();
        let fields = |name: &str| {
            let export = &exports[name];
            (export.module.as_str(), export.gpl, export.namespace.as_deref())
        };
        assert_eq!(fields("old"), ("vmlinux", false, None));
        assert_eq!(fields("spaced"), ("x_y", true, Some("DEVMEM")));
        assert_eq!(fields("plain"), ("vmlinux", false, None));
    }

    #[test]
    fn malformed_lines_are_named() {
        for bad in [
            "0x1\tfoo\tvmlinux\tEXPORT_UNUSED\t",
            "1\tfoo\tvmlinux\tEXPORT_SYMBOL\t",
            "0x1\t\tvmlinux\tEXPORT_SYMBOL\t",
            "0x1\tfoo\tvmlinux\tEXPORT_SYMBOL\t\tmore",
            "0x1\tsystem_state\tvmlinux\tEXPORT_SYMBOL\t",
            "",
        ] {
            let Refusals(all) = parse("Module.symvers", &format!("{TEXT}{bad}\n")).unwrap_err();
            assert_eq!(all[0].code, Code::TargetIncomplete);
            assert_eq!(all[0].place.line, Some(4), "{bad}");
        }
        assert!(parse("Module.symvers", "").is_err());
    }

    #[test]
    fn damaged_text_never_panics() {
        for data in Mutations::of(TEXT.as_bytes(), 300) {
            if let Ok(exports) = parse("Module.symvers", &String::from_utf8_lossy(&data)) {
                assert!(!exports.is_empty());
            }
        }
    }
}

//! `.modinfo`: livepatch mark, licence, version magic, name.

use goblin::elf::section_header::SHT_PROGBITS;
use kpatch_elf::livepatch::BUILD_ID_CHECK;
use kpatch_elf::livepatch::BUILT_FOR;
use kpatch_elf::livepatch::OBJECT_NAME_MAX;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;

/// `license_is_gpl_compatible` in `include/linux/license.h`: others cannot use `klp_enable_patch`.
const GPL: &[&str] =
    &["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// Where kbuild puts `struct module`.
pub(super) const THIS_MODULE: &str = ".gnu.linkonce.this_module";

/// What the report tells.
pub(super) struct ModInfo {
    pub(super) name: String,
    pub(super) vermagic: String,
    /// Modules that have to be loaded before, as the kernel names them.
    pub(super) depends: Vec<String>,
    /// Namespaces whose exports the module may use.
    pub(super) imports: Vec<String>,
    /// Values of [`BUILT_FOR`].
    pub(super) built_for: Vec<String>,
    /// Value of [`BUILD_ID_CHECK`].
    pub(super) build_id_check: Option<String>,
}

/// Where `struct module` has the name (`include/linux/module.h`): behind the state and a list head.
const NAME_IN_MODULE: usize = 24;

/// Checks `.modinfo`.
pub(super) fn check(image: &Image<'_>, refusals: &mut Vec<Refusal>) -> ModInfo {
    let data = image.named(".modinfo").first().map_or(&[][..], |i| image.sections[*i].data);
    let entries: Vec<(&str, &str)> = data
        .split(|b| *b == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .collect();
    let value = |key: &str| entries.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    if value("livepatch").is_none() {
        refusals.push(broken("", "`.modinfo` does not mark the module as livepatch module"));
    }
    match value("license") {
        Some(license) if GPL.contains(&license) => {}
        Some(license) => {
            let message = format!("the licence `{license}` is not compatible with the GPL");
            refusals.push(broken("", message));
        }
        None => refusals.push(broken("", "`.modinfo` names no licence")),
    }
    if value("vermagic").is_none() {
        refusals.push(broken("", "`.modinfo` does not say which kernel the module is for"));
    }
    match value("name") {
        Some(name) if name.len() > OBJECT_NAME_MAX => refusals.push(Refusal::new(
            Code::NameTooLong,
            Place::default(),
            format!("the module name `{name}` has more than {OBJECT_NAME_MAX} characters"),
            "give the patch a shorter name",
        )),
        Some(name) if name.is_empty() || name == VMLINUX => {
            refusals.push(broken("", format!("the module cannot be named `{name}`")));
        }
        Some(name) => this_module(image, name, refusals),
        None => refusals.push(broken("", "`.modinfo` does not name the module")),
    }
    let text = |key| value(key).unwrap_or_default().to_owned();
    let depends = text("depends");
    let depends = depends.split(',').filter(|name| !name.is_empty()).map(|n| n.replace('-', "_"));
    let imports = entries.iter().filter(|(key, _)| *key == "import_ns");
    let built_for = entries.iter().filter(|(key, _)| *key == BUILT_FOR);
    ModInfo {
        name: text("name"),
        vermagic: text("vermagic"),
        built_for: built_for.map(|(_, value)| String::from(*value)).collect(),
        build_id_check: value(BUILD_ID_CHECK).map(str::to_owned),
        depends: depends.collect(),
        imports: imports.map(|(_, namespace)| (*namespace).to_owned()).collect(),
    }
}

/// `struct module` is loaded, has bytes, and names the module as `.modinfo` does: the one is the name
/// under which the module lives, the other that of messages (`elf_validity_cache_index_mod`).
fn this_module(image: &Image<'_>, name: &str, refusals: &mut Vec<Refusal>) {
    let [index] = image.named(THIS_MODULE)[..] else { return };
    let section = &image.sections[index];
    if section.header.sh_type != SHT_PROGBITS || !section.is_loaded() || section.data.is_empty() {
        refusals.push(broken("", format!("`{THIS_MODULE}` is not loaded data")));
        return;
    }
    let field = section.data.get(NAME_IN_MODULE..).unwrap_or_default();
    let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
    if field != name.as_bytes() {
        let field = String::from_utf8_lossy(field);
        let message = format!("`.modinfo` names the module `{name}`, `{THIS_MODULE}` `{field}`");
        refusals.push(broken("", message));
    }
}

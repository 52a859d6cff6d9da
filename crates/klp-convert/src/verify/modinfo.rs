//! `.modinfo`: livepatch mark, licence, version magic, name.

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

/// What the report tells.
pub(super) struct ModInfo {
    pub(super) name: String,
    pub(super) vermagic: String,
}

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
        Some(_) => {}
        None => refusals.push(broken("", "`.modinfo` does not name the module")),
    }
    let text = |key| value(key).unwrap_or_default().to_owned();
    ModInfo { name: text("name"), vermagic: text("vermagic") }
}

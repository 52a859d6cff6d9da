//! The build-id gate, `.kpatch.gate`: a module has none, or a whole one. A gate that misses an object
//! would make the in-kernel core refuse everything, or let a module in unseen.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use goblin::elf::reloc::R_X86_64_64;
use kpatch_elf::livepatch::BUILD_ID_CHECK;
use kpatch_elf::livepatch::BUILD_ID_MAX;
use kpatch_elf::livepatch::BUILT_FOR;
use kpatch_elf::livepatch::GATE;
use kpatch_elf::livepatch::GATE_RECORD;
use kpatch_elf::livepatch::GATE_SIZE_AT;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::NOTES;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;
use super::modinfo::ModInfo;
use super::tables::Record;
use super::tables::records;
use super::tables::string;

/// Checks the gate of a module that patches `objects`, and that `.modinfo` says the same.
pub(super) fn check(
    image: &Image<'_>,
    bytes: &[u8],
    objects: &BTreeSet<String>,
    info: &ModInfo,
    refusals: &mut Vec<Refusal>,
) {
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    let records = records(image, bytes, GATE, GATE_RECORD, refusals);
    for (index, record) in records.iter().enumerate() {
        let mut wrong = |what: &str| {
            refusals.push(broken("", format!("record {index} of `{GATE}` {what}")));
        };
        let Some(name) = record.field(0).and_then(|r| string(image, r)).filter(|n| !n.is_empty())
        else {
            wrong("has no object name");
            continue;
        };
        let id = build_id(record).unwrap_or_default();
        if id.is_empty() {
            wrong("has no build-id");
        }
        if ids.insert(name, id).is_some() {
            wrong(&format!("is the second of `{name}`"));
        }
        if name != VMLINUX && [8, 16].iter().any(|at| record.field(*at).is_some()) {
            wrong("has notes, but is not the kernel's");
        }
        if name == VMLINUX && !has_notes(image, record) {
            wrong("does not say where the kernel's notes are");
        }
    }
    if !records.is_empty() {
        // The kernel is among the objects, whatever is patched.
        for object in objects.iter().filter(|object| !ids.contains_key(object.as_str())) {
            refusals.push(broken("", format!("`{GATE}` has no record of `{object}`")));
        }
        for name in ids.keys().filter(|name| !objects.contains(**name)) {
            let message = format!("`{GATE}` has a record of `{name}`, which is not patched");
            refusals.push(broken("", message));
        }
        if info.build_id_check.is_some() {
            let message = format!("`.modinfo` has `{BUILD_ID_CHECK}`, but build-ids are checked");
            refusals.push(broken("", message));
        }
    }
    let checked: BTreeSet<String> = ids.iter().map(|(name, id)| format!("{name}:{id}")).collect();
    let told: BTreeSet<String> = info.built_for.iter().cloned().collect();
    for line in checked.symmetric_difference(&told) {
        let message = format!("`{BUILT_FOR}={line}` is in one of `{GATE}` and `.modinfo` only");
        refusals.push(broken("", message));
    }
}

/// The build-id in hexadecimal digits.
fn build_id(record: &Record<'_>) -> Option<String> {
    let (size, id) = record.data.get(GATE_SIZE_AT..)?.split_first_chunk::<8>()?;
    let size = usize::try_from(u64::from_le_bytes(*size)).ok()?;
    let (id, rest) = id.get(..BUILD_ID_MAX)?.split_at_checked(size)?;
    let whole = size > 0 && rest.iter().all(|byte| *byte == 0);
    let relocated = (GATE_SIZE_AT..GATE_RECORD).any(|at| record.field(at as u64).is_some());
    (whole && !relocated).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether both pointers are to the symbols of the kernel that they should be to.
fn has_notes(image: &Image<'_>, record: &Record<'_>) -> bool {
    NOTES.iter().zip([8, 16]).all(|(name, at)| {
        let relocation = record.field(at).filter(|r| r.r_type == R_X86_64_64);
        let Some(relocation) = relocation.filter(|r| r.r_addend == Some(0)) else { return false };
        let symbol = image.symbols.get(relocation.r_sym);
        let symbol = symbol.and_then(|symbol| LivepatchSymbol::parse(symbol.name).ok());
        symbol.is_some_and(|symbol| symbol.object == VMLINUX && symbol.name == *name)
    })
}

//! Mergeable sections: the linker keeps one of several equal strings or constants, so that the place
//! says nothing and the content everything.

use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_elf::section_flags::STRINGS;

use crate::running::Place;
use crate::running::Running;

/// Whether what runs has the same content at `place` as the object has at a place in a mergeable
/// section: the rest of a string, or of a constant.
pub(crate) fn is_same(
    object: &ObjectFile,
    section: SectionId,
    at: i64,
    running: &dyn Running,
    place: Place,
) -> bool {
    let section = &object[section];
    let Ok(at) = usize::try_from(at) else { return false };
    let Some(ours) = section.data.get(at..) else { return false };
    let unit = usize::try_from(section.entry_size).unwrap_or(1).max(1);
    let len = if section.has(STRINGS) {
        // The terminating unit is part of it.
        ours.chunks(unit)
            .position(|unit| unit.iter().all(|byte| *byte == 0))
            .map(|n| (n + 1) * unit)
    } else {
        Some(unit - at % unit)
    };
    let Some(ours) = len.and_then(|len| ours.get(..len)) else { return false };
    running.bytes(place).is_some_and(|theirs| theirs.starts_with(ours))
}

//! Who may know an address of the kernel's image: every place that could be a field with it.
//!
//! Bias: the image has no relocations, so whatever could be such a field counts as one, at any offset, in
//! code and data. What is reported need not be a use; what is not reported is none. Short branches (a distance
//! of one byte) are not looked for: assemblers make them within a file only, whose code is known otherwise.

use std::ops::Range;

use kpatch_refusal::Refusals;

use crate::image::Image;
use crate::kallsyms::Kallsyms;
use crate::tables;

/// Tables about code, which make nobody run it: where unwind entries are for, and what indirect branches must
/// not reach.
const HARMLESS: [(&str, &str); 2] = [
    ("__start_orc_unwind_ip", "__stop_orc_unwind_ip"),
    ("__ibt_endbr_seal", "__ibt_endbr_seal_end"),
];

/// A field that may hold an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Where it is.
    pub at: u64,
    /// Whether it is, if it is code at all, the target of a direct call or jump: who runs that does not keep
    /// the address.
    pub branch: bool,
}

/// All fields of 4 or 8 bytes that may hold `address`: as it is (of 8 bytes the lower half,
/// which says all: the kernel is in the highest 2 GiB), as a distance from the field's start (tables), or
/// from its end (branches and addresses in instructions, none of which has an immediate behind it: code is
/// called or has its address taken, it is not compared with numbers).
///
/// # Errors
/// [`ImageUnreadable`](kpatch_refusal::Code::ImageUnreadable) if the bounds of a table that does not count are
/// not clear.
pub fn to(image: &Image, kallsyms: &Kallsyms, address: u64) -> Result<Vec<Field>, Refusals> {
    let mut ignored: Vec<Range<u64>> = Vec::new();
    for markers in HARMLESS {
        let found = tables::range(image, kallsyms, markers)?;
        ignored.extend(found.map(|(start, end)| start..end));
    }
    // Distances wrap at 32 bits in a kernel that is within 2 GiB.
    let wanted = address as u32;
    let mut found = Vec::new();
    for (start, bytes) in image.loaded() {
        for (at, field) in bytes.windows(4).enumerate() {
            let [a, b, c, d] = field else { continue };
            let value = u32::from_le_bytes([*a, *b, *c, *d]);
            let place = (start as u32).wrapping_add(at as u32);
            let distance = wanted.wrapping_sub(place);
            if value != wanted && value != distance && value != distance.wrapping_sub(4) {
                continue;
            }
            let from_end = value == distance.wrapping_sub(4);
            let branch = from_end && is_branch(bytes.get(..at).unwrap_or_default());
            let at = start.wrapping_add(at as u64);
            if !ignored.iter().any(|range| range.contains(&at)) {
                found.push(Field { at, branch });
            }
        }
    }
    Ok(found)
}

/// Whether what comes before a field of 4 bytes can be the opcode of a call, a jump or a conditional jump. A
/// memory operand's last byte before a distance is another, whatever the instruction.
fn is_branch(before: &[u8]) -> bool {
    matches!(before, [.., 0xe8 | 0xe9] | [.., 0x0f, 0x80..=0x8f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kernel::Kernel;

    #[test]
    fn finds_calls_pointers_and_distances_but_not_tables_about_code() {
        let mut kernel = Kernel::default();
        let function = kernel.place("function", 'T', &[0xc3; 16]);
        let call = kernel.here();
        let distance = (function.wrapping_sub(call + 5) as u32).to_le_bytes();
        kernel.place("caller", 'T', &[&[0xe8][..], &distance].concat());
        let loaded = kernel.here();
        let distance = (function.wrapping_sub(loaded + 7) as u32).to_le_bytes();
        kernel.place("loads", 'T', &[&[0x48, 0x8d, 0x3d][..], &distance].concat());
        let pointer = kernel.place("pointer", 'd', &function.to_le_bytes());
        let absolute = kernel.place(
            "absolute",
            'T',
            &[&[0x48, 0xc7, 0xc7][..], &(function as u32).to_le_bytes()].concat(),
        );
        let relative = kernel.distances(("start_of_some", "end_of_some"), &[function]);
        kernel.distances(HARMLESS[0], &[function]);
        kernel.distances(HARMLESS[1], &[function]);
        let other = kernel.place("other", 'T', &[0xc3; 16]);
        let image = Image::parse("vmlinux", kernel.finish()).unwrap();
        let kallsyms = Kallsyms::read(&image).unwrap();
        let found = to(&image, &kallsyms, function).unwrap();
        let field = |at, branch| Field { at, branch };
        let wanted =
            [(call + 1, true), (loaded + 3, false), (pointer, false), (absolute + 3, false)];
        let mut wanted: Vec<Field> =
            wanted.iter().map(|(at, branch)| field(*at, *branch)).collect();
        wanted.push(field(relative, false));
        assert_eq!(found, wanted);
        assert_eq!(to(&image, &kallsyms, other).unwrap(), []);
    }
}

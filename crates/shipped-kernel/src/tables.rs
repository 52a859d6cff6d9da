//! What the shipped image and modules say of themselves in the tables that the kernel reads: which
//! functions ftrace can redirect, which may be called indirectly, what is exported, for which kernel
//! modules are.
//!
//! In the image a table is between two marker symbols of kallsyms, at the addresses to which the
//! kernel is linked; in a module it is a section whose relocations say the same. Bias: a table that
//! is there only in part, or whose markers are not unique, is refused; only a kernel without the
//! feature has no table.

pub mod exports;
mod ftrace;
mod ibt;
mod text;
mod vermagic;

pub use ftrace::FtraceSites;
pub use ibt::EndbrSeals;
pub use text::Text;
pub use text::TextRanges;
pub use vermagic::vermagic;

use kpatch_refusal::Refusals;

use crate::image::Image;
use crate::image::unreadable;
use crate::kallsyms::Kallsyms;

/// Where something is: in the image section 0, which no ELF file has, and the address; in a module
/// the section's index and the offset in it.
type Site = (usize, u64);

/// The section of [`Site`]s of the image.
const IMAGE: usize = 0;

/// The address of the one symbol of that name; `None` if there is none.
fn marker(image: &Image, kallsyms: &Kallsyms, name: &str) -> Result<Option<u64>, Refusals> {
    match kallsyms.positions(name) {
        [] => Ok(None),
        [index] => Ok(kallsyms.get(*index).map(|symbol| symbol.address)),
        _ => Err(unreadable(&image.name, format!("its symbol table has `{name}` more than once"))),
    }
}

/// First and last address between two markers, `None` if neither is there.
pub(crate) fn range(
    image: &Image,
    kallsyms: &Kallsyms,
    (start, end): (&str, &str),
) -> Result<Option<(u64, u64)>, Refusals> {
    match (marker(image, kallsyms, start)?, marker(image, kallsyms, end)?) {
        (None, None) => Ok(None),
        (Some(from), Some(to)) if from <= to => Ok(Some((from, to))),
        _ => Err(unreadable(&image.name, format!("`{start}` and `{end}` do not belong together"))),
    }
}

/// Address and bytes of the table between two markers, `None` if neither is there.
fn table<'a>(
    image: &'a Image,
    kallsyms: &Kallsyms,
    markers: (&str, &str),
) -> Result<Option<(u64, &'a [u8])>, Refusals> {
    let Some((start, end)) = range(image, kallsyms, markers)? else { return Ok(None) };
    if start == end {
        return Ok(Some((start, &[])));
    }
    let len = usize::try_from(end - start).ok();
    let bytes = len.and_then(|len| image.bytes_at(start, len)).ok_or_else(|| {
        unreadable(&image.name, format!("what follows `{}` is not in it", markers.0))
    })?;
    Ok(Some((start, bytes)))
}

fn u64s(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)))
}

fn i32s(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.chunks_exact(4).filter_map(|word| Some(i32::from_le_bytes(word.try_into().ok()?)))
}

#[cfg(test)]
mod tests;

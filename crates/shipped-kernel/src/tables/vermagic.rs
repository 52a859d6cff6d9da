//! The string by which the kernel and its modules know each other (`VERMAGIC_STRING` in
//! include/linux/vermagic.h; `check_modinfo` in kernel/module/main.c).

use kpatch_refusal::Refusals;

use super::marker;
use crate::image::Image;
use crate::image::unreadable;
use crate::kallsyms::Kallsyms;

/// Longer is none of it.
const LIMIT: usize = 512;

/// The kernel's own version magic, with the space at its end; `None` where the symbol of
/// kernel/module/main.c is not in kallsyms.
///
/// # Errors
/// [`ImageUnreadable`](kpatch_refusal::Code::ImageUnreadable) if it is not of the release that the
/// banner names.
pub fn vermagic(image: &Image, kallsyms: &Kallsyms) -> Result<Option<String>, Refusals> {
    let Some(address) = marker(image, kallsyms, "vermagic")? else { return Ok(None) };
    let bytes = image.bytes_from(address).unwrap_or_default();
    let text = bytes.iter().take(LIMIT).position(|byte| *byte == 0).and_then(|end| {
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        text.strip_prefix(&image.banner.release)?.starts_with(' ').then_some(text)
    });
    match text {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(unreadable(
            &image.name,
            format!("its `vermagic` is not one of `{}`", image.banner.release),
        )),
    }
}

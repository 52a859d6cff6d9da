//! The end of the file: nothing may follow what the headers name but a signature, which the loader
//! cuts off before it looks at the rest (`module_sig_check` in `kernel/module/signing.c`).

use kpatch_refusal::Refusal;

use super::broken;

/// `MODULE_SIG_STRING` in `include/linux/module_signature.h`.
const MAGIC: &[u8] = b"~Module signature appended~\n";
/// Size of `struct module_signature`, whose last field is the length of the signature, big endian.
const DESCRIPTION: usize = 12;

/// Checks what follows the offset `end` of the file.
pub(super) fn check(bytes: &[u8], end: u64, refusals: &mut Vec<Refusal>) {
    let rest = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    if !rest.is_empty() && signature_len(rest) != Some(rest.len()) {
        let message = format!("{} bytes that are no signature follow the sections", rest.len());
        refusals.push(broken("", message));
    }
}

/// Length of all parts of a signature at the end.
fn signature_len(rest: &[u8]) -> Option<usize> {
    let signed = rest.strip_suffix(MAGIC)?;
    let (_, length) = signed.split_last_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    length.checked_add(DESCRIPTION + MAGIC.len())
}

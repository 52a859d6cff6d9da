//! How this crate words its refusals.

use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::livepatch::NameError;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::code::function_at;

/// What every refusal about the module's form says: the user cannot repair the module by hand.
pub(crate) const HINT_REPORT: &str = "the module was not made by this toolchain, or is damaged";

/// The module is not of the form that its makers give it.
pub(crate) fn malformed(symbol: &str, message: impl Into<String>) -> Refusal {
    let mut place = Place::default();
    if !symbol.is_empty() {
        place = place.symbol(symbol);
    }
    Refusal::new(Code::ModuleMalformed, place, message, HINT_REPORT)
}

/// The kernel could not read a name back.
pub(crate) fn name_refusal(symbol: &str, error: &NameError) -> Refusal {
    match error {
        NameError::TooLong(_) => Refusal::new(
            Code::NameTooLong,
            Place::default().symbol(symbol),
            error.to_string(),
            "the kernel cannot look this symbol up for a livepatch",
        ),
        _ => malformed(symbol, error.to_string()),
    }
}

/// A refusal that names the function (else the section) and the offset of a relocation.
pub(crate) fn at(
    object: &ObjectFile,
    section: SectionId,
    relocation: &Relocation,
    code: Code,
    message: &str,
) -> Refusal {
    let name = &object[section].name;
    let place = match function_at(object, section, relocation.offset) {
        Some(function) => Place::default().symbol(&object[function].name),
        None => Place::default().symbol(name),
    };
    let symbol = &object[relocation.symbol].name;
    let message =
        format!("{message} (section `{name}`, offset {:#x}, `{symbol}`)", relocation.offset);
    let hint = match code {
        Code::UnsupportedRelocation => {
            "the code must be built as the kernel's own (no PIC, no TLS)"
        }
        Code::UnsupportedSection => {
            "the kernel reads this place when the livepatch module is loaded, before the patched \
             module may be there: patch another function, or avoid the construct"
        }
        _ => HINT_REPORT,
    };
    Refusal::new(code, place, message, hint)
}

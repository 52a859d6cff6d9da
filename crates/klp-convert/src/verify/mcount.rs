//! `__mcount_loc`: ftrace writes to each place that it names (`ftrace_process_locs` and
//! `ftrace_init_nop` in `kernel/trace/ftrace.c`), so each must be the begin of a function that is
//! there.

use goblin::elf::sym::STT_FUNC;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;

const TABLE: &str = "__mcount_loc";
/// Size of ENDBR64, which comes before the call.
const ENDBR: u64 = 4;

/// Checks all entries.
pub(super) fn check(image: &Image<'_>, bytes: &[u8], refusals: &mut Vec<Refusal>) {
    let sites: Vec<_> = image.sites(bytes, TABLE, 8);
    let words: usize = image.named(TABLE).iter().map(|t| image.sections[*t].data.len() / 8).sum();
    if words != sites.len() {
        let message = format!("`{TABLE}` has {words} entries, of which {} name code", sites.len());
        refusals.push(broken("", message));
    }
    for (index, (section, offset)) in sites {
        let begins = |raw: &goblin::elf::Sym| {
            raw.st_type() == STT_FUNC
                && raw.st_shndx == section
                && matches!(offset.checked_sub(raw.st_value), Some(0 | ENDBR))
        };
        let code = &image.sections[section];
        if !code.is_code() || !image.symbols.iter().any(|symbol| begins(&symbol.raw)) {
            let place = format!("offset {offset:#x} of `{}`", code.name);
            let message = format!("entry {index} of `{TABLE}` is not at a function: {place}");
            refusals.push(broken(image.name_around(section, offset), message));
        }
    }
}

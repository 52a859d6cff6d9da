//! Whether the kernel's livepatch core can redirect a function, by the tables of the shipped image and
//! modules: it must have an entry of ftrace, outside of code that is gone or must not be traced.

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use shipped_kernel::FtraceSites;
use shipped_kernel::Text;
use shipped_kernel::modules::SymbolSection;

use crate::candidates;
use crate::candidates::Candidate;
use crate::modules::PatchedModule;
use crate::target::Target;

/// Checks a function of `module`, or of vmlinux if that is none.
///
/// # Errors
/// `InitChanged`, `NoFtraceEntry`: it cannot be redirected.
pub fn check(
    target: &Target,
    module: Option<&PatchedModule>,
    name: &str,
    function: &Candidate,
) -> Result<(), Refusal> {
    let (text, traced) = match module {
        None => of_kernel(target, function),
        Some(module) => of_module(module, function)?,
    };
    let refuse = |code, message: String, hint: &str| {
        Err(Refusal::new(code, Place::default().symbol(name), message, hint))
    };
    let at = &function.shown;
    match text {
        Text::Init => refuse(
            Code::InitChanged,
            format!("`{name}` at {at} is gone once the kernel or module has started"),
            "leave `__init` and `__exit` code out of the patch",
        ),
        Text::Noinstr | Text::Entry => refuse(
            Code::NoFtraceEntry,
            format!("`{name}` at {at} is code that must not be traced"),
            "change the functions that call it instead",
        ),
        Text::Normal if traced => Ok(()),
        Text::Normal | Text::None => refuse(
            Code::NoFtraceEntry,
            format!("the shipped kernel has no ftrace entry for `{name}` at {at}"),
            "change the functions that call it instead",
        ),
    }
}

fn of_kernel(target: &Target, function: &Candidate) -> (Text, bool) {
    let Some(symbol) = target.kallsyms.get(function.index) else { return (Text::None, false) };
    let size = target.kallsyms.size(function.index).unwrap_or(0);
    let text = target.text.what_is(symbol.address);
    (text, target.ftrace.has_entry(symbol.address, size))
}

fn of_module(module: &PatchedModule, function: &Candidate) -> Result<(Text, bool), Refusal> {
    let shipped = &module.shipped;
    let none = Ok((Text::None, false));
    let Some(symbol) = shipped.symbols.get(function.index) else { return none };
    let SymbolSection::Index(section) = symbol.section else { return none };
    let sites = FtraceSites::of_module(shipped).map_err(candidates::first)?;
    let text = Text::of_section(shipped.section_name(symbol).unwrap_or_default());
    Ok((text, sites.has_entry_in(section, symbol.value, symbol.size)))
}

//! Whether what the module patches can be patched: it is there, and ftrace has a place in it
//! (`klp_patch_func` in `kernel/livepatch/patch.c`).

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use shipped_kernel::Text;

use super::Shipped;
use super::lookup;
use super::lookup::Symbol;
use super::not_there;
use crate::verify::report::Patches;
use crate::verify::tables::Patched;

/// Checks a patched function.
pub(super) fn check(
    shipped: &Shipped<'_>,
    patched: &Patched,
    refusals: &mut Vec<Refusal>,
) -> Patches {
    let Patched { object, name, position } = patched;
    let found = lookup::find(&shipped.target, object, name, *position).unwrap_or_else(|message| {
        refusals.push(not_there(name, message));
        None
    });
    if let Some(symbol) = &found {
        refusals.extend(unpatchable(shipped, patched, symbol));
    }
    Patches {
        object: object.clone(),
        name: name.clone(),
        position: *position,
        found: found.map(|symbol| symbol.shown()),
    }
}

fn unpatchable(shipped: &Shipped<'_>, patched: &Patched, symbol: &Symbol<'_>) -> Option<Refusal> {
    let (text, has_entry) = match symbol {
        Symbol::Kernel { address, size, .. } => {
            let kernel = shipped.kernel.as_ref()?;
            (kernel.text.what_is(*address), kernel.sites.has_entry(*address, *size))
        }
        Symbol::Module { module, symbol, section } => {
            let (sites, _) = shipped.modules.get(module.name.as_str())?;
            let text = Text::of_section(&module.sections.get(*section)?.name);
            (text, sites.has_entry_in(*section, symbol.value, symbol.size))
        }
    };
    let (code, what) = match text {
        Text::Init => (Code::InitChanged, "it is freed once the kernel or module has initialised"),
        Text::Noinstr => (Code::NoFtraceEntry, "it is code that must not be instrumented"),
        Text::Entry => (Code::NoFtraceEntry, "it is an entry point in assembly"),
        Text::None => (Code::NoFtraceEntry, "it is not code"),
        Text::Normal if has_entry => return None,
        Text::Normal => (Code::NoFtraceEntry, "the shipped kernel has no ftrace entry for it"),
    };
    let place = Place::default().symbol(&patched.name);
    let message =
        format!("`{}` of `{}` cannot be redirected: {what}", patched.name, patched.object);
    Some(Refusal::new(code, place, message, "patch the functions that call it instead"))
}

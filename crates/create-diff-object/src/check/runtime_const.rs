//! Runtime constants that cannot be read from a variable in their place.

use kpatch_refusal::Code;
use kpatch_refusal::Refusal;

use crate::check::Checked;
use crate::emit::runtime_const::Pointer;
use crate::emit::runtime_const::is_pointer;
use crate::emit::runtime_const::pointer;
use crate::normalize::atoms::AtomId;

/// Pointers that cannot come from a variable of the kernel.
pub(super) fn check(pair: &Checked<'_>, atom: AtomId) -> Vec<Refusal> {
    let side = pair.patched;
    let name = side.name(atom);
    let mut refusals = Vec::new();
    for entry in side.entries.of(atom).iter().filter(|entry| is_pointer(entry)) {
        let section = &side.object[entry.section].name;
        let why = match pointer(side, atom, entry) {
            None => "is no instruction that this tool can rewrite",
            Some(pointer) if is_new(pair, &pointer) => "is about a variable that is new",
            Some(_) => continue,
        };
        refusals.push(pair.refusal(
            Code::RuntimeConst,
            atom,
            format!("an entry of `{name}` in `{section}` {why}"),
            "patch a caller; the constant exists only in vmlinux",
        ));
    }
    refusals
}

fn is_new(pair: &Checked<'_>, pointer: &Pointer<'_>) -> bool {
    let variable = pointer.symbol.and_then(|symbol| pair.patched.atoms.of_symbol(symbol));
    variable.is_some_and(|atom| pair.correlation.original_of(atom).is_none())
}

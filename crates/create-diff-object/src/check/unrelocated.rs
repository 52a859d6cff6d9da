//! References without relocation that cannot get one. Bias: a place inside another function is only meant
//! where that function goes into the patch, too.

use kpatch_elf::RelocationKind;
use kpatch_refusal::Code;
use kpatch_refusal::Refusal;

use crate::check::Checked;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::resolved::stubs;

/// What cannot become a relocation.
pub(super) fn check(pair: &Checked<'_>, atom: AtomId) -> Vec<Refusal> {
    let side = pair.patched;
    let name = side.name(atom);
    let mut refusals = Vec::new();
    let refuse = |offset: u64, message: String| {
        let at = offset.wrapping_sub(side.atoms[atom].origin);
        pair.refusal(
            Code::UnrelocatedBranch,
            atom,
            format!("`{name}` shares `{}`, and at +{at:#x} {message}", side.section(atom).name),
            "patch a caller outside that section",
        )
    };
    for reference in side.references(atom) {
        if reference.kind == RelocationKind::PC16 {
            let message = "branches out of itself in 16 bits, no room for a relocation";
            refusals.push(refuse(reference.offset, message.into()));
        }
        if let Some(other) = inside_another(pair, atom, reference) {
            let message = format!("refers to a place inside `{}`", side.name(other));
            refusals.push(refuse(reference.offset, message));
        }
    }
    let is_function = side.atoms[atom].kind == AtomKind::Function;
    for stub in stubs(side, atom) {
        let mut fields = stub.fields.iter();
        if let Some(field) = fields.find(|f| !is_function || stub.displacement(**f).is_none()) {
            let message = "branches out of itself, too far from its end for another jump there";
            refusals.push(refuse(side.atoms[atom].start + field, message.into()));
        }
    }
    refusals
}

/// The function inside which code of `atom` refers to a place without a name, if the patch does not
/// hold it: its layout in the kernel is not known.
fn inside_another(pair: &Checked<'_>, atom: AtomId, reference: &Reference) -> Option<AtomId> {
    let side = pair.patched;
    let Target::Atom(target) = reference.target else { return None };
    let other = &side.atoms[target];
    let place = (other.origin as i64).wrapping_add(reference.delta);
    let named = other.symbols.iter().any(|s| side.object[*s].value as i64 == place);
    let meant = target == atom || named || pair.selection.included.contains(&target);
    let in_code = reference.bias != 0 && other.kind == AtomKind::Function;
    (in_code && !meant).then_some(target)
}

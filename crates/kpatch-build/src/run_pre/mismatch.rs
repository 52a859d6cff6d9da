//! What a user reads of code that is not what runs: the first instruction of both sides that differs, and
//! how many functions do.

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use run_pre::Difference;
use run_pre::Running;
use run_pre::difference::What;
use run_pre::listing;

use super::Proof;

/// A function that is other code than what runs.
pub(super) fn function(
    proof: &Proof,
    name: &str,
    difference: &Difference,
    running: &dyn Running,
) -> Refusal {
    let counts = proof.counts();
    let message = format!(
        "`{name}` does not compile to what runs ({} of {} functions of this object do): {}\n{}",
        counts.matched + counts.overridden,
        counts.functions,
        what(difference, running),
        listing::both(&proof.exact, difference, running).trim_end()
    );
    let place = Place::object(&proof.object).symbol(name);
    Refusal::new(Code::NotWhatRuns, place, message, &proof.suspect)
}

/// Read-only data that is other data than what runs.
pub(super) fn data(proof: &Proof, difference: &Difference, running: &dyn Running) -> Refusal {
    let section = &proof.exact[difference.section].name;
    let message = format!(
        "read-only data does not compile to what runs: `{section}`, offset {:#x}, running at {}: {}",
        difference.ours,
        at(difference.theirs, running),
        what(difference, running)
    );
    Refusal::new(Code::NotWhatRuns, Place::object(&proof.object), message, &proof.suspect)
}

/// A place with its name.
pub(super) fn at(place: run_pre::Place, running: &dyn Running) -> String {
    let name = running.name_of(place);
    match place {
        run_pre::Place::Address(address) => {
            format!("{name} ({:#x})", run_pre::vmlinux::link_address(address))
        }
        run_pre::Place::Section(..) | run_pre::Place::Outside(..) => name.into_owned(),
    }
}

fn what(difference: &Difference, running: &dyn Running) -> String {
    match &difference.what {
        What::Bytes => "another instruction".to_owned(),
        What::Missing => "what runs ends".to_owned(),
        What::Longer => "what runs goes on".to_owned(),
        What::Field => "one refers to something where the other does not".to_owned(),
        What::Content => "it refers to another string or constant".to_owned(),
        What::Name { wanted } => format!("it does not refer to `{wanted}`"),
        What::Contradiction(it) => {
            format!("{} is both {} and {}", it.what, at(it.known, running), at(it.other, running))
        }
    }
}

//! What a run says on standard output: lines for people, or one document for programs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use create_diff_object::explain::report::NoticeReport;
use create_diff_object::explain::report::ObjectReport;
use create_diff_object::explain::report::Outcome;
use create_diff_object::explain::report::RefusalReport;
use create_diff_object::explain::report::Report;

use kpatch_elf::livepatch::VMLINUX;

use crate::candidates;
use crate::objects::DiffObject;
use crate::outcome;
use crate::outcome::NothingChanged;
use crate::target::Target;

/// The lines that kpatch's users know, and why the module must stay loaded, if it must.
pub fn lines(objects: &[DiffObject]) {
    for object in objects {
        for function in &object.changed {
            println!("{}: changed function: {function}", object.name);
        }
        for function in &object.new {
            println!("{}: new function: {function}", object.name);
        }
    }
    for place in objects.iter().flat_map(|object| &object.outliving) {
        println!("pinned: {place}; rmmod will be refused, disabling works");
    }
}

/// Which patched modules cannot be loaded again while the patch is enabled: all where the kernel does not
/// take back what it has written for them (x86 before 6.3; `arch/x86/kernel/module.c`). It finds its
/// own values in the way then, and refuses the module.
pub fn cannot_come_again(objects: &[DiffObject], target: &Target) -> Option<String> {
    if !candidates::in_kernel(&target.kallsyms, "clear_relocate_add").is_empty() {
        return None;
    }
    let patched = objects.iter().map(|object| object.patches.as_str());
    let modules: BTreeSet<&str> = patched.filter(|name| *name != VMLINUX).collect();
    let names: Vec<String> = modules.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "this kernel cannot load {} again once it was patched and unloaded, until the patch is disabled",
            names.join(", ")
        )
    })
}

/// What the author of a patch that replaces others is to know of its new variables, if it has any.
pub fn start_anew(objects: &[DiffObject]) -> Option<String> {
    let names = objects.iter().flat_map(|object| &object.new_variables);
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "new variables start anew with each patch that replaces this one, also with the next version of \
             itself: {}; what must last belongs to shadow variables (klp_shadow_alloc) or states (KPATCH_STATE)",
            names.join(", ")
        )
    })
}

/// Explanations, as lines.
pub fn explanations(objects: &[ObjectReport]) {
    objects.iter().for_each(|object| print!("{}", object.text()));
}

/// Adds what the objects of the patch say of it.
pub fn add(report: &mut Report, objects: &[DiffObject]) {
    for object in objects {
        report.notices.extend(object.notices.iter().map(NoticeReport::from));
        report.pins.extend(object.outliving.iter().map(NoticeReport::from));
    }
}

/// The document of a run that ended with `result`.
///
/// # Errors
/// The error, if it is neither a refusal nor that nothing changed: then there is nothing to say but
/// that.
pub fn document(
    mut report: Report,
    result: &anyhow::Result<PathBuf>,
) -> Result<Report, &anyhow::Error> {
    match result {
        Ok(module) => {
            report.outcome = Outcome::Changed;
            report.output = Some(module.display().to_string());
        }
        Err(error) => match outcome::refusals(error) {
            Some(refusals) => {
                report.outcome = Outcome::Refused;
                report.refusals = refusals.iter().map(RefusalReport::from).collect();
            }
            None if error.chain().any(|cause| cause.is::<NothingChanged>()) => {
                report.outcome = Outcome::Unchanged;
            }
            None => return Err(error),
        },
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;
    use kpatch_refusal::Code;
    use kpatch_refusal::Place;
    use kpatch_refusal::Refusal;

    #[test]
    fn every_answer_is_a_document_and_no_failure() {
        let document = |result| document(Report::new(Outcome::Unchanged), &result).ok();
        let done = document(Ok(PathBuf::from("a.ko"))).unwrap();
        assert_eq!((done.outcome, done.output.as_deref()), (Outcome::Changed, Some("a.ko")));
        let refusal = Refusal::new(Code::LivepatchOff, Place::file("x"), "off", "turn it on");
        let refused = document(Err(refusal.into())).unwrap();
        assert_eq!(refused.outcome, Outcome::Refused);
        assert_eq!(refused.refusals[0].code, "KPB0204");
        assert_eq!(refused.refusals[0].place.file.as_deref(), Some("x"));
        assert_eq!(document(Err(NothingChanged.into())).unwrap().outcome, Outcome::Unchanged);
        assert!(document(Err(anyhow!("make died"))).is_none());
    }
}

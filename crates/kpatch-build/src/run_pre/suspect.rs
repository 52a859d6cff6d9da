//! Which of source, configuration and compiler is likely not that of the kernel, told from what is known
//! without doubt (the compiler's own mark, a configuration that the user named) and else from how much
//! differs.

use kpatch_elf::ObjectFile;
use run_pre::Matched;
use run_pre::Verdict;

use crate::target::Kind;
use crate::target::Target;

/// So many functions of one file, or one of so many, are more than what releases of a stable series
/// differ by.
const MANY: usize = 5;
const SHARE: usize = 3;

/// A hint: what to look at.
pub(super) fn of(exact: &ObjectFile, matched: &Matched, target: &Target) -> String {
    if let Some(ours) = other_compiler(exact, &target.image.banner.compiler) {
        return format!(
            "likely the compiler: `{ours}` compiled this, `{}` the kernel; install that very version",
            target.image.banner.compiler
        );
    }
    if let Some(difference) = target.config_difference() {
        return format!(
            "likely the configuration: {difference}; give the configuration that the kernel was built with"
        );
    }
    let verdicts = matched.functions.values();
    let different = verdicts
        .filter(|verdict| matches!(verdict, Verdict::Different(_) | Verdict::Absent))
        .count();
    let all = matched.functions.len();
    if target.parts.kind == Kind::BuiltTree {
        return format!(
            "likely the source: {different} of {all} functions differ; it was edited after the kernel was built: \
             take that back or into the patch, or build the kernel anew and run that"
        );
    }
    if different >= MANY || different > 1 && different * SHARE >= all {
        return format!(
            "likely the configuration or the compiler's options: {different} of {all} functions differ; take \
             headers, source and Makefiles as the distribution built the kernel from"
        );
    }
    format!(
        "likely the source: {different} of {all} functions differ; take the source package of exactly the \
         image's version, with the distribution's patches and no others"
    )
}

/// The compiler that made the object, if it is not the one that the kernel names.
fn other_compiler(exact: &ObjectFile, kernel: &str) -> Option<String> {
    let comment = exact.section_by_name(".comment")?;
    let marks = exact[comment].data.split(|byte| *byte == 0).filter(|mark| !mark.is_empty());
    let marks: Vec<String> = marks.map(|mark| String::from_utf8_lossy(mark).into_owned()).collect();
    // gcc calls itself `GCC: (Debian 12.2.0-14) 12.2.0` here, and `gcc-12 (Debian 12.2.0-14) 12.2.0` there.
    let is_kernels = |mark: &String| kernel.contains(mark.trim_start_matches("GCC: "));
    if marks.iter().any(is_kernels) { None } else { marks.into_iter().next() }
}

//! `kpatch-build match`: whether source, configuration and compiler are those of a kernel, told by the
//! code that they give. Nothing is patched.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use rayon::prelude::*;
use serde::Serialize;

use crate::author_headers::AuthorHeaders;
use crate::compile;
use crate::compile::Unpatched;
use crate::front;
use crate::modules::Modules;
use crate::objects;
use crate::run_pre;
use crate::session;
use crate::session::Session;
use crate::settings::Settings;
use crate::target::Target;

/// Says whether source files compile to what a kernel runs.
///
/// Each file is compiled as kbuild would, and its code is looked for in the image or the module. All
/// functions of kernel text must be found, but for weak ones that the kernel has other definitions of.
#[derive(Debug, Clone, Args)]
pub struct MatchArguments {
    /// C files, relative to the source tree
    #[arg(required = true, value_name = "FILE.c")]
    pub files: Vec<String>,

    /// The kernel, and how the run is made
    #[command(flatten)]
    pub settings: Settings,

    /// Print one JSON document (docs/match.md)
    #[arg(long)]
    pub json: bool,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatchReport {
    /// One for each object that was made, and each module that it is part of.
    pub objects: Vec<ObjectMatch>,
}

/// How one object relates to what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectMatch {
    /// As kbuild names it.
    pub object: String,
    /// `vmlinux` or a module.
    pub part_of: String,
    /// Functions of kernel text.
    pub functions: usize,
    /// Those that are what runs.
    pub matched: usize,
    /// Weak ones in whose place another definition runs.
    pub overridden: usize,
    /// Why the others are not, as refusals are written.
    pub unmatched: Vec<String>,
}

/// Matches what `arguments` name, and writes the result to `out`.
///
/// # Errors
/// Refusals for all that is not what runs; tool failures.
pub fn run(arguments: &MatchArguments, mut out: impl Write) -> Result<()> {
    let session = session::open(&arguments.settings)?;
    let Session { progress, cache, tree, target, .. } = &session;
    let prepared = session.prepare()?;
    let database = prepared.database()?;
    let config = std::fs::read_to_string(prepared.objects.join(".config"))?;
    let files = arguments.files.iter().cloned();
    let units = front::units(&database, tree, files, &config, progress)?;
    let author_headers = AuthorHeaders::lay_out(cache)?;
    let setting = session.context().setting(&prepared, &author_headers, &tree.root);
    let objects = progress.step("compile", || compile::unpatched(&setting, &units))?;
    let matched = progress.step("match with what runs", || match_all(&objects, target))?;
    let refusals: Vec<Refusal> = matched.iter().flat_map(|(_, why)| why.clone()).collect();
    let report = MatchReport { objects: matched.into_iter().map(|(object, _)| object).collect() };
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    let done = Refusals::none_or(refusals, ());
    session.work.done(arguments.settings.keep, &session.progress)?;
    Ok(done?)
}

fn match_all(objects: &[Unpatched], target: &Target) -> Result<Vec<(ObjectMatch, Vec<Refusal>)>> {
    let modules = Modules::read(target, objects.iter().map(|object| &object.unit.owner))?;
    let one = |object: &Unpatched| {
        let unit = &object.unit;
        let original = objects::read(&unit.object, &object.original)?;
        let proof = run_pre::prove(unit, (&object.exact, &original), target, &modules)?;
        let unmatched = proof.unmatched(&unit.owner, target, &modules)?;
        let counts = proof.counts();
        let matched = ObjectMatch {
            object: unit.object.clone(),
            part_of: unit.owner.name().to_owned(),
            functions: counts.functions,
            matched: counts.matched,
            overridden: counts.overridden,
            unmatched: unmatched.iter().map(ToString::to_string).collect(),
        };
        Ok((matched, unmatched))
    };
    objects.par_iter().map(one).collect()
}

/// A line for each object, and one for all.
fn text(report: &MatchReport) -> String {
    let mut text = String::new();
    let mut all = (0, 0, 0);
    for object in &report.objects {
        let ObjectMatch { object, part_of, functions, matched, overridden, .. } = object;
        text.push_str(&line(object, part_of, *functions, *matched, *overridden));
        all = (all.0 + functions, all.1 + matched, all.2 + overridden);
    }
    let objects = format!("{} object(s)", report.objects.len());
    text.push_str(&line(&objects, "the kernel", all.0, all.1, all.2));
    text
}

fn line(what: &str, of: &str, functions: usize, matched: usize, overridden: usize) -> String {
    let overridden = match overridden {
        0 => String::new(),
        count => format!(", {count} overridden"),
    };
    format!("{what} of {of}: {matched} of {functions} function(s) are what runs{overridden}\n")
}

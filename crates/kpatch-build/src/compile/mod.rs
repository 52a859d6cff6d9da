//! Compiles each translation unit by the commands that kbuild recorded: the original from the base farm
//! (kept in the cache), once exactly as kbuild would and once with sections to cut; the patched one from
//! a claimed farm. Bias: whether the patched file was really read is proven by the depfile, not assumed.

mod depfile;
mod diagnostics;
pub mod preprocess;
mod replay;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use rayon::prelude::*;
use tool_run::ToolLog;

use crate::apply::Touched;
use crate::author_headers::AuthorHeaders;
use crate::cache::Cache;
use crate::compile_database::Owner;
use crate::compile_database::TranslationUnit;
use crate::compile_database::normalize;
use crate::farm::PatchedFarm;
use crate::headers;
use crate::line_directives;
use crate::prepare::Prepared;
use replay::Side;

/// A translation unit as part of one owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// The object as kbuild names it.
    pub object: String,
    /// The C file, relative to the source tree.
    pub source: String,
    /// What the object is linked into.
    pub owner: Owner,
}

/// The objects of a unit, original and patched with a section for each function and datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledPair {
    /// The unit. An object that is in several modules gives one pair for each.
    pub unit: Unit,
    /// The object of the user's source as kbuild would make it; lies in the cache and must not be changed.
    pub exact: PathBuf,
    /// The object of the user's source; likewise.
    pub original: PathBuf,
    /// The object of the patched source.
    pub patched: PathBuf,
}

/// What compiling gave.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The pairs, sorted by unit.
    pub pairs: Vec<CompiledPair>,
    /// The compilers' own time, summed over all of them.
    pub compiler_time: Duration,
}

/// What all compilations of one run share.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The cache, for original objects.
    pub cache: &'a Cache,
    /// The prepared object directory.
    pub prepared: &'a Prepared,
    /// Headers for patch authors.
    pub headers: &'a AuthorHeaders,
    /// The user's source tree, which the patched side must not read touched files from.
    pub source: &'a Path,
    /// Where patched objects and depfiles go.
    pub work: &'a Path,
    /// How many compilers may run at once.
    pub jobs: usize,
    /// The log of all commands.
    pub log: &'a ToolLog,
}

/// Puts the patched files into `farm`, with line directives.
///
/// # Errors
/// I/O errors.
pub fn lay_out(touched: &BTreeMap<PathBuf, Touched>, farm: &mut PatchedFarm) -> Result<()> {
    for (path, file) in touched {
        farm.put(path, &line_directives::insert(&file.original, &file.patched))?;
    }
    Ok(())
}

/// Compiles `units` with and without the changes in `touched`, the patched side in `farm`, into which
/// [`lay_out`] has put them.
///
/// # Errors
/// [`Refusals`]: `OriginalDoesNotCompile`, or `DoesNotCompile` with the compiler's message in
/// terms of the patched files; I/O errors; an internal error when a depfile shows that a patched
/// compilation did not read what it should.
pub fn compile(
    setting: &Setting<'_>,
    units: &[TranslationUnit],
    touched: &BTreeMap<PathBuf, Touched>,
    farm: &mut PatchedFarm,
) -> Result<Compiled> {
    let run = Run { setting, farm: farm.root(), generated: Mutex::default() };
    let tasks: Vec<(&TranslationUnit, Side)> =
        units.iter().flat_map(|unit| Side::ALL.map(|side| (unit, side))).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(setting.jobs).build()?;
    let results: Vec<Attempt> = pool.install(|| {
        tasks
            .par_iter()
            .with_max_len(1)
            .map(|(unit, side)| run.attempt(unit, *side))
            .collect::<Result<_>>()
    })?;
    let compiler_time = results.iter().map(|result| result.time).sum();
    refuse_failures(setting, &tasks, &results, touched, farm)?;
    let mut pairs = Vec::new();
    // Who reads a header was told before, and need not have been compiled.
    let sources = touched.keys().map(PathBuf::as_path).filter(|path| !headers::is_header(path));
    let mut unread: BTreeSet<&Path> = sources.collect();
    for (unit, sides) in units.iter().zip(results.chunks_exact(Side::ALL.len())) {
        let [exact, original, patched] = sides else { continue };
        let read = depfile::read_by(
            &patched.depfile,
            &setting.prepared.directory(farm.root()),
            farm.root(),
            setting.source,
            touched,
        )
        .with_context(|| format!("internal error: compiling the patched `{}`", unit.source))?;
        let own = Path::new(&unit.source);
        ensure!(
            read.contains(own) || !touched.contains_key(own),
            "internal error: compiling the patched `{}` did not read it",
            unit.source
        );
        if read.is_empty() {
            // Its `#include` of a touched file is switched off in this configuration.
            continue;
        }
        unread.retain(|path| !read.contains(*path));
        for owner in &unit.owners {
            let (object, source) = (unit.object.clone(), unit.source.clone());
            pairs.push(CompiledPair {
                unit: Unit { object, source, owner: owner.clone() },
                exact: exact.object.clone(),
                original: original.object.clone(),
                patched: patched.object.clone(),
            });
        }
    }
    let unread = unread.into_iter().map(|path| {
        let (message, hint) = match touched[path].created {
            true => (
                "no Makefile of the patch lists it, and no file that is compiled includes it",
                "add its object to a list of the Makefile beside it (`obj-y += x.o`)",
            ),
            false => (
                "the files that include it do not do so in this configuration",
                "leave it out of the patch: this kernel has no code from it",
            ),
        };
        let place = Place::file(path.display().to_string());
        Refusal::new(Code::FileNotBuilt, place, message, hint)
    });
    Refusals::none_or(unread.collect(), ())?;
    pairs.sort_by(|a, b| a.unit.cmp(&b.unit));
    Ok(Compiled { pairs, compiler_time })
}

/// The objects of a unit's unpatched source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpatched {
    /// The unit, once for each of its owners.
    pub unit: Unit,
    /// As kbuild would make it.
    pub exact: PathBuf,
    /// With a section for each function and datum.
    pub original: PathBuf,
}

/// Compiles `units` as they are.
///
/// # Errors
/// `OriginalDoesNotCompile`; I/O errors.
pub fn unpatched(setting: &Setting<'_>, units: &[TranslationUnit]) -> Result<Vec<Unpatched>> {
    let run = Run { setting, farm: &setting.prepared.farm, generated: Mutex::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(setting.jobs).build()?;
    let both = |unit: &TranslationUnit| {
        let sides = [Side::Exact, Side::Original];
        sides.map(|side| run.attempt(unit, side))
    };
    let results: Vec<_> = pool.install(|| units.par_iter().with_max_len(1).map(both).collect());
    let mut objects = Vec::new();
    let mut refusals = Vec::new();
    for (unit, [exact, original]) in units.iter().zip(results) {
        let (exact, original) = (exact?, original?);
        if let Some(message) = exact.failure.as_ref().or(original.failure.as_ref()) {
            refusals.push(diagnostics::original(&unit.source, message, &setting.prepared.farm));
            continue;
        }
        for owner in &unit.owners {
            let (object, source) = (unit.object.clone(), unit.source.clone());
            objects.push(Unpatched {
                unit: Unit { object, source, owner: owner.clone() },
                exact: exact.object.clone(),
                original: original.object.clone(),
            });
        }
    }
    Ok(Refusals::none_or(refusals, objects)?)
}

/// How one compilation went.
#[derive(Debug)]
struct Attempt {
    object: PathBuf,
    depfile: PathBuf,
    time: Duration,
    /// The compiler's message if it failed.
    failure: Option<String>,
}

struct Run<'a> {
    setting: &'a Setting<'a>,
    farm: &'a Path,
    /// Objects for which kbuild has been asked to generate headers.
    generated: Mutex<BTreeSet<String>>,
}

impl Run<'_> {
    fn attempt(&self, unit: &TranslationUnit, side: Side) -> Result<Attempt> {
        let mut attempt = self.once(unit, side)?;
        let missing = attempt.failure.as_deref().is_some_and(diagnostics::misses_a_header);
        if missing && self.generate(unit)? {
            let before = attempt.time;
            attempt = self.once(unit, side)?;
            attempt.time += before;
        }
        Ok(attempt)
    }

    /// Has kbuild make the headers that `unit` needs; whether there is a point in trying again.
    fn generate(&self, unit: &TranslationUnit) -> Result<bool> {
        // Objects outside their directory's Makefile are no targets that kbuild knows singly, and it does not
        // know of added ones.
        if unit.added || unit.object.contains("..") || !self.setting.prepared.can_generate() {
            return Ok(false);
        }
        let mut generated = self.generated.lock().unwrap_or_else(PoisonError::into_inner);
        if generated.insert(unit.object.clone()) {
            let Setting { prepared, jobs, log, .. } = self.setting;
            prepared.generate_for(&unit.object, *jobs, log)?;
        }
        Ok(true)
    }

    fn once(&self, unit: &TranslationUnit, side: Side) -> Result<Attempt> {
        let Setting { cache, prepared, headers, work, log, .. } = self.setting;
        let place = normalize(&unit.object).context("an object outside the object directory")?;
        let dir = work.join(side.name());
        let out = dir.join(&place);
        let object = match side {
            Side::Exact | Side::Original => replay::cached(cache, prepared, headers, unit, side)?,
            Side::Patched => out.clone(),
        };
        let depfile = out.with_extension("d");
        if side != Side::Patched && object.exists() {
            return Ok(Attempt { object, depfile, time: Duration::ZERO, failure: None });
        }
        fs::create_dir_all(out.parent().unwrap_or(&dir))?;
        let target = match side {
            Side::Exact | Side::Original => cache.temporary_path("object.o")?,
            Side::Patched => out,
        };
        let farm = (side == Side::Patched).then_some(self.farm);
        let mut command =
            replay::command((unit, side), prepared, farm, headers, &target, &depfile)?;
        let started = Instant::now();
        let output = log.output(&mut command)?;
        let time = started.elapsed();
        if !output.status.success() {
            let failure = Some(String::from_utf8_lossy(&output.stderr).into_owned());
            return Ok(Attempt { object, depfile, time, failure });
        }
        if side != Side::Patched {
            fs::rename(&target, &object)
                .with_context(|| format!("cannot keep `{}`", object.display()))?;
        }
        Ok(Attempt { object, depfile, time, failure: None })
    }
}

/// Turns failed compilations into refusals. The patched side is compiled once more without line
/// directives: then the compiler names the lines as they are in the patched file.
fn refuse_failures(
    setting: &Setting<'_>,
    tasks: &[(&TranslationUnit, Side)],
    results: &[Attempt],
    touched: &BTreeMap<PathBuf, Touched>,
    farm: &mut PatchedFarm,
) -> Result<()> {
    let failed = |side: Side| {
        let both = tasks.iter().zip(results);
        both.filter(move |((_, of), result)| *of == side && result.failure.is_some())
            .map(|((unit, _), result)| (*unit, result.failure.as_deref().unwrap_or_default()))
    };
    let base = &setting.prepared.farm;
    let unpatched = failed(Side::Original).chain(failed(Side::Exact));
    let unpatched: BTreeMap<&str, &str> =
        unpatched.map(|(unit, message)| (unit.source.as_str(), message)).collect();
    let original: Vec<Refusal> = unpatched
        .into_iter()
        .map(|(source, message)| diagnostics::original(source, message, base))
        .collect();
    if !original.is_empty() {
        return Ok(Refusals::none_or(original, ())?);
    }
    let failed: Vec<(&TranslationUnit, &str)> = failed(Side::Patched).collect();
    if failed.is_empty() {
        return Ok(());
    }
    for (path, file) in touched {
        farm.put(path, &file.patched)?;
    }
    let run = Run { setting, farm: farm.root(), generated: Mutex::default() };
    let mut refusals = Vec::new();
    for (unit, message) in failed {
        let plain = run.once(unit, Side::Patched)?.failure;
        let plain = plain.with_context(|| {
            format!("internal error: a line directive breaks `{}`:\n{message}", unit.source)
        })?;
        refusals.push(diagnostics::patched(&unit.source, &plain, farm.root()));
    }
    Ok(Refusals::none_or(refusals, ())?)
}

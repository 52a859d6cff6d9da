//! The text that the compiler sees of a unit, with and without the patch: a fraction of the time that
//! compiling takes. Nothing of it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use rayon::prelude::*;

use super::Run;
use super::Setting;
use super::depfile;
use super::diagnostics;
use super::replay;
use crate::apply::Touched;
use crate::compile_database::TranslationUnit;
use crate::compile_database::normalize;
use crate::farm::PatchedFarm;

/// What the preprocessor makes of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preprocessed {
    /// It does not read a touched file.
    Unread,
    /// The text of both sides, without line markers.
    Texts {
        /// Of the user's source.
        original: Vec<u8>,
        /// Of the patched source.
        patched: Vec<u8>,
    },
    /// One side does not get through the preprocessor; compiling will say why.
    Failed,
}

/// One unit's texts, and how long both took.
#[derive(Debug)]
pub struct Sides {
    /// The texts.
    pub texts: Preprocessed,
    /// The preprocessor's own time.
    pub time: Duration,
}

/// Preprocesses both sides of `units`, the patched one in `farm`, which holds the patch already, and gives
/// each result to `each`, in no order, as it comes.
///
/// # Errors
/// I/O errors; an internal error when the patched side reads the original of a touched file.
pub fn preprocess<T: Send>(
    setting: &Setting<'_>,
    units: &[&TranslationUnit],
    touched: &BTreeMap<PathBuf, Touched>,
    farm: &PatchedFarm,
    each: impl Fn(&TranslationUnit, Sides) -> T + Sync,
) -> Result<Vec<T>> {
    let run = Run { setting, farm: farm.root(), generated: Mutex::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(setting.jobs).build()?;
    pool.install(|| {
        let one = |unit: &&TranslationUnit| {
            let started = Instant::now();
            let texts = both(&run, unit, touched)?;
            Ok(each(unit, Sides { texts, time: started.elapsed() }))
        };
        units.par_iter().with_max_len(1).map(one).collect()
    })
}

fn both(
    run: &Run<'_>,
    unit: &TranslationUnit,
    touched: &BTreeMap<PathBuf, Touched>,
) -> Result<Preprocessed> {
    let mut patched = side(run, unit, Some(run.farm))?;
    if patched.is_err_and_misses_header() && run.generate(unit)? {
        patched = side(run, unit, Some(run.farm))?;
    }
    let Side::Text { text: patched, depfile } = patched else { return Ok(Preprocessed::Failed) };
    let Setting { prepared, source, .. } = run.setting;
    let directory = prepared.directory(run.farm);
    let read = depfile::read_by(&depfile, &directory, run.farm, source, touched)
        .with_context(|| format!("internal error: reading the patched `{}`", unit.source))?;
    if read.is_empty() {
        return Ok(Preprocessed::Unread);
    }
    match side(run, unit, None)? {
        Side::Text { text: original, .. } => Ok(Preprocessed::Texts { original, patched }),
        Side::Failed { .. } => Ok(Preprocessed::Failed),
    }
}

enum Side {
    Text { text: Vec<u8>, depfile: PathBuf },
    Failed { misses_header: bool },
}

impl Side {
    fn is_err_and_misses_header(&self) -> bool {
        matches!(self, Side::Failed { misses_header: true })
    }
}

fn side(run: &Run<'_>, unit: &TranslationUnit, farm: Option<&Path>) -> Result<Side> {
    let Setting { prepared, headers, work, log, .. } = run.setting;
    let place = normalize(&unit.object).context("an object outside the object directory")?;
    let name = if farm.is_some() { "text-patched" } else { "text-original" };
    let out = work.join(name).join(place);
    let depfile = PathBuf::from(format!("{}.d", out.display()));
    fs::create_dir_all(out.parent().unwrap_or(work))?;
    let mut command = replay::preprocess(unit, prepared, farm, headers, &out, &depfile)?;
    let output = log.output(&mut command)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Ok(Side::Failed { misses_header: diagnostics::misses_a_header(&message) });
    }
    let text = fs::read(&out).with_context(|| format!("cannot read `{}`", out.display()))?;
    // Texts are some megabytes each, and nobody looks at them again.
    fs::remove_file(&out)?;
    Ok(Side::Text { text, depfile })
}

//! Patched headers: which units they change. In three steps, each a fraction of the cost of the next: the
//! records of a build, or the text of `#include` lines, tell who may read a header ([`readers`]), names tell who may use what is changed
//! in it ([`names`]), and the preprocessed text of what is left tells who does ([`Use`]). Only that is
//! compiled.
//!
//! Bias: a unit stays in unless it is certain that its code cannot change: one that is missed stays unfixed
//! in silence.

mod entities;
mod generated;
mod graph;
mod limits;
mod names;
mod readers;
mod shape;
mod tokens;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use rayon::prelude::*;

use crate::apply::Touched;
use crate::compile::Setting;
use crate::compile::preprocess;
use crate::compile::preprocess::Preprocessed;
use crate::compile::preprocess::Sides;
use crate::compile_database::CompileDatabase;
use crate::compile_database::TranslationUnit;
use crate::farm::PatchedFarm;
use crate::progress::Progress;
use crate::source_tree::SourceTree;
use entities::Entity;
use limits::Countdown;
use limits::Many;
use limits::too_many;
use names::Closed;
use names::Names;

/// So many times the objects that may be compiled are looked at more closely: preprocessing is that much
/// cheaper than compiling three times.
const LOOKED_AT: usize = 5;

/// So few units that name what is changed are compiled at once: to look at them first would take longer than
/// to compile the one or other in vain.
const FEW: usize = 40;

/// The image's linker script is made from headers, too.
const LINKER_SCRIPT: &str = "arch/x86/kernel/vmlinux.lds";

/// Whether `path` is a header by its name.
pub fn is_header(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "h")
}

/// What a patch to headers is looked up in.
#[derive(Debug)]
pub struct Where<'a> {
    /// How to compile.
    pub setting: &'a Setting<'a>,
    /// The source.
    pub tree: &'a SourceTree,
    /// The units.
    pub database: &'a CompileDatabase,
    /// The farm that holds the patch.
    pub farm: &'a PatchedFarm,
    /// How many units may be compiled.
    pub most: usize,
    /// What the user sees.
    pub progress: &'a Progress,
}

/// The units of kernel text, besides `known`, whose code the headers among `touched` may change.
///
/// # Errors
/// Refusals: `TooManyObjects`; `TouchesAssembly`, `GeneratedChanged`, `TouchesHeader` for what is made of
/// a header and cannot be patched; `NotKernelText` when nothing else uses it.
pub fn users(
    look: &Where<'_>,
    touched: &BTreeMap<PathBuf, Touched>,
    known: &[TranslationUnit],
) -> Result<Vec<TranslationUnit>> {
    let Where { setting, farm, progress, .. } = look;
    let headers: BTreeMap<&Path, &Touched> = touched
        .iter()
        .filter(|(path, file)| is_header(path) && !file.created)
        .map(|(path, file)| (path.as_path(), file))
        .collect();
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let (certain, candidates) =
        progress.step("look for users of the headers", || candidates(look, &headers, known))?;
    progress.detail(&format!(
        "{} unit(s) name what is changed, {} more may use it",
        certain.len(),
        candidates.len()
    ));
    let found = AtomicUsize::new(0);
    // It ends with the first object too many.
    let count = |more: usize| -> Result<()> {
        let found = found.fetch_add(more, Ordering::Relaxed) + more;
        if found > look.most {
            return Err(too_many(look, &headers, Many::Certain).into());
        }
        Ok(())
    };
    count(certain.len())?;
    let looked_at: Vec<&TranslationUnit> = candidates.iter().collect();
    let uses = progress.step("preprocess what may use them", || {
        let shown = Countdown::new(progress, looked_at.len(), setting.jobs);
        preprocess::preprocess(setting, &looked_at, touched, farm, |unit, sides| {
            shown.one(sides.time);
            let used = Use::of(unit, &sides);
            count(usize::from(used == Use::Yes && is_patchable(unit)))?;
            Ok((unit.clone(), used))
        })
    })?;
    let mut refusals = generated::refusals(setting, touched, farm)?;
    let mut units = certain;
    let mut elsewhere = Vec::new();
    for (unit, used) in uses {
        if used == Use::No {
            continue;
        }
        progress.detail(&format!("{} uses what is changed", unit.source));
        let place = Place::object(&unit.object);
        if unit.object == LINKER_SCRIPT {
            refusals.push(Refusal::new(
                Code::GeneratedChanged,
                place,
                "the image's linker script would change".to_owned(),
                "a livepatch cannot move what the image is made of; leave that part out",
            ));
        } else if unit.owners.is_empty() {
            elsewhere.push(unit);
        } else if unit.source.ends_with(".S") {
            refusals.push(Refusal::new(
                Code::TouchesAssembly,
                place,
                format!(
                    "assembly code in `{}` uses what is changed in {}",
                    unit.source,
                    list(&headers)
                ),
                "a livepatch replaces C functions: give C code a definition of its own",
            ));
        } else {
            units.push(unit);
        }
    }
    if units.is_empty() && known.is_empty() {
        refusals.extend(elsewhere.first().map(|unit| {
            Refusal::new(
                Code::NotKernelText,
                Place::object(&unit.object),
                format!("what is changed in {} is not used in the kernel's text", list(&headers)),
                "this code runs before or outside the kernel: it needs a new kernel",
            )
        }));
    }
    Refusals::none_or(refusals, ())?;
    for unit in elsewhere {
        progress.note(&format!("`{}` stays unpatched: no kernel text", unit.object));
    }
    let config = fs::read_to_string(setting.prepared.objects.join(".config"))?;
    if config.lines().any(|line| line == "CONFIG_RUST=y") {
        progress.note("Rust code of this kernel is not made anew for changed headers");
    }
    Ok(units)
}

/// Refuses files that the patch brings under a name by which the kernel's own may read another one: who reads
/// what would change in files that nobody looks at.
///
/// # Errors
/// `AddsOrRemovesFile`; I/O errors.
pub fn refuse_hiding(look: &Where<'_>, touched: &BTreeMap<PathBuf, Touched>) -> Result<()> {
    let new = touched.iter().filter(|(_, file)| file.created);
    let new: Vec<&str> = new.filter_map(|(path, _)| path.to_str()).collect();
    if new.is_empty() {
        return Ok(());
    }
    // Records of a build would know nothing of what was not there.
    let graph = look.progress.step("look for namesakes of new files", || {
        readers::graph(look.setting.prepared, look.tree, look.database)
    })?;
    let reverse = graph.reverse();
    let refusals = new.into_iter().filter_map(|name| {
        let reader = *reverse.readers([name]).first()?;
        Some(Refusal::new(
            Code::AddsOrRemovesFile,
            Place::file(name),
            format!("`{reader}` includes a file of this name, and may find the new one"),
            "give the new file a name that nothing includes yet",
        ))
    });
    Ok(Refusals::none_or(refusals.collect(), ())?)
}

fn list(headers: &BTreeMap<&Path, &Touched>) -> String {
    let names: Vec<String> = headers.keys().map(|path| format!("`{}`", path.display())).collect();
    names.join(", ")
}

/// How a unit uses what is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    No,
    Yes,
}

impl Use {
    fn of(unit: &TranslationUnit, sides: &Sides) -> Self {
        let used = match &sides.texts {
            Preprocessed::Unread => false,
            Preprocessed::Failed => true,
            Preprocessed::Texts { original, patched } if original == patched => false,
            // Macros are gone: names are what they seem.
            Preprocessed::Texts { original, patched } if unit.source.ends_with(".c") => {
                has_effect(original, patched)
            }
            Preprocessed::Texts { .. } => true,
        };
        if used { Use::Yes } else { Use::No }
    }
}

/// Whether the difference of two preprocessed texts reaches something that is compiled to code or data.
fn has_effect(original: &[u8], patched: &[u8]) -> bool {
    let (original, patched) = (entities::entities(original), entities::entities(patched));
    let Some(names) = Names::of_difference(&original, &patched) else { return true };
    [original, patched].iter().any(|side| {
        let side: Vec<((), &Entity)> = side.iter().map(|entity| ((), entity)).collect();
        names::close(&mut names.clone(), &side) != Closed::Effects(BTreeSet::new())
    })
}

/// The units that may use what is changed, by text alone: those that need no closer look, and the others.
fn candidates(
    look: &Where<'_>,
    headers: &BTreeMap<&Path, &Touched>,
    known: &[TranslationUnit],
) -> Result<(Vec<TranslationUnit>, Vec<TranslationUnit>)> {
    let includes = readers::includes(look.setting.prepared, look.tree, look.database)?;
    let reverse = includes.readers();
    let mut sources: BTreeSet<&str> = BTreeSet::new();
    let mut direct: BTreeSet<&str> = BTreeSet::new();
    let mut all: Option<EntitiesOf<'_>> = None;
    for (path, file) in headers {
        let Some(name) = path.to_str() else { continue };
        let readers = reverse.of([name]);
        if readers.is_empty() {
            look.progress.note(&format!("nothing of this kernel reads `{name}`"));
            continue;
        }
        let original = entities::entities(&file.original);
        let patched = entities::entities(&file.patched);
        let Some(mut names) = Names::of_difference(&original, &patched) else {
            // What has an effect by itself has it in all that read it.
            sources.extend(readers.iter().filter(|file| look.database.has(file)));
            continue;
        };
        let changed = names.clone();
        let all = all.get_or_insert_with(|| EntitiesOf::read(look, &includes));
        let closed = all.close(&mut names, &patched);
        look.progress.detail(&format!(
            "`{name}` is read by {} file(s); {} name(s) lead to the change: {}",
            readers.len(),
            names.len(),
            names.iter().take(20).collect::<Vec<_>>().join(" ")
        ));
        let everywhere = match closed {
            Closed::Effects(files) => reverse.of(files),
            Closed::Endless => readers.clone(),
        };
        let named = readers.par_iter().filter(|file| {
            look.database.has(file)
                && (everywhere.contains(*file) || names_any(&look.tree.root.join(file), &names))
        });
        let named: Vec<&str> = named.copied().collect();
        let by_name =
            named.par_iter().filter(|file| names_any(&look.tree.root.join(file), &changed));
        direct.extend(by_name.copied().collect::<Vec<_>>());
        sources.extend(named);
    }
    let mut units = Vec::new();
    for source in sources {
        let found = look.database.units_with_main(source)?;
        let known = |unit: &TranslationUnit| known.iter().any(|known| known.object == unit.object);
        units.extend(found.into_iter().filter(|unit| !known(unit)));
    }
    if units.len() > look.most * LOOKED_AT {
        let readers: Vec<&TranslationUnit> = units.iter().collect();
        let each = sample(look, &readers)?;
        return Err(too_many(look, headers, Many::Possible { count: units.len(), each }).into());
    }
    if direct.len() > FEW {
        direct.clear();
    }
    let is_certain =
        |unit: &TranslationUnit| is_patchable(unit) && direct.contains(unit.source.as_str());
    Ok(units.into_iter().partition(is_certain))
}

/// Whether a patch may hold the unit: C code that is part of the kernel's text.
fn is_patchable(unit: &TranslationUnit) -> bool {
    !unit.owners.is_empty() && unit.source.ends_with(".c")
}

/// How long one unit takes on both sides, by a few of them.
fn sample(look: &Where<'_>, units: &[&TranslationUnit]) -> Result<Duration> {
    const SAMPLES: usize = 2;
    let few: Vec<&TranslationUnit> =
        units.iter().step_by(units.len() / SAMPLES + 1).copied().collect();
    let none = BTreeMap::new();
    let times =
        preprocess::preprocess(look.setting, &few, &none, look.farm, |_, sides| Ok(sides.time))?;
    // Nothing is touched, so only one side was read.
    let both = times.iter().sum::<Duration>() * 2;
    Ok(both / u32::try_from(few.len().max(1)).unwrap_or(1))
}

fn names_any(file: &Path, names: &Names) -> bool {
    let text = tokens::clean(&fs::read(file).unwrap_or_default());
    let parts =
        tokens::tokens(&text).filter_map(|token| entities::as_part(&token).map(entities::word));
    let mut words: Vec<u64> = parts.collect();
    words.sort_unstable();
    words.dedup();
    names.named_by(&words)
}

/// The entities of all files that are read but are no main files, by file.
struct EntitiesOf<'a>(Vec<(&'a str, Vec<Entity>)>);

impl<'a> EntitiesOf<'a> {
    fn read(look: &Where<'_>, includes: &'a readers::Includes) -> Self {
        let files = includes.files().into_iter();
        let files: Vec<&str> = files.filter(|file| !look.database.has(file)).collect();
        let objects = &look.setting.prepared.objects;
        let read = files.par_iter().map(|file| {
            let text =
                fs::read(look.tree.root.join(file)).or_else(|_| fs::read(objects.join(file)));
            (*file, entities::entities(&text.unwrap_or_default()))
        });
        Self(read.collect())
    }

    /// Adds to `names` all that lead to them, `patched` included.
    fn close(&self, names: &mut Names, patched: &[Entity]) -> Closed<&'a str> {
        // What the patched header has is seen where the original is read; an effect of it is a difference.
        let of_files = self.0.iter().flat_map(|(file, entities)| {
            let file = *file;
            entities.iter().map(move |entity| (file, entity))
        });
        let all: Vec<(&str, &Entity)> =
            of_files.chain(patched.iter().map(|entity| ("", entity))).collect();
        names::close(names, &all)
    }
}

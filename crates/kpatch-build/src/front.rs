//! The first half of a run: from patch files to pairs of objects. Bias: the cheap reasons to
//! refuse come first; nothing is prepared for a patch that does not apply.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use tool_run::ToolLog;

use crate::apply;
use crate::author_headers::AuthorHeaders;
use crate::cache::Cache;
use crate::compile;
use crate::compile::CompiledPair;
use crate::compile::Setting;
use crate::compile_database::CompileDatabase;
use crate::compile_database::TranslationUnit;
use crate::farm::Farms;
use crate::headers;
use crate::new_files;
use crate::outcome::Usage;
use crate::patch_file;
use crate::patch_file::Patch;
use crate::prepare;
use crate::prepare::Origin;
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::reroute::Rerouted;
use crate::source_tree::SourceTree;
use crate::unbuilt;

/// What one run works with and reports to.
#[derive(Debug)]
pub struct Context<'a> {
    /// The cache.
    pub cache: &'a Cache,
    /// The work directory of this run.
    pub work: &'a Path,
    /// How many compilers may run at once.
    pub jobs: usize,
    /// The log of all commands.
    pub log: &'a ToolLog,
    /// What the user sees.
    pub progress: &'a Progress,
}

impl<'a> Context<'a> {
    /// What all compilations in `prepared` share; the patched side reads none of the files touched in `source`.
    pub fn setting(
        &self,
        prepared: &'a Prepared,
        headers: &'a AuthorHeaders,
        source: &'a Path,
    ) -> Setting<'a> {
        let Self { cache, work, jobs, log, .. } = *self;
        Setting { cache, prepared, headers, source, work, jobs, log }
    }
}

/// Both objects of everything that the patches touch.
#[derive(Debug, Clone)]
pub struct Front {
    /// The pairs, sorted by unit.
    pub pairs: Vec<CompiledPair>,
    /// The prepared object directory, in which a module can be built.
    pub prepared: Prepared,
    /// The compilers' own time, summed.
    pub compiler_time: Duration,
}

/// Reads and parses the patch files.
///
/// # Errors
/// [`Usage`] when a file cannot be read; all [`Refusals`] of all files.
pub fn read_patches(files: &[PathBuf]) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    let mut refusals = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let text =
            fs::read(file).map_err(|error| Usage(format!("cannot read `{name}`: {error}")))?;
        match patch_file::parse(&name, &text) {
            Ok(patch) => patches.push(patch),
            Err(refused) => refusals.extend(refused.0),
        }
    }
    Ok(Refusals::none_or(refusals, patches)?)
}

/// Compiles what `patches` touch in `tree`, with and without them, for the kernel of `origin`; of what headers
/// touch no more than `most_objects`.
///
/// # Errors
/// [`Refusals`] of every phase; tool failures.
pub fn run(
    context: &Context<'_>,
    tree: &SourceTree,
    origin: &Origin,
    patches: &[Patch],
    most_objects: usize,
) -> Result<Front> {
    let Context { cache, jobs, log, progress, .. } = *context;
    let applied = apply::apply(&tree.root, patches)?;
    applied.notes.iter().for_each(|note| progress.note(note));
    let new_objects = new_files::listed(&tree.root, &applied)?;
    let farms = progress.step("link the source tree", || Farms::open(cache, tree))?;
    let prepared = prepare::open(cache, tree, &farms.base(), origin, jobs, log, progress)?;
    let database = prepared.database()?;
    let config = fs::read_to_string(prepared.objects.join(".config"))?;
    let sources = applied.files.iter().filter(|(path, file)| {
        // What the patch brings is no part of the kernel.
        !headers::is_header(path) && !file.created
    });
    let sources = sources.map(|(path, _)| path.to_string_lossy().into_owned());
    let mut units = units(&database, tree, sources, &config, progress)?;
    units.extend(new_files::units(&new_objects, &database, &config)?);
    let mut farm = farms.claim(cache, tree)?;
    compile::lay_out(&applied.files, &mut farm)?;
    let author_headers = AuthorHeaders::lay_out(cache)?;
    let setting = context.setting(&prepared, &author_headers, &tree.root);
    let look = headers::Where {
        setting: &setting,
        tree,
        database: &database,
        farm: &farm,
        most: most_objects,
        progress,
    };
    headers::refuse_hiding(&look, &applied.files)?;
    units.extend(headers::users(&look, &applied.files, &units)?);
    for unit in &units {
        progress.detail(&format!("{} -> {}", unit.source, unit.object));
    }
    let compiled = progress.step("compile both sides", || {
        compile::compile(&setting, &units, &applied.files, &mut farm)
    })?;
    drop(farm);
    let (pairs, compiler_time) = (compiled.pairs, compiled.compiler_time);
    Ok(Front { pairs, prepared, compiler_time })
}

/// Both objects, which are the same, of what may call the functions `rerouted` and is not in `front` yet.
///
/// # Errors
/// Refusals of the compiler; tool failures.
pub fn callers(
    context: &Context<'_>,
    tree: &SourceTree,
    front: &Front,
    rerouted: &Rerouted,
) -> Result<Vec<CompiledPair>> {
    let author_headers = AuthorHeaders::lay_out(context.cache)?;
    let setting = context.setting(&front.prepared, &author_headers, &tree.root);
    rerouted.users(&setting, &front.prepared.database()?, &front.pairs)
}

/// The translation units of kernel text that the files `sources`, relative to the tree, are compiled in.
///
/// # Errors
/// Refusals for files that are not built in the configuration, or do not become kernel text.
pub fn units(
    database: &CompileDatabase,
    tree: &SourceTree,
    sources: impl Iterator<Item = String>,
    config: &str,
    progress: &Progress,
) -> Result<Vec<TranslationUnit>> {
    let mut found: BTreeMap<String, TranslationUnit> = BTreeMap::new();
    let mut refusals = Vec::new();
    for source in sources {
        let all = database.units_of(&source)?;
        let (text, other): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|unit| !unit.owners.is_empty());
        match (text.is_empty(), other.is_empty()) {
            (true, true) => refusals.push(unbuilt::refusal(&tree.root, &source, config)),
            (true, false) => refusals.push(Refusal::new(
                Code::NotKernelText,
                Place::file(&source),
                format!("`{}` is not linked into the kernel or a module", other[0].object),
                "this code runs before or outside the kernel: it needs a new kernel",
            )),
            (false, _) => {
                for unit in other {
                    progress.note(&format!("`{}` stays unpatched: no kernel text", unit.object));
                }
            }
        }
        found.extend(text.into_iter().map(|unit| (unit.object.clone(), unit)));
    }
    Ok(Refusals::none_or(refusals, found.into_values().collect())?)
}

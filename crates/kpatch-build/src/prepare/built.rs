//! A kernel that was built here: its own object directory, its records as the compile database. Only the
//! cache is written to. Bias: what the compiler would read is part of the key, generated headers included.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::config;
use shipped_kernel::config::Config;

use super::Built;
use super::MOST_DRIFTS;
use super::Prepared;
use crate::cache;
use crate::cache::Cache;
use crate::cache::ContentKey;
use crate::compile_database::CompileDatabase;
use crate::progress::Progress;
use crate::source_tree;
use crate::source_tree::Entry;
use crate::source_tree::Kind;
use crate::source_tree::SourceTree;
use crate::toolchain;

/// Opens the build; the compile database comes from the cache if no record has changed.
///
/// # Errors
/// `ConfigDrift` when the configuration was edited after the build; `CompilerMismatch`; what
/// [`CompileDatabase::record`] refuses; I/O errors.
pub(super) fn open(
    cache: &Cache,
    tree: &SourceTree,
    farm: &Path,
    built: &Built,
    progress: &Progress,
) -> Result<Prepared> {
    refuse_edited(built)?;
    let inside = built.objects.strip_prefix(&tree.root).ok().map(Path::to_owned);
    // What is generated within the source tree is part of the tree's key.
    let outside = match inside {
        None => Some(source_tree::read_objects(&built.objects)?),
        Some(_) => None,
    };
    let records = outside.as_ref().map_or(&tree.records, |outside| &outside.records);
    let records: Vec<(PathBuf, &Entry)> = records
        .iter()
        .filter_map(|entry| match &inside {
            Some(inside) => Some((entry.path.strip_prefix(inside).ok()?.to_owned(), entry)),
            None => Some((entry.path.clone(), entry)),
        })
        .collect();

    let mut key = ContentKey::new("records of a build 2")
        .part(built.objects.as_os_str().as_encoded_bytes())
        .part(tree.root.as_os_str().as_encoded_bytes())
        .part(read(&built.objects.join("modules.order"))?);
    for (path, entry) in &records {
        let (Kind::File(state) | Kind::Link(_, Some(state))) = entry.kind else { continue };
        key = key.part(path.as_os_str().as_encoded_bytes()).part(state.bytes());
    }
    let directory = cache.root().join("records");
    fs::create_dir_all(&directory)?;
    let database = directory.join(key.name());
    let _lock = cache::lock(&database.with_extension("lock"))?;
    if !database.exists() {
        progress.step("read the build's records", || {
            let paths: Vec<PathBuf> = records.iter().map(|(path, _)| path.clone()).collect();
            CompileDatabase::record(&built.objects, &tree.root, &paths, &database, cache)
        })?;
    }

    let config = String::from_utf8(read(&built.config)?).context("the configuration is no text")?;
    let command = CompileDatabase::load(&database)?.compiler()?;
    let compiler = toolchain::find_compiler_as(command.as_deref(), &config, &built.config)?;
    let key = ContentKey::new("built objects 1")
        .part(&tree.key)
        .part(outside.map(|outside| outside.key).unwrap_or_default())
        .part(built.objects.as_os_str().as_encoded_bytes())
        .part(&config)
        .part(&compiler.version)
        .name();
    Ok(Prepared {
        objects: built.objects.clone(),
        key,
        compiler,
        farm: farm.to_owned(),
        source: tree.root.clone(),
        inside,
        database,
        making: None,
    })
}

/// Refuses a `.config` that is not what the objects were compiled with: that is what kbuild made of it
/// then, `include/config/auto.conf`.
fn refuse_edited(built: &Built) -> Result<(), Refusals> {
    let used = built.objects.join("include/config/auto.conf");
    let [used, now] = [&used, &built.config].map(|file| Config::read(file));
    let changes = config::drift(&used?.unquoted(), &now?.unquoted());
    if changes.is_empty() {
        return Ok(());
    }
    let mut message = format!("{} options were changed after the build:", changes.len());
    for config::Drift { symbol, shipped, prepared } in changes.iter().take(MOST_DRIFTS) {
        let show = |value: &Option<String>| value.clone().unwrap_or("not set".to_owned());
        let (built, now) = (show(shipped), show(prepared));
        message.push_str(&format!("\n  CONFIG_{symbol}: built with {built}, now {now}"));
    }
    let hint = "take the changes back, or build the kernel with them and run that";
    let place = Place::file(built.config.display().to_string());
    Err(Refusal::new(Code::ConfigDrift, place, message, hint).into())
}

fn read(path: &Path) -> Result<Vec<u8>, Refusals> {
    fs::read(path).map_err(|error| {
        let place = Place::file(path.display().to_string());
        let hint = "build the kernel and its modules to their end: `make`";
        Refusal::new(Code::TargetIncomplete, place, format!("cannot be read: {error}"), hint).into()
    })
}

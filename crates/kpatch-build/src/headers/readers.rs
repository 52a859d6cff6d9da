//! Which files may read a file. For a kernel that was never built here that is told by the text of the source;
//! whoever has the records of a build (`.cmd` files) knows it better, and can answer in this place.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;

use super::graph::Graph;
use super::graph::Reverse;
use crate::compile_database::CompileDatabase;
use crate::prepare::Prepared;
use crate::source_tree::SourceTree;

/// The includes of all that `database` compiles, from the cache if they were written before.
///
/// # Errors
/// I/O errors.
pub(super) fn graph(
    prepared: &Prepared,
    tree: &SourceTree,
    database: &CompileDatabase,
) -> Result<Graph> {
    let file = prepared.includes();
    let found = fs::read_to_string(&file).ok().and_then(|text| Graph::parse(&text).ok());
    if let Some(graph) = found {
        return Ok(graph);
    }
    let mut roots = BTreeMap::new();
    for (source, forced) in database.roots()? {
        let inside = forced.iter().filter_map(|path| {
            // A kernel that was built in its source tree has them relative to that.
            let path = Path::new(path);
            let relative = path
                .strip_prefix(&prepared.farm)
                .or_else(|_| path.strip_prefix(&prepared.source))
                .or_else(|_| path.strip_prefix("."))
                .ok()?;
            relative.to_str().map(str::to_owned)
        });
        roots.insert(source, inside.collect::<BTreeSet<String>>());
    }
    let graph = Graph::build(tree, &prepared.objects, &roots);
    let temporary = file.with_extension(format!("{}", std::process::id()));
    fs::write(&temporary, graph.write())
        .with_context(|| format!("cannot write `{}`", temporary.display()))?;
    fs::rename(&temporary, &file)?;
    Ok(graph)
}

/// All files that may read `file`, headers and main files alike, in any configuration.
pub(super) fn may_read<'a>(graph: &Reverse<'a>, file: &'a str) -> BTreeSet<&'a str> {
    graph.readers([file])
}

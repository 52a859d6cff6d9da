//! Which files read a file. Of a kernel that was built here the records of the build say what the compiler read;
//! of others the text of the source says what may be read.
//!
//! What was edited since the build may read something else now. It is not what runs, which is found out where
//! it is compiled, and what runs has nothing of a header that it did not read.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use rayon::prelude::*;

use super::graph::Graph;
use super::graph::Reverse;
use crate::compile_database::CompileDatabase;
use crate::prepare::Prepared;
use crate::source_tree::SourceTree;

/// What reads what.
#[derive(Debug)]
pub(super) enum Includes {
    /// By the text of the source, in any configuration.
    Written(Graph),
    /// By the records of a build.
    Recorded(Recorded),
}

/// The main files that were compiled, by the files that were read for them.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    readers: BTreeMap<String, BTreeSet<String>>,
    /// Those of which no record says what they read: they may read anything.
    unknown: BTreeSet<String>,
}

/// [`Includes`], ready to be asked.
#[derive(Debug)]
pub(super) enum Readers<'a> {
    /// As [`Includes::Written`].
    Written(Reverse<'a>),
    /// As [`Includes::Recorded`].
    Recorded(&'a Recorded),
}

/// The includes of all that `database` compiles.
///
/// # Errors
/// I/O errors; when the database is damaged.
pub(super) fn includes(
    prepared: &Prepared,
    tree: &SourceTree,
    database: &CompileDatabase,
) -> Result<Includes> {
    if database.is_recorded() {
        recorded(database).map(Includes::Recorded)
    } else {
        graph(prepared, tree, database).map(Includes::Written)
    }
}

impl Includes {
    pub(super) fn readers(&self) -> Readers<'_> {
        match self {
            Self::Written(graph) => Readers::Written(graph.reverse()),
            Self::Recorded(recorded) => Readers::Recorded(recorded),
        }
    }

    /// All files that are read, main files or not.
    pub(super) fn files(&self) -> Vec<&str> {
        match self {
            Self::Written(graph) => graph.files().collect(),
            Self::Recorded(recorded) => recorded.readers.keys().map(String::as_str).collect(),
        }
    }
}

impl<'a> Readers<'a> {
    /// The main files that read one of `files`, directly or not; headers may be among them.
    pub(super) fn of<'b>(&self, files: impl IntoIterator<Item = &'b str>) -> BTreeSet<&'a str>
    where
        'a: 'b,
    {
        match self {
            Self::Written(reverse) => reverse.readers(files),
            Self::Recorded(recorded) => recorded.of(files),
        }
    }
}

impl Recorded {
    fn of<'b>(&self, files: impl IntoIterator<Item = &'b str>) -> BTreeSet<&str> {
        let known = files.into_iter().filter_map(|file| self.readers.get(file)).flatten();
        known.chain(&self.unknown).map(String::as_str).collect()
    }
}

fn recorded(database: &CompileDatabase) -> Result<Recorded> {
    let read: Vec<(String, Option<BTreeSet<String>>)> = database
        .units()?
        .into_par_iter()
        .map(|unit| Ok((database.files_read(&unit)?, unit.source)))
        .map(|read: Result<_>| read.map(|(files, source)| (source, files)))
        .collect::<Result<_>>()?;
    let mut recorded = Recorded::default();
    for (source, files) in read {
        match files {
            None => {
                recorded.unknown.insert(source);
            }
            Some(files) => {
                for file in files {
                    recorded.readers.entry(file).or_default().insert(source.clone());
                }
            }
        }
    }
    Ok(recorded)
}

/// The includes by text, from the cache if they were written before.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_may_read_anything() {
        let readers = [("include/a.h", vec!["fs/a.c", "mm/b.c"]), ("fs/x.h", vec!["fs/a.c"])];
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let readers = readers.iter().map(|(file, by)| ((*file).to_owned(), set(by)));
        let mut recorded = Recorded { readers: readers.collect(), unknown: BTreeSet::new() };
        assert_eq!(recorded.of(["fs/x.h"]), BTreeSet::from(["fs/a.c"]));
        assert_eq!(recorded.of(["fs/x.h", "include/a.h"]), BTreeSet::from(["fs/a.c", "mm/b.c"]));
        assert!(recorded.of(["fs/none.h", ""]).is_empty());
        recorded.unknown.insert("fs/c.c".to_owned());
        assert_eq!(recorded.of(["fs/none.h"]), BTreeSet::from(["fs/c.c"]));
        let all = Includes::Recorded(recorded);
        assert_eq!(all.files(), ["fs/x.h", "include/a.h"]);
    }
}

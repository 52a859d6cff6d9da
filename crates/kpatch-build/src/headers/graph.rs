//! Which files may read which, by the text of their `#include` lines: written once for each prepared kernel.
//! Bias: an include that some configuration leaves out counts, and one that could mean several files means
//! all of them; the compiler's own list of what it read is asked later.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::tokens::clean;
use crate::compile_database::normalize;
use crate::source_tree::SourceTree;

const VERSION: &str = "kpatch includes 1";

/// The files that can be reached from the units of a kernel, and what each says that it includes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Graph {
    /// By path relative to the source tree (or to the object directory, for generated headers): names as
    /// they are written, `"` or `<` in front.
    files: BTreeMap<String, Vec<String>>,
}

impl Graph {
    /// Follows all includes from `roots`, relative to `tree`, and what lies in the `include` directories of
    /// the object directory `objects`. With each root go files that its command includes.
    pub(super) fn build(
        tree: &SourceTree,
        objects: &Path,
        roots: &BTreeMap<String, BTreeSet<String>>,
    ) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let paths = tree.entries.iter().filter_map(|entry| entry.path.to_str());
        for path in paths.filter(|path| is_for_x86(path)) {
            by_name.entry(base(path)).or_default().push(path);
        }
        let mut files = BTreeMap::new();
        for directory in ["include", "arch/x86/include"] {
            generated(objects, directory, &mut files);
        }
        let generated: Vec<String> = files.values().flatten().cloned().collect();
        let mut open: BTreeSet<String> =
            roots.keys().chain(roots.values().flatten()).cloned().collect();
        // Generated headers lie nowhere near what they include.
        open.extend(generated.iter().flat_map(|include| resolve("", include, &by_name)));
        while !open.is_empty() {
            let read: Vec<(String, Vec<String>)> = open
                .par_iter()
                .map(|path| {
                    let text = fs::read(tree.root.join(path)).unwrap_or_default();
                    let mut found = includes(&text);
                    let forced = roots.get(path).into_iter().flatten();
                    found.extend(forced.map(|path| format!("<{path}")));
                    (path.clone(), found)
                })
                .collect();
            let mut next = BTreeSet::new();
            for (path, found) in &read {
                for include in found {
                    next.extend(resolve(path, include, &by_name));
                }
            }
            files.extend(read);
            next.retain(|path| !files.contains_key(path));
            open = next;
        }
        Self { files }
    }

    /// The graph against the direction of its includes.
    pub(super) fn reverse(&self) -> Reverse<'_> {
        let mut by_name: FxHashMap<&str, Vec<(&str, &str)>> = FxHashMap::default();
        for (path, includes) in &self.files {
            for include in includes {
                by_name.entry(base(include)).or_default().push((path, include));
            }
        }
        Reverse { graph: self, by_name }
    }

    /// All files.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn may_mean(&self, from: &str, include: &str, file: &str) -> bool {
        match beside(from, include) {
            Some(beside) if self.files.contains_key(&beside) => beside == file,
            _ => is_suffix(file, include),
        }
    }

    /// The graph as text.
    pub(super) fn write(&self) -> String {
        let mut text = format!("{VERSION}\n{}\n", self.files.len());
        for (path, includes) in &self.files {
            text.push_str(path);
            for include in includes {
                text.push('\t');
                text.push_str(include);
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`Graph::write`] wrote.
    ///
    /// # Errors
    /// When it is of another version or damaged.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            bail!("the list of includes is of another version");
        }
        let count: usize =
            lines.next().unwrap_or_default().parse().context("no number of files")?;
        let mut files = BTreeMap::new();
        for line in lines {
            let mut fields = line.split('\t').map(str::to_owned);
            files.insert(fields.next().unwrap_or_default(), fields.collect());
        }
        if files.len() != count {
            bail!("the list of includes is cut off");
        }
        Ok(Self { files })
    }
}

/// Who includes what.
#[derive(Debug)]
pub(super) struct Reverse<'a> {
    graph: &'a Graph,
    /// By the last component of an include: who says so, and how.
    by_name: FxHashMap<&'a str, Vec<(&'a str, &'a str)>>,
}

impl<'a> Reverse<'a> {
    /// The files that may read one of `files`, directly or not, and these themselves if they are known.
    pub(super) fn readers<'b>(&self, files: impl IntoIterator<Item = &'b str>) -> BTreeSet<&'a str>
    where
        'a: 'b,
    {
        let mut open: Vec<&'b str> = files.into_iter().collect();
        let known = open.iter().filter_map(|file| self.graph.files.get_key_value(*file));
        let mut found: BTreeSet<&'a str> = known.map(|(path, _)| path.as_str()).collect();
        while let Some(file) = open.pop() {
            for (path, include) in self.by_name.get(base(file)).into_iter().flatten() {
                if !found.contains(path) && self.graph.may_mean(path, include, file) {
                    found.insert(path);
                    open.push(path);
                }
            }
        }
        found
    }
}

/// Other architectures' headers are not read, and tools are no part of a kernel.
fn is_for_x86(path: &str) -> bool {
    let other = path.strip_prefix("arch/").is_some_and(|rest| !rest.starts_with("x86/"));
    !other && !path.starts_with("tools/") && !path.starts_with("Documentation/")
}

fn generated(objects: &Path, directory: &str, files: &mut BTreeMap<String, Vec<String>>) {
    let Ok(entries) = fs::read_dir(objects.join(directory)) else { return };
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(|name| format!("{directory}/{name}"))
        else {
            continue;
        };
        if entry.path().is_dir() {
            generated(objects, &name, files);
        } else if name.ends_with(".h") {
            let text = fs::read(entry.path()).unwrap_or_default();
            files.insert(name, includes(&text));
        }
    }
}

/// The last component of a path or an include.
fn base(path: &str) -> &str {
    path.rsplit(['/', '"', '<']).next().unwrap_or(path)
}

/// What `"…"` means if there is such a file beside the one that says so.
fn beside(from: &str, include: &str) -> Option<String> {
    let name = include.strip_prefix('"')?;
    let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
    normalize(&format!("{directory}/{name}"))
}

/// Whether an include can mean `file` by way of some directory.
fn is_suffix(file: &str, include: &str) -> bool {
    let mut name = &include[1..];
    while let Some(rest) = name.strip_prefix("../").or_else(|| name.strip_prefix("./")) {
        name = rest;
    }
    // `../` further in: only the part behind it is known.
    let name = name.rsplit("../").next().unwrap_or(name);
    file.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn resolve(from: &str, include: &str, by_name: &BTreeMap<&str, Vec<&str>>) -> Vec<String> {
    let named = by_name.get(base(include)).map_or(&[][..], Vec::as_slice);
    if let Some(beside) = beside(from, include) {
        if named.contains(&&*beside) {
            return vec![beside];
        }
    }
    let fitting = named.iter().filter(|path| is_suffix(path, include));
    fitting.map(|path| (*path).to_owned()).collect()
}

/// What `text` includes, and what it defines a macro as that could be included.
fn includes(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    // Most of a file is of no interest here, and comments seldom hold such lines.
    for line in text.split(|byte| *byte == b'\n') {
        let Some(rest) = line.trim_ascii_start().strip_prefix(b"#") else { continue };
        let rest = rest.trim_ascii_start();
        let name = if let Some(name) = rest.strip_prefix(b"include") {
            let name = name.strip_prefix(b"_next").unwrap_or(name);
            name.trim_ascii_start().to_owned()
        } else if let Some(define) = rest.strip_prefix(b"define") {
            let define = clean(define);
            let mut words = define.trim_ascii().splitn(2, u8::is_ascii_whitespace);
            words.next();
            words.next().unwrap_or_default().trim_ascii().to_owned()
        } else {
            continue;
        };
        let close = match name.first() {
            Some(b'"') => b'"',
            Some(b'<') => b'>',
            _ => continue,
        };
        let Some(end) = name[1..].iter().position(|byte| *byte == close) else { continue };
        let is_define = rest.starts_with(b"define");
        let name = String::from_utf8_lossy(&name[..=end]).into_owned();
        let plain = !name.contains(['\t', '%', ' ']) && name.len() > 1;
        if plain && (!is_define || name.ends_with(".h") || name.ends_with(".c")) {
            found.push(name);
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_tree;

    fn graph(files: &[(&str, &str)], generated: &[(&str, &str)], roots: &[&str]) -> Graph {
        let dir = tempfile::tempdir().unwrap();
        let (source, objects) = (dir.path().join("s"), dir.path().join("o"));
        let makefile = ("Makefile", "VERSION = 6\nPATCHLEVEL = 12\n");
        for (root, files) in
            [(&source, [files, &[makefile]].concat()), (&objects, generated.to_vec())]
        {
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
        let tree = source_tree::read(&source).unwrap();
        let forced = BTreeSet::from(["include/linux/forced.h".to_owned()]);
        let roots = roots.iter().map(|root| ((*root).to_owned(), forced.clone())).collect();
        Graph::build(&tree, &objects, &roots)
    }

    #[test]
    fn finds_readers_through_headers_and_generated_ones() {
        let graph = graph(
            &[
                ("fs/a.c", "#include <linux/a.h>\n#include \"x.h\"\n"),
                ("fs/b.c", " # include <asm/b.h>\n"),
                ("mm/c.c", "#include \"x.h\"\n"),
                ("fs/x.h", ""),
                ("mm/x.h", "#include \"../fs/deep.h\"\n"),
                ("fs/deep.h", ""),
                ("include/linux/a.h", "#include <uapi/linux/a.h>\n"),
                ("include/linux/forced.h", ""),
                ("include/uapi/linux/a.h", ""),
                ("include/asm-generic/b.h", ""),
                ("arch/arm/include/asm/b.h", "#include <linux/a.h>\n"),
            ],
            &[("arch/x86/include/generated/asm/b.h", "#include <asm-generic/b.h>\n")],
            &["fs/a.c", "fs/b.c", "mm/c.c"],
        );
        let readers = |file: &str| {
            let readers = graph.reverse().readers([file]);
            readers.into_iter().filter(|file| file.ends_with(".c")).collect::<Vec<_>>()
        };
        assert_eq!(readers("include/uapi/linux/a.h"), ["fs/a.c"]);
        assert_eq!(readers("include/asm-generic/b.h"), ["fs/b.c"]);
        // Two files of one name: the one beside the reader is meant.
        assert_eq!(readers("fs/x.h"), ["fs/a.c"]);
        assert_eq!(readers("fs/deep.h"), ["mm/c.c"]);
        assert_eq!(readers("include/linux/forced.h"), ["fs/a.c", "fs/b.c", "mm/c.c"]);
        assert!(readers("include/linux/none.h").is_empty());
        assert_eq!(Graph::parse(&graph.write()).unwrap(), graph);
        let text = graph.write();
        assert!(Graph::parse(text.trim_end().rsplit_once('\n').unwrap().0).is_err());
        assert!(Graph::parse(&text.replace("includes 1", "includes 0")).is_err());
    }

    #[test]
    fn includes_by_way_of_macros() {
        let graph = graph(
            &[
                ("d/a.c", "#define FILE_TO_READ <linux/d.h> /* x */\n#include \"magic.h\"\n"),
                ("d/magic.h", "#include FILE_TO_READ\n"),
                ("include/linux/d.h", ""),
            ],
            &[],
            &["d/a.c"],
        );
        assert!(graph.reverse().readers(["include/linux/d.h"]).contains("d/a.c"));
    }
}

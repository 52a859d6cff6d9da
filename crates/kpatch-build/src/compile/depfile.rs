//! The proof that a patched compilation read the patched files: its depfile names touched files in
//! the farm, and nothing that is really the original of a touched file.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

use crate::apply::Touched;
use crate::compile_database::normalize;

/// The touched files that a compilation in the directory `objects` read, by its depfile.
///
/// # Errors
/// When it read the original of a touched file, or the depfile is not to be had.
pub(super) fn read_by(
    depfile: &Path,
    objects: &Path,
    farm: &Path,
    source: &Path,
    touched: &BTreeMap<PathBuf, Touched>,
) -> Result<BTreeSet<PathBuf>> {
    let text = fs::read_to_string(depfile)
        .with_context(|| format!("cannot read depfile `{}`", depfile.display()))?;
    let originals: Vec<PathBuf> = touched
        .iter()
        .filter(|(_, file)| !file.created)
        .map(|(path, _)| source.join(path).canonicalize())
        .collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    for name in prerequisites(&text) {
        let path = objects.join(&name);
        // Lexically is physically here: neither farm nor object directory has linked directories.
        let plain = path.to_str().and_then(normalize).map(|text| PathBuf::from(format!("/{text}")));
        let inside = plain.as_deref().and_then(|path| path.strip_prefix(farm).ok());
        seen.extend(inside.filter(|inside| touched.contains_key(*inside)).map(Path::to_owned));
        let real = path
            .canonicalize()
            .with_context(|| format!("the depfile names `{name}`, which is not there"))?;
        ensure!(
            !originals.contains(&real),
            "it read the unpatched `{}` as `{name}`",
            real.display()
        );
    }
    Ok(seen)
}

/// The prerequisites of the one rule in a depfile, with make's quoting undone.
fn prerequisites(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let rule = joined.split_once(": ").map_or("", |(_, rest)| rest);
    let mut names = Vec::new();
    let mut name = String::new();
    let mut chars = rest_of_rule(rule).chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(' ' | '#')) | ('$', Some('$')) => name.extend(chars.next()),
            (c, _) if c.is_whitespace() => {
                if !name.is_empty() {
                    names.push(std::mem::take(&mut name));
                }
            }
            (c, _) => name.push(c),
        }
    }
    if !name.is_empty() {
        names.push(name);
    }
    names
}

/// `-MP` would add empty rules for headers behind the first.
fn rest_of_rule(rule: &str) -> &str {
    rule.split('\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn undoes_quoting() {
        let text = "a.o: /x/a\\ b.c \\\n x$$y.h \\\n  z.h\n\nz.h:\n";
        assert_eq!(prerequisites(text), ["/x/a b.c", "x$y.h", "z.h"]);
    }

    #[test]
    fn tells_the_patched_file_from_the_original() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for path in ["source/d", "copy/d", "other/d", "objects"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("source/d/a.c"), "old").unwrap();
        fs::write(at("source/x.h"), "").unwrap();
        fs::write(at("copy/d/a.c"), "new").unwrap();
        symlink(at("source/x.h"), at("copy/x.h")).unwrap();
        symlink(at("source/d/a.c"), at("other/d/a.c")).unwrap();
        let file = Touched { original: Vec::new(), patched: Vec::new(), created: false };
        let touched = BTreeMap::from([(PathBuf::from("d/a.c"), file)]);
        let run = |names: &str| {
            fs::write(at("a.d"), format!("a.o: {}\n", names.replace('@', root.to_str().unwrap())))
                .unwrap();
            read_by(&at("a.d"), &at("objects"), &at("copy"), &at("source"), &touched)
        };
        let patched = BTreeSet::from([PathBuf::from("d/a.c")]);
        assert_eq!(run("@/copy/d/a.c @/copy/x.h").unwrap(), patched);
        assert_eq!(run("../copy/d/../d/a.c").unwrap(), patched);
        assert!(run("@/copy/x.h").unwrap().is_empty());
        let error = run("@/copy/d/a.c @/other/d/a.c").unwrap_err().to_string();
        assert!(error.contains("unpatched"), "{error}");
        assert!(run("@/copy/d/a.c @/copy/none.h").is_err());
    }
}

//! C files that are included by other C files (`kernel/sched/build_policy.c` is made of such):
//! found textually, once per kernel. Bias: an include that some configuration would leave out
//! counts; the unit is then compiled and proves to be unchanged.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;

use super::TranslationUnit;
use super::normalize;

/// For each included C file: the main files of the units that include it, directly or not.
pub(super) fn find(
    source: &Path,
    units: &[TranslationUnit],
) -> Result<BTreeMap<String, Vec<String>>> {
    // The directories that `#include <x.c>` may mean: those of `-I` within the tree.
    let mains: BTreeMap<&str, Vec<&str>> = units
        .iter()
        .map(|unit| {
            let dirs = unit.arguments.iter().filter_map(|word| word.strip_prefix("-I"));
            let inside = dirs.filter_map(|dir| Path::new(dir).strip_prefix(source).ok()?.to_str());
            (unit.source.as_str(), inside.collect())
        })
        .collect();
    let found: Vec<(String, String)> = mains
        .par_iter()
        .flat_map_iter(|(main, dirs)| {
            let included = closure(source, main, dirs);
            let main = (*main).to_owned();
            included.into_iter().map(move |file| (file, main.clone()))
        })
        .collect();
    let mut includers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (included, main) in found {
        includers.entry(included).or_default().insert(main);
    }
    let sorted = includers.into_iter().map(|(file, mains)| (file, mains.into_iter().collect()));
    Ok(sorted.collect())
}

/// All C files that `main` includes, and what these include.
fn closure(source: &Path, main: &str, dirs: &[&str]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![main.to_owned()];
    while let Some(file) = open.pop() {
        let Ok(text) = fs::read(source.join(&file)) else { continue };
        for name in includes(&text) {
            let own = file.rsplit_once('/').map_or("", |(dir, _)| dir);
            let candidates = std::iter::once(own).chain(dirs.iter().copied());
            let resolved = candidates
                .filter_map(|dir| normalize(&format!("{dir}/{name}")))
                .find(|path| source.join(path).is_file());
            let Some(path) = resolved else { continue };
            if seen.insert(path.clone()) {
                open.push(path);
            }
        }
    }
    seen
}

/// The C files that `text` includes by name.
fn includes(text: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(rest) = line.trim_ascii().strip_prefix(b"#") else { continue };
        let Some(rest) = rest.trim_ascii().strip_prefix(b"include") else { continue };
        let rest = rest.trim_ascii();
        let close = match rest.first() {
            Some(b'"') => b'"',
            Some(b'<') => b'>',
            _ => continue,
        };
        let Some(end) = rest[1..].iter().position(|byte| *byte == close) else { continue };
        let name = String::from_utf8_lossy(&rest[1..=end]);
        if name.ends_with(".c") {
            names.push(name.into_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_c_files_through_c_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("k")).unwrap();
        fs::write(dir.path().join("k/main.c"), "#include <linux/x.h>\n # include \"a.c\"\n")
            .unwrap();
        fs::write(dir.path().join("k/a.c"), "#include \"../b.c\"\n#include \"a.c\"\n").unwrap();
        fs::write(dir.path().join("b.c"), "int b;\n").unwrap();
        let unit = TranslationUnit {
            source: "k/main.c".to_owned(),
            object: "k/main.o".to_owned(),
            owners: Vec::new(),
            modname: String::new(),
            module: false,
            added: false,
            arguments: Vec::new(),
        };
        let found = find(dir.path(), &[unit]).unwrap();
        let main = vec!["k/main.c".to_owned()];
        assert_eq!(found, BTreeMap::from([("b.c".into(), main.clone()), ("k/a.c".into(), main)]));
    }
}

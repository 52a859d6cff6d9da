//! Real kernel objects, where there are any: those of former runs in the tool's cache
//! (`$KPATCH_CACHE`, by default `~/.cache/kpatch`), and `../shared/unit-objs` beside the project.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use create_diff_object::compare_objects;
use kpatch_elf::ObjectFile;
use libtest_mimic::Failed;
use libtest_mimic::Trial;

/// The tests, left out where there is nothing to test.
pub(crate) fn trials() -> Vec<Trial> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/unit-objs");
    let places =
        [("real::shared_pairs", shared), ("real::cached_objects", cache().join("objects"))];
    let trial = |(name, place): (&str, PathBuf)| {
        let objects = objects_below(&place);
        if objects.is_empty() {
            eprintln!("left out: {name}: no objects in `{}`", place.display());
        }
        let none = objects.is_empty();
        Trial::test(name, move || objects.iter().try_for_each(|path| against_itself(path)))
            .with_ignored_flag(none)
    };
    places.into_iter().map(trial).collect()
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/kpatch");
    env::var_os("KPATCH_CACHE").map_or_else(home, PathBuf::from)
}

fn objects_below(place: &Path) -> Vec<PathBuf> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            objects.extend(objects_below(&path));
        } else if path.extension().is_some_and(|e| e == "o") {
            objects.push(path);
        }
    }
    objects.sort();
    objects
}

fn against_itself(path: &Path) -> Result<(), Failed> {
    let name = path.display().to_string();
    let object: ObjectFile = kpatch_elf::read(&fs::read(path)?)?;
    match compare_objects(&name, &object, &object) {
        Ok(difference) if difference.is_empty() => Ok(()),
        Ok(difference) => Err(format!("{name}: {:?}", difference.changed_functions()).into()),
        Err(refusals) => Err(format!("{name}: {refusals}").into()),
    }
}

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
    let (objects, cached) = (objects_below(&shared), objects_below(&cache().join("objects")));
    vec![
        trial("real::shared_objects", objects, |objects| {
            objects.iter().try_for_each(against_itself)
        }),
        trial("real::shared_pairs", vec![shared.join("expected.tsv")], |table| pairs(&table[0])),
        trial("real::cached_objects", cached, |objects| {
            objects.iter().try_for_each(against_itself)
        }),
    ]
}

fn trial(
    name: &str,
    files: Vec<PathBuf>,
    test: impl FnOnce(&[PathBuf]) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let missing = !files.first().is_some_and(|file| file.exists());
    if missing {
        eprintln!("left out: {name}: no files");
    }
    Trial::test(name, move || test(&files)).with_ignored_flag(missing)
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

fn against_itself(path: &PathBuf) -> Result<(), Failed> {
    let name = path.display().to_string();
    let object: ObjectFile = kpatch_elf::read(&fs::read(path)?)?;
    match compare_objects(&name, &object, &object) {
        Ok(difference) if difference.is_empty() => Ok(()),
        Ok(difference) => Err(format!("{name}: {:?}", difference.changed_functions()).into()),
        Err(refusals) => Err(format!("{name}: {refusals}").into()),
    }
}

/// Pairs with known answers. Most of them went through objtool, or come from kernels that this tool does
/// not know, and then it says so; but it never misses a function that is known to have changed.
fn pairs(table: &Path) -> Result<(), Failed> {
    let directory = table.parent().ok_or("no directory")?;
    let mut answered = 0;
    for line in fs::read_to_string(table)?.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[name, _, code, _, changed, new, ..] = columns.as_slice() else {
            return Err(format!("`{line}`").into());
        };
        let read = |suffix: &str| kpatch_elf::read(&fs::read(directory.join(suffix)).ok()?).ok();
        let original = read(&format!("{name}.ORIG.o")).ok_or("no original")?;
        let patched = read(&format!("{name}.PATCHED.o"))
            .or_else(|| read(&format!("{name}.PATCHED.FAIL.o")))
            .ok_or("no patched object")?;
        let Ok(difference) = compare_objects(name, &original, &patched) else { continue };
        if code == "2" {
            return Err(format!("{name} has to be refused").into());
        }
        answered += 1;
        for (what, wanted, found) in [
            ("changed", changed, difference.changed_functions()),
            ("new", new, difference.new_functions()),
        ] {
            let missed = wanted.split(',').filter(|f| !f.is_empty() && !found.contains(f));
            if let Some(function) = missed.into_iter().next() {
                return Err(format!("{name}: `{function}` is {what}, found {found:?}").into());
            }
        }
    }
    if answered < 10 { Err(format!("only {answered} answers").into()) } else { Ok(()) }
}

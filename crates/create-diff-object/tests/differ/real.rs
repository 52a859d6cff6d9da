//! Real kernel objects, where there are any: those of former runs in the tool's cache
//! (`$KPATCH_CACHE`, by default `~/.cache/kpatch`), and `../shared/unit-objs` beside the project.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use create_diff_object::compare_objects;
use create_diff_object::notices::Notice;
use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_refusal::Code;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::case::Case;
use crate::emitted;
use crate::kernel::Kernel;

/// The tests, left out where there is nothing to test.
pub(crate) fn trials() -> Vec<Trial> {
    let shared = shared();
    let (objects, cached) = (objects_below(&shared), objects_below(&cache().join("objects")));
    vec![
        trial("real::shared_objects", objects, |objects| {
            objects.iter().try_for_each(against_itself)
        }),
        trial("real::cached_objects", cached.clone(), |objects| {
            objects.iter().try_for_each(against_itself)
        }),
        trial("real::one_instruction", cached, one_instruction),
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

pub(crate) fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/unit-objs")
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/kpatch");
    env::var_os("KPATCH_CACHE").map_or_else(home, PathBuf::from)
}

/// The smallest real objects that are at hand.
pub(crate) fn smallest(number: usize) -> Vec<PathBuf> {
    let mut objects = objects_below(&shared());
    objects.extend(objects_below(&cache().join("objects")));
    objects.sort_by_key(|path| (fs::metadata(path).map_or(u64::MAX, |m| m.len()), path.clone()));
    objects.truncate(number);
    objects
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

/// `xor %eax,%eax` in its two encodings.
const CLEAR: [[u8; 2]; 2] = [[0x31, 0xc0], [0x33, 0xc0]];

/// One instruction of an object encoded otherwise: that function is changed or refused, and no other,
/// and what is emitted of it is sound.
fn one_instruction(objects: &[PathBuf]) -> Result<(), Failed> {
    const PER_OBJECT: usize = 2;
    let directory = TempDir::new()?;
    let mut emitted = 0;
    for path in objects {
        let original = kpatch_elf::read(&fs::read(path)?)?;
        let places = other_encodings(&original);
        let step = places.len().div_ceil(PER_OBJECT).max(1);
        for (function, section, at) in places.into_iter().step_by(step) {
            let mut patched = original.clone();
            patched.sections[section.0 as usize].data[at] = CLEAR[1][0];
            match changed_alone(function, &original, &patched, directory.path()) {
                Ok(was_emitted) => emitted += usize::from(was_emitted),
                Err(message) => {
                    return Err(format!("{}: `{function}`: {message}", path.display()).into());
                }
            }
        }
    }
    if emitted == 0 { Err("nothing was emitted".into()) } else { Ok(()) }
}

/// Whether the change was emitted, not refused.
fn changed_alone(
    function: &str,
    original: &ObjectFile,
    patched: &ObjectFile,
    directory: &Path,
) -> Result<bool, String> {
    let case = Case::default();
    let difference = match compare_objects(function, original, patched) {
        Ok(difference) => difference,
        Err(refusals) => return only_about(function, &refusals).map(|()| false),
    };
    // A cold part is redirected with its function.
    let whole = function.strip_suffix(".cold").unwrap_or(function);
    let (changed, new) = (difference.changed_functions(), difference.new_functions());
    let notices = difference.notices();
    let is_copied =
        |notice: &Notice| notice.place.symbol.as_deref() == Some(whole) && !changed.is_empty();
    // What nothing can redirect is copied for its callers, and that is said.
    let only_callers = !changed.contains(&whole) && notices.iter().any(is_copied);
    if changed != [whole] && !only_callers || !new.is_empty() {
        return Err(format!("changed {changed:?}, new {new:?}"));
    }
    let object = match difference.emit(&Kernel { case: &case, original }) {
        Ok(emitted) => emitted.object,
        Err(refusals) => return only_about(function, &refusals).map(|()| false),
    };
    emitted::is_sound(&object, directory)?;
    let changed: Vec<String> = changed.into_iter().map(str::to_owned).collect();
    emitted::names_patched_functions(&object, &changed)?;
    Ok(true)
}

fn only_about(function: &str, refusals: &Refusals) -> Result<(), String> {
    let whole = function.strip_suffix(".cold").unwrap_or(function);
    let known = |refusal: &Refusal| {
        let symbol = refusal.place.symbol.as_deref().unwrap_or_default();
        let is_about = [function, whole].contains(&symbol) || symbol == format!("{whole}.cold");
        match refusal.code {
            // From the kernel that plays along: faults of the differ.
            Code::SymbolNotFound => false,
            // Of data that the function uses.
            Code::AmbiguousMatch | Code::UnsupportedSection => true,
            _ => is_about,
        }
    };
    if refusals.0.iter().all(known) { Ok(()) } else { Err(refusals.to_string()) }
}

/// Where in each function there is an instruction to encode otherwise.
fn other_encodings(object: &ObjectFile) -> Vec<(&str, SectionId, usize)> {
    let functions = object.symbols.iter().filter(|s| s.is_defined_function());
    let place = |symbol: &'_ Symbol| {
        let section = symbol.section()?;
        let (start, end) = (symbol.value as usize, (symbol.value + symbol.size) as usize);
        let bytes = object[section].data.get(start..end)?;
        if [".init", ".exit"].iter().any(|gone| object[section].name.starts_with(gone)) {
            return None;
        }
        let relocated = |at: usize| {
            let at = (start + at) as u64;
            !object[section].relocations_in(at.saturating_sub(8)..at + 2).is_empty()
        };
        let mut pairs = bytes.windows(2).enumerate();
        let (at, _) = pairs.find(|(at, pair)| *pair == CLEAR[0] && !relocated(*at))?;
        Some((section, start + at))
    };
    functions
        .filter_map(|symbol| {
            let (section, at) = place(symbol)?;
            Some((symbol.name.as_str(), section, at))
        })
        .collect()
}

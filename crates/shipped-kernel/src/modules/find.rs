//! Where a module's file is under a modules directory (`/lib/modules/RELEASE`).
//!
//! `modules.dep` says which file `modprobe` would load: where several of one name lie about (one that a
//! package put into `updates/`, say), its answer is the kernel's. An unpacked package has none, since
//! depmod makes it on installation. Then the whole directory is searched, and two files of one name
//! are refused.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use super::refuse;
use crate::symvers::module_name;

/// The ends of module files, by CONFIG_MODULE_COMPRESS_*.
const ENDS: &[&str] = &[".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// Finds the file of a module; `-` and `_` in names are the same. Directories are searched without
/// following symbolic links: `build` and `source` are links to other trees.
///
/// # Errors
/// [`Code::TargetIncomplete`] if there is none or more than one, if the file that `modules.dep` names
/// is not there, or if something cannot be read.
pub fn find_module(directory: &Path, name: &str) -> Result<PathBuf, Refusals> {
    let name = module_name(name);
    if let Some(path) = listed(directory, &name)? {
        return Ok(path);
    }
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        search(&directory, &name, &mut pending, &mut found).map_err(|error| {
            let place = Place::object(directory.display().to_string());
            refuse(place, format!("cannot be searched for module `{name}`: {error}"))
        })?;
    }
    found.sort();
    let place = Place::object(&name);
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] if is_built_in(directory, &name) => {
            Err(refuse(place, "is built into this kernel; it is no module".to_string()))
        }
        [] => Err(refuse(place, format!("is not among the modules in `{}`", directory.display()))),
        [first, second, ..] => Err(twice(place, first, second)),
    }
}

/// The file that `modules.dep` (modules.dep(5): `FILE: DEPENDENCY...`) names for a module; `None` if
/// there is no such list or the module is not on it.
fn listed(directory: &Path, name: &str) -> Result<Option<PathBuf>, Refusals> {
    let list = directory.join("modules.dep");
    let place = || Place::file(list.display().to_string());
    let text = match fs::read_to_string(&list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(place(), format!("cannot be read: {error}"))),
    };
    let mut found: Option<PathBuf> = None;
    for (index, line) in text.lines().enumerate() {
        let line_place = || place().line(u32::try_from(index + 1).unwrap_or(u32::MAX));
        let Some((file, _)) = line.split_once(':') else {
            return Err(refuse(line_place(), "is not a line of `modules.dep`".to_string()));
        };
        if stem(file).is_none_or(|stem| module_name(stem) != name) {
            continue;
        }
        // Relative to the directory, or absolute where depmod was given another one.
        let path = directory.join(file);
        if let Some(first) = &found {
            return Err(twice(line_place(), first, &path));
        }
        if !path.is_file() {
            let message = format!("names `{file}` for module `{name}`, which is not there");
            let hint = "run `depmod` for this kernel, or unpack all of its linux-image package";
            return Err(Refusal::new(Code::TargetIncomplete, line_place(), message, hint).into());
        }
        found = Some(path);
    }
    Ok(found)
}

fn twice(place: Place, first: &Path, second: &Path) -> Refusals {
    refuse(place, format!("is there twice: `{}` and `{}`", first.display(), second.display()))
}

/// A module's file name without what all of them end with.
fn stem(file: &str) -> Option<&str> {
    ENDS.iter().find_map(|end| file.strip_suffix(end))
}

fn search(
    directory: &Path,
    name: &str,
    pending: &mut Vec<PathBuf>,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            pending.push(entry.path());
            continue;
        }
        let file = entry.file_name();
        let stem = file.to_str().and_then(stem);
        if stem.is_some_and(|stem| module_name(stem) == name) {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn is_built_in(directory: &Path, name: &str) -> bool {
    // A package without the list only costs the better message.
    let list = fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
    list.lines().filter_map(|line| line.strip_suffix(".ko")).any(|path| module_name(path) == name)
}

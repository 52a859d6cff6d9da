//! Where a kernel keeps its modules: installed under `/lib/modules`, or where they were built.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use super::find_module;
use crate::symvers::module_name;

/// A kernel's modules, to be found by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleFiles {
    /// A directory as `make modules_install` or a package fills it: see [`find_module`].
    Installed(PathBuf),
    /// An object directory; its `modules.order` names them. What else lies about there may be of a
    /// former configuration.
    Built(PathBuf),
}

impl ModuleFiles {
    /// The directory.
    pub fn directory(&self) -> &Path {
        match self {
            ModuleFiles::Installed(directory) | ModuleFiles::Built(directory) => directory,
        }
    }

    /// The file of the module `name`; `-` and `_` in names are the same.
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] if there is none or more than one, or if something cannot be read.
    pub fn find(&self, name: &str) -> Result<PathBuf, Refusals> {
        match self {
            ModuleFiles::Installed(directory) => find_module(directory, name),
            ModuleFiles::Built(directory) => find_built(directory, name),
        }
    }
}

/// The modules that `modules.order` of an object directory lists: their paths without suffix, by name.
/// Its lines end in `.o` since 6.2 and in `.ko` before (scripts/Makefile.build, `modules.order`).
///
/// # Errors
/// [`Code::TargetIncomplete`] if the list cannot be read, or has a line of another form.
pub fn built_modules(objects: &Path) -> Result<BTreeMap<String, Vec<String>>, Refusals> {
    let list = objects.join("modules.order");
    let place = || Place::file(list.display().to_string());
    let text = fs::read_to_string(&list)
        .map_err(|error| incomplete(place(), format!("cannot be read: {error}")))?;
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let Some(path) = line.strip_suffix(".o").or_else(|| line.strip_suffix(".ko")) else {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            return Err(incomplete(place().line(line), "is not a line of `modules.order`"));
        };
        let name = module_name(path);
        modules.entry(name).or_default().push(path.to_owned());
    }
    Ok(modules)
}

fn find_built(objects: &Path, name: &str) -> Result<PathBuf, Refusals> {
    let name = module_name(name);
    let modules = built_modules(objects)?;
    let place = Place::object(&name);
    match modules.get(&name).map_or(&[][..], Vec::as_slice) {
        [path] => {
            let file = objects.join(format!("{path}.ko"));
            if file.is_file() {
                return Ok(file);
            }
            Err(incomplete(place, format!("`{}` does not exist", file.display())))
        }
        [] => {
            let list = objects.join("modules.order");
            Err(incomplete(place, format!("is not among the modules in `{}`", list.display())))
        }
        [first, second, ..] => {
            let message = format!("is there twice: `{first}.ko` and `{second}.ko`");
            Err(incomplete(place, message))
        }
    }
}

fn incomplete(place: Place, message: impl Into<String>) -> Refusals {
    let hint = "build the kernel and its modules to their end: `make`";
    Refusal::new(Code::TargetIncomplete, place, message, hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_the_order_lists_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let order = "fs/ext4/ext4.o\nsound/snd-hda.ko\na/twice.o\nb/twice.o\nfs/gone.o\n";
        fs::write(dir.path().join("modules.order"), order).unwrap();
        for file in ["fs/ext4/ext4.ko", "sound/snd-hda.ko", "a/twice.ko", "b/twice.ko", "old.ko"] {
            let file = dir.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let built = ModuleFiles::Built(dir.path().to_owned());
        assert_eq!(built.find("ext4").unwrap(), dir.path().join("fs/ext4/ext4.ko"));
        assert_eq!(built.find("snd_hda").unwrap(), dir.path().join("sound/snd-hda.ko"));
        for (name, text) in [("twice", "twice"), ("old", "is not among"), ("gone", "not exist")] {
            let Refusals(all) = built.find(name).unwrap_err();
            assert_eq!(all[0].code, Code::TargetIncomplete);
            assert!(all[0].message.contains(text), "{}", all[0]);
        }
        // Installed, the same directory is searched.
        let installed = ModuleFiles::Installed(dir.path().to_owned());
        assert!(installed.find("old").is_ok());
    }

    #[test]
    fn a_damaged_order_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let built = ModuleFiles::Built(dir.path().to_owned());
        assert!(built.find("x").is_err());
        fs::write(dir.path().join("modules.order"), "a/x.o\nnonsense\n").unwrap();
        let Refusals(all) = built.find("x").unwrap_err();
        assert_eq!(all[0].place.line, Some(2), "{}", all[0]);
    }
}

//! The compile database of a kernel: every C translation unit with the command that kbuild runs for it
//! and what its object is linked into. Of a kernel that was never built here it is taken from kbuild's own
//! dry run, of one that was from the records of that build. Bias: nothing about flags or membership is
//! guessed from paths; an object that no recipe puts into `vmlinux` or a module is not kernel text.

mod includers;
mod recipes;
mod saved;
pub(crate) mod shell;
mod store;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use tool_run::ToolLog;

use crate::cache::Cache;

/// What an object is linked into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The kernel proper.
    Vmlinux,
    /// A module.
    Module {
        /// As the kernel calls it: `xfs`, `snd_hda_intel`.
        name: String,
        /// Its file in the object directory, without `.ko`: `sound/pci/hda/snd-hda-intel`.
        path: String,
    },
}

impl Owner {
    /// The owner's name in a livepatch: `vmlinux` or the module's name.
    pub fn name(&self) -> &str {
        match self {
            Owner::Vmlinux => "vmlinux",
            Owner::Module { name, .. } => name,
        }
    }
}

/// One translation unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslationUnit {
    /// The C or assembly file, relative to the source tree, without `..`: `virt/kvm/kvm_main.c`.
    pub source: String,
    /// The object as kbuild names it: `arch/x86/kvm/../../../virt/kvm/kvm_main.o`. A linker script
    /// (`vmlinux.lds`) is made in the same way, and is one here.
    pub object: String,
    /// What it is linked into, sorted; empty for code that is no kernel text (vDSO, realmode, EFI
    /// stub, purgatory). A few objects are in several modules.
    pub owners: Vec<Owner>,
    /// `KBUILD_MODNAME` as the command defines it (for vmlinux, too).
    pub modname: String,
    /// Compiled with `-DMODULE`.
    pub module: bool,
    /// The patch adds it: there is nothing of it in the kernel, nor in the source tree.
    pub added: bool,
    /// The command: compiler and arguments, unquoted.
    pub arguments: Vec<String>,
}

/// All translation units of one kernel.
#[derive(Debug)]
pub struct CompileDatabase {
    store: store::Store,
    /// Where the kernel was built, if it was.
    build: Option<saved::Places>,
}

impl CompileDatabase {
    /// Runs kbuild's dry run with `make` (a command that only lacks its targets) and reads it.
    ///
    /// # Errors
    /// When make cannot be run or prints no compiler command.
    pub fn create(
        mut make: Command,
        source: &Path,
        output: &Path,
        file: &Path,
        log: &ToolLog,
    ) -> Result<()> {
        make.args(["-n", "-k", "vmlinux", "modules"]);
        // Some 50 MB that nobody wants to find in the log.
        let mut shell = Command::new("sh");
        shell.args(["-c", "out=$1; shift; exec \"$@\" >\"$out\"", "sh"]).arg(output);
        shell.arg(make.get_program()).args(make.get_args());
        for (name, value) in make.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        // It ends with an error wherever a rule needs a file that only a real build would make.
        log.output(&mut shell)?;
        let text = fs::read(output).context("cannot read what the dry run printed")?;
        let text = String::from_utf8_lossy(&text);
        let mut units = recipes::read(&text, source)?;
        ensure!(!units.is_empty(), "the dry run `{}` prints no compiler command", output.display());
        units.sort_by(|a, b| (&a.source, &a.object).cmp(&(&b.source, &b.object)));
        let included = includers::find(source, &units)?;
        fs::write(file, store::write(&units, &included))?;
        fs::remove_file(output)?;
        Ok(())
    }

    /// Reads the records `records` (`.x.o.cmd`, relative to `objects`) of a kernel that was built in the
    /// directory `objects` from the tree `source`; both are absolute and free of symbolic links.
    ///
    /// # Errors
    /// `VersionMismatch` when it was built from another tree; `TargetIncomplete` when there are no records of
    /// it, or no `modules.order`; I/O errors.
    pub fn record(
        objects: &Path,
        source: &Path,
        records: &[PathBuf],
        file: &Path,
        cache: &Cache,
    ) -> Result<()> {
        let places = saved::Places { objects: objects.to_owned(), source: source.to_owned() };
        let saved::Saved { mut units, included, elsewhere } = saved::read(&places, records)?;
        let refuse = |code, message: String, hint| {
            let place = Place::file(objects.display().to_string());
            Err(Refusal::new(code, place, message, hint).into())
        };
        if units.is_empty() {
            return match elsewhere {
                Some(other) => refuse(
                    Code::VersionMismatch,
                    format!("was not built from `{}`: `{other}` is not in it", source.display()),
                    "name the source tree that the kernel was built from, at the place where it was",
                ),
                None => refuse(
                    Code::TargetIncomplete,
                    "has no records of how its objects were compiled (`.cmd` files)".to_owned(),
                    "build the kernel to its end, and leave its object directory as it is",
                ),
            };
        }
        units.sort_by(|a, b| (&a.source, &a.object).cmp(&(&b.source, &b.object)));
        cache.write_whole(file, store::write(&units, &included).as_bytes())
    }

    /// Loads a database that [`CompileDatabase::create`] wrote.
    ///
    /// # Errors
    /// When it cannot be read or is of another version.
    pub fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read compile database `{}`", file.display()))?;
        Ok(Self { store: store::Store::parse(text)?, build: None })
    }

    /// Loads a database that [`CompileDatabase::record`] wrote for these directories.
    ///
    /// # Errors
    /// As [`CompileDatabase::load`].
    pub fn load_recorded(objects: &Path, source: &Path, file: &Path) -> Result<Self> {
        let build = saved::Places { objects: objects.to_owned(), source: source.to_owned() };
        Ok(Self { build: Some(build), ..Self::load(file)? })
    }

    /// Whether there are records of how the kernel was built, for [`CompileDatabase::files_read`].
    pub fn is_recorded(&self) -> bool {
        self.build.is_some()
    }

    /// The files that the compiler read for `unit` when the kernel was built, the C file included: relative
    /// to the source tree, or to the object directory where they do not lie in the tree. One record is
    /// read for each call. `None` for a kernel that was not built here, or without a whole record.
    ///
    /// What was edited since may include other files now.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn files_read(&self, unit: &TranslationUnit) -> Result<Option<BTreeSet<String>>> {
        match &self.build {
            Some(places) => saved::files_read(places, &unit.object),
            None => Ok(None),
        }
    }

    /// The program that the units are compiled by: the first word of a command, without what runs it
    /// (`ccache`).
    ///
    /// # Errors
    /// When the database is damaged.
    pub fn compiler(&self) -> Result<Option<String>> {
        let Some(source) = self.store.sources().next() else { return Ok(None) };
        let program = |unit: TranslationUnit| {
            unit.arguments.into_iter().take_while(|word| !word.starts_with('-')).last()
        };
        Ok(self.store.units(source)?.into_iter().find_map(program))
    }

    /// All units, by source and object.
    ///
    /// # Errors
    /// When the database is damaged.
    pub fn units(&self) -> Result<Vec<TranslationUnit>> {
        let units = self.store.sources().map(|source| self.store.units(source));
        Ok(units.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The units that compile `source` (relative to the tree): as their main file, or by including
    /// it from another C file.
    ///
    /// # Errors
    /// When the database is damaged.
    pub fn units_of(&self, source: &str) -> Result<Vec<TranslationUnit>> {
        let mut units = BTreeMap::new();
        let includers = self.store.includers(source).iter().map(String::as_str);
        for main in std::iter::once(source).chain(includers) {
            for unit in self.store.units(main)? {
                units.insert(unit.object.clone(), unit);
            }
        }
        Ok(units.into_values().collect())
    }

    /// The units whose main file is `source`.
    ///
    /// # Errors
    /// When the database is damaged.
    pub fn units_with_main(&self, source: &str) -> Result<Vec<TranslationUnit>> {
        self.store.units(source)
    }

    /// Whether `source` is a main file.
    pub fn has(&self, source: &str) -> bool {
        self.store.has(source)
    }

    /// The C files that are compiled as main files, by name.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.store.sources().filter(|source| source.ends_with(".c"))
    }

    /// All files that are compiled as main files, assembly included, with the commands' own
    /// `-include` files (as paths of the command).
    ///
    /// # Errors
    /// When the database is damaged.
    pub fn roots(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut roots = BTreeMap::new();
        for source in self.store.sources() {
            let forced: &mut BTreeSet<String> = roots.entry(source.to_owned()).or_default();
            for unit in self.store.units(source)? {
                let pairs = unit.arguments.windows(2);
                forced
                    .extend(pairs.filter(|pair| pair[0] == "-include").map(|pair| pair[1].clone()));
            }
        }
        Ok(roots)
    }

    /// How many translation units there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `path` without `.` and `..`, as text; `None` if it leads above its start.
pub(crate) fn normalize(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_paths() {
        let odd = "arch/x86/kvm/../../../virt/kvm/kvm_main.o";
        assert_eq!(normalize(odd).unwrap(), "virt/kvm/kvm_main.o");
        assert_eq!(normalize("./a//b/."), Some("a/b".to_owned()));
        assert_eq!(normalize("a/../../b"), None);
    }
}

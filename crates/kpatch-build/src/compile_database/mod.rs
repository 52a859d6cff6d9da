//! The compile database of a kernel that was never built here: every C translation unit with the
//! command that kbuild would run for it and what its object is linked into, taken from kbuild's own
//! dry run. Bias: nothing about flags or membership is guessed from paths; an object that no recipe
//! puts into `vmlinux` or a module is not kernel text.

mod includers;
mod recipes;
mod shell;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use tool_run::ToolLog;

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
    /// The C file, relative to the source tree, without `..`: `virt/kvm/kvm_main.c`.
    pub source: String,
    /// The object as kbuild names it: `arch/x86/kvm/../../../virt/kvm/kvm_main.o`.
    pub object: String,
    /// What it is linked into, sorted; empty for code that is no kernel text (vDSO, realmode, EFI
    /// stub, purgatory). A few objects are in several modules.
    pub owners: Vec<Owner>,
    /// `KBUILD_MODNAME` as the command defines it (for vmlinux, too).
    pub modname: String,
    /// Compiled with `-DMODULE`.
    pub module: bool,
    /// The command: compiler and arguments, unquoted.
    pub arguments: Vec<String>,
}

/// All translation units of one prepared kernel.
#[derive(Debug)]
pub struct CompileDatabase {
    store: store::Store,
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

    /// Loads a database that [`CompileDatabase::create`] wrote.
    ///
    /// # Errors
    /// When it cannot be read or is of another version.
    pub fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read compile database `{}`", file.display()))?;
        Ok(Self { store: store::Store::parse(text)? })
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

    /// The C files that are compiled as main files, by name.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.store.sources()
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

//! The records that a build leaves beside what it makes: `.x.o.cmd` has the command that made `x.o`, and
//! which files the compiler read. Their form is that of scripts/Kbuild.include (`savedcmd_X := ...`,
//! `cmd_X` before 6.3) and scripts/basic/fixdep.c (`source_X`, `deps_X`).
//!
//! Bias: what a former configuration left is not taken for a part of the kernel. Objects count that the
//! archives of vmlinux lead to, or modules of `modules.order`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use rayon::prelude::*;
use shipped_kernel::modules;

use super::TranslationUnit;
use super::normalize;
use super::recipes;
use super::recipes::Recipe;

/// The units of a build.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) units: Vec<TranslationUnit>,
    /// For each C file that others include: the main files of these.
    pub(super) included: BTreeMap<String, Vec<String>>,
    /// A C file that a command names and that is not in the source tree, if there is none that is.
    pub(super) elsewhere: Option<String>,
}

/// Where a build was made, and from what. Both are absolute and free of symbolic links.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The object directory, where the commands were run.
    pub(super) objects: PathBuf,
    /// The source tree.
    pub(super) source: PathBuf,
}

impl Places {
    /// `name`, as the compiler was given it, relative to the source tree; `None` if it is not in there.
    fn in_source(&self, name: &str) -> Option<String> {
        self.inside(name, &self.source)
    }

    /// The like for the object directory.
    fn in_objects(&self, name: &str) -> Option<String> {
        self.inside(name, &self.objects)
    }

    fn inside(&self, name: &str, root: &Path) -> Option<String> {
        let path = self.objects.join(name);
        let plain = normalize(path.to_str()?)?;
        let path = Path::new("/").join(plain);
        Some(path.strip_prefix(root).ok()?.to_str()?.to_owned())
    }
}

/// Reads the records `records` (paths relative to the object directory).
///
/// # Errors
/// When a record or `modules.order` cannot be read.
pub(super) fn read(places: &Places, records: &[PathBuf]) -> Result<Saved> {
    let wanted = records.par_iter().filter(|record| tells_of_objects(record));
    let read: Vec<(Option<Recipe>, Record)> = wanted
        .map(|path| {
            let record = Record::read(&places.objects.join(path))?;
            let source_of = |input: &str| places.in_source(input);
            // A record of another object directory within this one names its target otherwise.
            let is_own = record.target.as_deref().is_some_and(|target| target_of(path, target));
            let recipe = is_own.then(|| recipes::recipe(&record.command, &source_of)).flatten();
            Ok((recipe, record))
        })
        .collect::<Result<_>>()?;
    let mut recipes = Vec::new();
    let mut included: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut roots: BTreeSet<String> = BTreeSet::new();
    let mut elsewhere = None;
    for (recipe, record) in read {
        if record
            .target
            .as_deref()
            .is_some_and(|target| ["vmlinux.a", "vmlinux.o"].contains(&target))
        {
            roots.extend(archives(&record.command));
        }
        if let Some(Recipe::Compile(unit)) = &recipe {
            let files = record.dependencies.iter().filter(|name| name.ends_with(".c"));
            for file in files.filter_map(|name| places.in_source(name)) {
                if file != unit.source {
                    included.entry(file).or_default().insert(unit.source.clone());
                }
            }
        } else if elsewhere.is_none() && record.command.contains(" -D__KERNEL__ ") {
            elsewhere = record.source;
        }
        recipes.extend(recipe);
    }
    let listed = modules::built_modules(&places.objects)?;
    let is_listed = |path: &str| listed.values().flatten().any(|listed| listed == path);
    let reached = reached(&recipes, &roots);
    recipes.retain(|recipe| match recipe {
        Recipe::Compile(_) => true,
        Recipe::Module(path, _) => normalize(path).is_some_and(|path| is_listed(&path)),
        Recipe::Archive(path, _) => normalize(path).is_some_and(|path| reached.contains(&path)),
    });
    let units = recipes::units(recipes);
    let included = included.into_iter().map(|(file, mains)| (file, mains.into_iter().collect()));
    let elsewhere = elsewhere.filter(|_| units.is_empty());
    Ok(Saved { units, included: included.collect(), elsewhere })
}

/// The files that the compiler read for `object`, by the record of the last build: relative to the source
/// tree, or else to the object directory. `None` if there is no such record, or it does not say.
///
/// # Errors
/// When the record cannot be read.
pub(super) fn files_read(places: &Places, object: &str) -> Result<Option<BTreeSet<String>>> {
    let place = normalize(object).context("an object outside the object directory")?;
    let (dir, name) = place.rsplit_once('/').unwrap_or(("", &place));
    let path = places.objects.join(dir).join(format!(".{name}.cmd"));
    if !path.exists() {
        return Ok(None);
    }
    let record = Record::read(&path)?;
    if record.dependencies.is_empty() {
        // Every command forces headers upon what it compiles.
        return Ok(None);
    }
    let names = record.source.iter().chain(&record.dependencies);
    let inside = |name: &String| places.in_source(name).or_else(|| places.in_objects(name));
    Ok(Some(names.filter_map(inside).collect()))
}

/// Whether a record, by its name, can be of an object, a linker script, an archive or the list of a
/// module's objects.
fn tells_of_objects(record: &Path) -> bool {
    let name = record.file_name().and_then(|name| name.to_str());
    let ends = [".o.cmd", ".lds.cmd", ".a.cmd", ".mod.cmd"];
    name.is_some_and(|name| ends.iter().any(|end| name.ends_with(end)))
}

/// Whether the record at `path` is that of `target`.
fn target_of(path: &Path, target: &str) -> bool {
    let Some(target) = normalize(target) else { return false };
    let (dir, name) = target.rsplit_once('/').unwrap_or(("", &target));
    Path::new(dir).join(format!(".{name}.cmd")) == path
}

/// The archives that a command names.
fn archives(command: &str) -> impl Iterator<Item = String> {
    let words = command.split_whitespace().map(|word| word.trim_end_matches([';', ')']));
    words.filter(|word| word.ends_with(".a")).filter_map(normalize)
}

/// All archives that `roots` lead to; all that there are without a root.
fn reached(recipes: &[Recipe], roots: &BTreeSet<String>) -> BTreeSet<String> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for recipe in recipes {
        let Recipe::Archive(path, objects) = recipe else { continue };
        let Some(path) = normalize(path) else { continue };
        let archives = objects.iter().filter(|object| object.ends_with(".a"));
        members.insert(path, archives.filter_map(|object| normalize(object)).collect());
    }
    if roots.is_empty() {
        return members.into_keys().collect();
    }
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = roots.iter().cloned().collect();
    while let Some(archive) = open.pop() {
        open.extend(members.get(&archive).into_iter().flatten().cloned());
        // Each archive's members are followed once, also where archives name each other.
        members.remove(&archive);
        reached.insert(archive);
    }
    reached
}

/// One record.
#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    /// What was made, as make was told.
    target: Option<String>,
    /// The command line that the shell ran.
    command: String,
    /// The file that was compiled.
    source: Option<String>,
    /// What else was read.
    dependencies: Vec<String>,
}

impl Record {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some((name, value)) = line.split_once(" := ") else { continue };
            let command = name.strip_prefix("savedcmd_").or_else(|| name.strip_prefix("cmd_"));
            if let Some(target) = command {
                record.target = Some(target.to_owned());
                record.command = unescape(value);
            } else if name.starts_with("source_") {
                record.source = Some(value.trim().to_owned());
            } else if name.starts_with("deps_") {
                // A name a line; options, which are switched by files of their own, as wildcards.
                let list = std::iter::once(value).chain(lines.by_ref());
                for line in list {
                    let Some(name) = line.strip_suffix('\\') else { break };
                    let name = name.trim();
                    if !name.is_empty() && !name.starts_with("$(wildcard ") {
                        record.dependencies.push(name.to_owned());
                    }
                }
            }
        }
        record
    }
}

/// Undoes what make's reader would (`make-cmd` of scripts/Kbuild.include).
fn unescape(command: &str) -> String {
    command.replace("$(pound)", "#").replace("$$", "$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile_database::Owner;

    const CC: &str = "gcc -Wp,-MMD,d/.@.o.d -I./include -D__KERNEL__ -DKBUILD_MODNAME='\"@\"' \
                      -DX=$$y$(pound) -c -o d/@.o d/@.c  ; ./tools/objtool/objtool --orc d/@.o";

    struct Tree(tempfile::TempDir, Vec<PathBuf>);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap(), Vec::new())
        }

        fn root(&self) -> PathBuf {
            self.0.path().canonicalize().unwrap()
        }

        fn record(&mut self, path: &str, text: &str) {
            let file = self.0.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            self.1.push(path.into());
        }

        fn unit(&mut self, name: &str, variable: &str) {
            let text = format!(
                "{variable}_d/{name}.o := {}\n\nsource_d/{name}.o := d/{name}.c\n\n\
                 deps_d/{name}.o := \\\n    $(wildcard include/config/X) \\\n  include/a.h \\\n  \
                 d/in.c \\\n\nd/{name}.o: $(deps_d/{name}.o)\n",
                CC.replace('@', name)
            );
            self.record(&format!("d/.{name}.o.cmd"), &text);
        }

        fn archive(&mut self, dir: &str, members: &str) {
            let text = format!(
                "savedcmd_{dir}built-in.a := rm -f {dir}built-in.a;  printf \"{dir}%s \" {members} | \
                 xargs ar cDPrST {dir}built-in.a\n"
            );
            self.record(&format!("{dir}.built-in.a.cmd"), &text);
        }

        fn module(&mut self, name: &str, object: &str) {
            let text = format!(
                "savedcmd_d/{name}.mod := printf '%s\\n'   {object} | awk '!x[$$0]++ {{ \
                 print(\"d/\"$$0) }}' > d/{name}.mod\n"
            );
            self.record(&format!("d/.{name}.mod.cmd"), &text);
        }

        fn read(&self, source: &Path) -> Result<Saved> {
            let places = Places { objects: self.root(), source: source.to_owned() };
            read(&places, &self.1)
        }
    }

    fn tree() -> Tree {
        let mut tree = Tree::new();
        for name in ["a", "b", "stale", "lib"] {
            tree.unit(name, "savedcmd");
        }
        tree.unit("old", "cmd");
        tree.archive("", "d/built-in.a");
        tree.archive("d/", "a.o old.o");
        tree.archive("gone/", "../d/stale.o");
        tree.module("m-b", "b.o");
        tree.module("off", "stale.o");
        tree.record(
            "d/.lib.a.cmd",
            "savedcmd_d/lib.a := rm -f d/lib.a; ar cDPrsT d/lib.a d/lib.o\n",
        );
        let vmlinux =
            "savedcmd_vmlinux.a := rm -f vmlinux.a; ar cDPrST vmlinux.a  built-in.a; ar x\n";
        tree.record(".vmlinux.a.cmd", vmlinux);
        let vmlinux = "savedcmd_vmlinux.o := ld -r -o vmlinux.o vmlinux.a --start-group d/lib.a\n";
        tree.record(".vmlinux.o.cmd", vmlinux);
        fs::write(tree.0.path().join("modules.order"), "d/m-b.o\n").unwrap();
        tree
    }

    #[test]
    fn knows_commands_owners_and_what_was_read() {
        let tree = tree();
        let saved = tree.read(&tree.root()).unwrap();
        assert_eq!(saved.units.len(), 5);
        let unit = |name: &str| saved.units.iter().find(|unit| unit.object == name).unwrap();
        let owners =
            |name: &str| -> Vec<&str> { unit(name).owners.iter().map(Owner::name).collect() };
        assert_eq!(owners("d/a.o"), ["vmlinux"]);
        assert_eq!(owners("d/old.o"), ["vmlinux"]);
        assert_eq!(owners("d/lib.o"), ["vmlinux"]);
        assert_eq!(owners("d/b.o"), ["m_b"]);
        assert!(owners("d/stale.o").is_empty(), "neither archive nor module leads there");
        let a = unit("d/a.o");
        assert_eq!((a.source.as_str(), a.arguments.len()), ("d/a.c", 10));
        assert!(a.arguments.contains(&"-DX=$y#".to_owned()), "{:?}", a.arguments);
        assert_eq!(a.arguments.last().unwrap(), "d/a.c", "objtool is no part of it");
        assert_eq!(saved.included["d/in.c"].len(), 5);
        let places = Places { objects: tree.root(), source: tree.root() };
        let read = files_read(&places, "d/x/../a.o").unwrap().unwrap();
        assert_eq!(read, ["d/a.c", "d/in.c", "include/a.h"].map(str::to_owned).into());
        assert_eq!(files_read(&places, "d/none.o").unwrap(), None);
        // It was cut off, or somebody else wrote it.
        let record = tree.0.path().join("d/.b.o.cmd");
        let text = fs::read_to_string(&record).unwrap();
        fs::write(&record, &text[..text.find("deps_").unwrap()]).unwrap();
        assert_eq!(files_read(&places, "d/b.o").unwrap(), None);
        let places = Places { source: tree.root().join("include"), ..places };
        let read = files_read(&places, "d/a.o").unwrap().unwrap();
        assert_eq!(read, ["a.h", "d/a.c", "d/in.c"].map(str::to_owned).into());
    }

    #[test]
    fn a_build_of_another_source_has_no_units_and_says_which() {
        let tree = tree();
        let saved = tree.read(Path::new("/other")).unwrap();
        assert!(saved.units.is_empty());
        assert_eq!(saved.elsewhere.as_deref(), Some("d/a.c"));
    }

    #[test]
    fn another_build_within_is_not_this_one() {
        let mut tree = tree();
        let text = fs::read_to_string(tree.0.path().join("d/.a.o.cmd")).unwrap();
        tree.record("build-b/d/.a.o.cmd", &text.replace("-DX=", "-DOTHER="));
        let saved = tree.read(&tree.root()).unwrap();
        assert_eq!(saved.units.len(), 5);
        assert!(saved.units.iter().all(|unit| !unit.arguments.iter().any(|a| a.contains("OTHER"))));
    }

    #[test]
    fn damaged_records_say_nothing() {
        let whole = fs::read_to_string(tree().0.path().join("d/.a.o.cmd")).unwrap();
        for end in 0..whole.len() {
            Record::parse(&whole[..end]);
        }
        assert_eq!(Record::parse("savedcmd_x"), Record::default());
        let cut = Record::parse("savedcmd_d/a.o := gcc 'a\n");
        assert!(recipes::recipe(&cut.command, &|_| None).is_none());
    }
}

//! Files that a patch brings: which objects its Makefiles make of them, and how these are compiled. kbuild cannot
//! be asked: where the kernel was built nothing may be run that writes, and a dry run remakes what make
//! includes. So it is told by text and by the neighbours' commands, and only what is plain is taken.
//!
//! Bias: an object that nothing lists, or that needs anything else of a Makefile, is refused.

mod makefile;
mod recipe;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::config::Config;

use crate::apply::Applied;
use crate::apply::Touched;
use crate::compile_database::CompileDatabase;
use crate::compile_database::TranslationUnit;
use recipe::Names;
use recipe::Neighbour;

/// An object that the patch adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewObject {
    /// The directory, relative to the source tree.
    directory: String,
    /// Its name there, without suffix.
    stem: String,
    /// The list that it is in.
    list: String,
    /// The Makefile with the list, with the patch.
    makefile: String,
}

/// The objects that the Makefiles of `applied` make of its new files, in the tree at `root`.
///
/// # Errors
/// `TouchesBuildFile` for whatever else is changed in them.
pub fn listed(root: &Path, applied: &Applied) -> Result<Vec<NewObject>, Refusals> {
    let mut objects = Vec::new();
    let mut refusals = Vec::new();
    for (path, file) in &applied.makefiles {
        match listed_in(root, path, file, applied) {
            Ok(found) => objects.extend(found),
            Err(message) => refusals.push(Refusal::new(
                Code::TouchesBuildFile,
                Place::file(path.display().to_string()),
                message,
                "a patch may add objects of its own new files to lists (`obj-y += new.o`), and nothing else",
            )),
        }
    }
    Refusals::none_or(refusals, objects)
}

fn listed_in(
    root: &Path,
    path: &Path,
    file: &Touched,
    applied: &Applied,
) -> Result<Vec<NewObject>, String> {
    let directory = path.parent().unwrap_or(Path::new(""));
    if path.ends_with("Makefile") && root.join(directory).join("Kbuild").exists() {
        return Err("the build reads `Kbuild` in its place".to_owned());
    }
    let new: BTreeSet<String> = applied
        .files
        .iter()
        .filter(|(path, file)| file.created && path.parent() == Some(directory))
        .filter_map(|(path, _)| Some(format!("{}.o", path.to_str()?.strip_suffix(".c")?)))
        .filter_map(|object| Some(object.rsplit('/').next()?.to_owned()))
        .collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let patched = text(&file.patched);
    let listed = makefile::added(&text(&file.original), &patched, &new)?;
    let directory = directory.to_string_lossy();
    let object = |one: makefile::Listed| {
        let stem = one.object.strip_suffix(".o").unwrap_or(&one.object);
        NewObject::new(&directory, stem, &one.list, &patched)
    };
    Ok(listed.into_iter().map(object).collect())
}

/// The units of `objects`, for the kernel of `database` and `config`.
///
/// # Errors
/// `FileNotBuilt` for a list that the configuration switches off; `AddsOrRemovesFile` for what would be a new
/// module, or where it is not certain how kbuild would compile it.
pub fn units(
    objects: &[NewObject],
    database: &CompileDatabase,
    config: &str,
) -> Result<Vec<TranslationUnit>> {
    let config = Config::parse(".config", config)?;
    let mut neighbours: BTreeMap<&str, Vec<TranslationUnit>> = BTreeMap::new();
    let mut units = Vec::new();
    let mut refusals = Vec::new();
    for object in objects {
        let beside = match neighbours.get(object.directory.as_str()) {
            Some(units) => units,
            None => {
                let units = in_directory(database, &object.directory)?;
                neighbours.entry(&object.directory).or_insert(units)
            }
        };
        match object.unit(beside, &config) {
            Ok(unit) => units.push(unit),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Ok(Refusals::none_or(refusals, units)?)
}

/// All units whose source is right in `directory`.
fn in_directory(database: &CompileDatabase, directory: &str) -> Result<Vec<TranslationUnit>> {
    let mut units = Vec::new();
    for source in database.sources() {
        if source.rsplit_once('/').is_some_and(|(parent, _)| parent == directory) {
            units.extend(database.units_with_main(source)?);
        }
    }
    Ok(units)
}

impl NewObject {
    /// The object `stem`.o of `directory`, in the list `list` of the Makefile there, whose text is `makefile`.
    pub fn new(directory: &str, stem: &str, list: &str, makefile: &str) -> Self {
        let [directory, stem, list, makefile] =
            [directory, stem, list, makefile].map(str::to_owned);
        Self { directory, stem, list, makefile }
    }

    fn source(&self) -> String {
        format!("{}/{}.c", self.directory, self.stem)
    }

    fn refusal(&self, code: Code, message: String, hint: &str) -> Refusal {
        Refusal::new(code, Place::file(self.source()), message, hint)
    }

    /// A refusal where it is not certain how kbuild would compile it.
    fn unclear(&self, message: String) -> Refusal {
        let hint = "put the code into an existing file of the same kernel object";
        self.refusal(Code::AddsOrRemovesFile, message, hint)
    }

    /// The composite that the list is of; `None` for the objects of vmlinux.
    fn composite(&self, config: &Config) -> Result<Option<(&str, bool)>, Refusal> {
        let (name, switch) = match self.list.split_once("-$(CONFIG_") {
            Some((name, option)) => {
                let value = option
                    .strip_suffix(')')
                    .filter(|option| option.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
                let Some(option) = value else {
                    return Err(self.unclear(format!("`{}` is no list of objects", self.list)));
                };
                let value = config.raw(option).unwrap_or("n");
                if !matches!(value, "y" | "m") {
                    return Err(self.refusal(
                        Code::FileNotBuilt,
                        format!("the file is not built into this kernel: CONFIG_{option} is off"),
                        "this kernel does not run that code; leave the file out of the patch",
                    ));
                }
                (name, value)
            }
            None => self.list.rsplit_once('-').unwrap_or(("", &self.list)),
        };
        let is_module = switch == "m";
        match (name, switch) {
            ("obj" | "lib", "y") => Ok(None),
            ("obj", "m") => Err(self.refusal(
                Code::AddsOrRemovesFile,
                format!("`{}` makes a module of its own of it", self.list),
                "a livepatch changes what is there: build a new module by itself",
            )),
            ("" | "obj" | "lib", _) => {
                Err(self.unclear(format!("`{}` is no list of objects", self.list)))
            }
            (name, "y" | "m" | "objs") => Ok(Some((name, is_module))),
            _ => Err(self.unclear(format!("`{}` is no list of objects", self.list))),
        }
    }

    /// Its unit, by the units of the kernel in its directory, `beside`.
    ///
    /// # Errors
    /// As [`units`].
    pub fn unit(
        &self,
        beside: &[TranslationUnit],
        config: &Config,
    ) -> Result<TranslationUnit, Refusal> {
        let NewObject { directory, stem, makefile, .. } = self;
        let composite = self.composite(config)?;
        let source = self.source();
        if beside.iter().any(|unit| unit.source == source) {
            return Err(self.unclear("the kernel was built with a file of that name".to_owned()));
        }
        if makefile::is_named_apart(makefile, stem) {
            return Err(self.unclear(format!("the Makefile says more of `{stem}.o`")));
        }
        if makefile::names_objects_by_computing(makefile) {
            let message = "the Makefile computes for which objects its flags are";
            return Err(self.unclear(message.to_owned()));
        }
        let name = composite.map(|(name, _)| name);
        let to = Names { directory, stem, part_of: name.unwrap_or(stem) };
        let neighbours: Vec<Neighbour> = beside
            .iter()
            .filter(|unit| {
                let base = unit.source.rsplit('/').next().unwrap_or_default();
                !makefile::is_named_apart(makefile, base.trim_end_matches(".c"))
            })
            .filter_map(|unit| recipe::neighbour(unit, name, to))
            .collect();
        let what = name.map_or("vmlinux".to_owned(), |name| format!("`{directory}/{name}.o`"));
        let Some(first) = neighbours.first() else {
            return Err(self.unclear(format!(
                "no other object of `{directory}` and {what} tells how it would be compiled"
            )));
        };
        // kbuild makes `x-m` a part of modules only.
        if composite.is_some_and(|(_, only_module)| only_module) && !first.module {
            return Err(self.unclear(format!("`{}` is no part of {what}", self.list)));
        }
        if let Some(other) = neighbours.iter().find(|other| {
            (&other.owner, other.module, &other.arguments)
                != (&first.owner, first.module, &first.arguments)
        }) {
            return Err(self.unclear(format!(
                "`{}` and `{}` are compiled differently, and it is not known which one to follow",
                first.object, other.object
            )));
        }
        Ok(TranslationUnit {
            source,
            object: format!("{directory}/{stem}.o"),
            owners: vec![first.owner.clone()],
            modname: recipe::fixed(to.part_of),
            module: first.module,
            added: true,
            arguments: first.arguments.clone(),
        })
    }
}

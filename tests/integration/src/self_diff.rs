//! A kernel against itself: real translation units are compiled as they are, and once more with a
//! blank line and a comment at the top of every C file and header that they read. The differ has to
//! find nothing, though every line number has changed.
//!
//! Units, flags and the object directory are those of the tool under test. Bias: an object that could
//! not be compiled or compared is never counted as equal.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use create_diff_object::compare_objects;
use kpatch_build::cache::Cache;
use kpatch_build::cache::ContentKey;
use kpatch_build::compile_database::CompileDatabase;
use kpatch_build::compile_database::TranslationUnit;
use kpatch_build::farm::Farms;
use kpatch_build::prepare;
use kpatch_build::prepare::Prepared;
use kpatch_build::prepare::Shipped;
use kpatch_build::progress::Progress;
use kpatch_build::source_tree;
use kpatch_build::source_tree::SourceTree;
use rayon::prelude::*;
use tool_run::ToolLog;

use crate::kernel::KernelSet;

/// What every shifted file begins with.
const SHIFT: &[u8] = b"\n/* Moves every line below. */\n";

/// As the tool compiles; debug information where the kernel's build has none.
const SECTIONS: [&str; 2] = ["-ffunction-sections", "-fdata-sections"];
const DEBUG: &str = "-g";

/// Units that are always in a sample: the biggest, those with the most kinds of special sections, and two
/// that need rules of their own (functions of assembly that are all alike, lines passed on by inlining).
const KNOWN: [&str; 10] = [
    "arch/x86/kvm/emulate.c",
    "arch/x86/mm/fault.c",
    "drivers/acpi/acpica/utobject.c",
    "fs/dcache.c",
    "fs/ext4/inode.c",
    "fs/proc/cmdline.c",
    "kernel/fork.c",
    "kernel/sched/core.c",
    "mm/memory.c",
    "net/core/dev.c",
];

/// A kernel whose translation units can be compiled here.
#[derive(Debug)]
pub struct Ground {
    cache: Cache,
    tree: SourceTree,
    farms: Farms,
    prepared: Prepared,
    database: CompileDatabase,
    log: ToolLog,
}

/// What the differ made of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No change, against itself and against its shifted self.
    Same,
    /// It does not compile outside of a whole build: a generated header is missing.
    NotCompiled(String),
    /// Something is said to have changed, or is refused.
    Differs(String),
}

/// A unit whose object was compiled.
#[derive(Debug)]
struct Compiled {
    object: PathBuf,
    depfile: PathBuf,
}

impl Ground {
    /// Prepares `kernel`, with another configuration than the shipped one if `config` names its file.
    /// `dir` is for logs.
    ///
    /// # Errors
    /// What preparing refuses; I/O errors.
    pub fn of(kernel: &KernelSet, config: Option<&Path>, cache: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let log = ToolLog::open(&dir.join("log"))?;
        let cache = Cache::open(cache)?;
        let tree = source_tree::read(&kernel.source)?;
        let farms = Farms::open(&cache, &tree)?;
        let mut shipped = Shipped {
            config: kernel.headers.join(".config"),
            symvers: kernel.headers.join("Module.symvers"),
            release: kernel.release.clone(),
        };
        if let Some(config) = config {
            shipped.config = config.to_owned();
            shipped.symvers = dir.join("Module.symvers");
            fs::write(&shipped.symvers, "")?;
        }
        let (progress, jobs) = (Progress::new(false), rayon::current_num_threads());
        let prepared =
            prepare::prepare(&cache, &tree, &farms.base(), &shipped, jobs, &log, &progress)?;
        let database = prepared.database()?;
        Ok(Ground { cache, tree, farms, prepared, database, log })
    }

    /// `count` units of kernel text: the known ones, then from each top directory in turn. The same
    /// for the same tree and configuration.
    ///
    /// # Errors
    /// When the compile database is damaged.
    pub fn sample(&self, count: usize) -> Result<Vec<TranslationUnit>> {
        let mut by_directory: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
        for source in self.database.sources() {
            let top = source.split('/').next().unwrap_or_default();
            by_directory.entry(top).or_default().push((mixed(source), source));
        }
        let mut in_turn: Vec<(usize, &str)> = Vec::new();
        for sources in by_directory.values_mut() {
            sources.sort_unstable();
            in_turn.extend(sources.iter().enumerate().map(|(turn, (_, source))| (turn, *source)));
        }
        in_turn.sort_unstable();
        let mut units: BTreeMap<String, TranslationUnit> = BTreeMap::new();
        for source in KNOWN.into_iter().chain(in_turn.into_iter().map(|(_, source)| source)) {
            if units.len() >= count {
                break;
            }
            let all = self.database.units_of(source)?;
            let text =
                all.into_iter().find(|unit| !unit.owners.is_empty() && unit.source == source);
            units.extend(text.map(|unit| (unit.object.clone(), unit)));
        }
        Ok(units.into_values().collect())
    }

    /// Compares each unit with itself and with its shifted self.
    ///
    /// # Errors
    /// I/O errors, and a shifted unit that does not compile.
    pub fn compare(&self, units: &[TranslationUnit]) -> Result<Vec<(String, Answer)>> {
        let originals: Vec<Result<Compiled, String>> = units
            .par_iter()
            .with_max_len(1)
            .map(|unit| self.original(unit))
            .collect::<Result<_>>()?;
        let pairs: Vec<(&TranslationUnit, &Compiled)> =
            units.iter().zip(&originals).filter_map(|(u, c)| Some((u, c.as_ref().ok()?))).collect();
        let shifted = self.shifted(&pairs, &BTreeMap::new())?;
        let mut shifted = shifted.into_iter();
        let mut jobs = Vec::new();
        for (unit, original) in units.iter().zip(&originals) {
            jobs.push(match original {
                Ok(original) => (unit, Ok((&original.object, shifted.next()))),
                Err(message) => (unit, Err(message)),
            });
        }
        let answers = jobs.into_par_iter().with_max_len(1).map(|(unit, job)| {
            let answer = match job {
                Err(message) => Answer::NotCompiled(message.clone()),
                Ok((original, shifted)) => {
                    let shifted = shifted.context("no shifted object")?;
                    answer(&unit.object, original, &shifted)?
                }
            };
            Ok((unit.object.clone(), answer))
        });
        answers.collect()
    }

    /// What the differ finds changed in `unit` when its lines are moved, and besides, in its main file,
    /// `from` is `to`.
    ///
    /// # Errors
    /// When `from` is not in the file exactly once; when something does not compile or is refused.
    pub fn changed(&self, unit: &TranslationUnit, from: &str, to: &str) -> Result<Vec<String>> {
        let original = self.original(unit)?.map_err(anyhow::Error::msg)?;
        let text = fs::read_to_string(self.tree.root.join(&unit.source))?;
        ensure!(text.matches(from).count() == 1, "`{}` has not one `{from}`", unit.source);
        let changed = BTreeMap::from([(PathBuf::from(&unit.source), text.replace(from, to))]);
        let patched = self.shifted(&[(unit, &original)], &changed)?;
        let (original, patched) = (read(&original.object)?, read(&patched[0])?);
        let difference = compare_objects(&unit.object, &original, &patched)?;
        Ok(difference.changed_functions().into_iter().map(str::to_owned).collect())
    }

    /// The unit's object from the unchanged tree, or what the compiler said.
    fn original(&self, unit: &TranslationUnit) -> Result<Result<Compiled, String>> {
        let object = self.place(unit, "original")?;
        let depfile = object.with_extension("d");
        if object.exists() && depfile.exists() {
            return Ok(Ok(Compiled { object, depfile }));
        }
        let base = self.farms.base();
        let mut message = self.compile(unit, &base, &object, &depfile)?;
        if message.as_ref().is_some_and(|text| text.contains("No such file or directory"))
            && !unit.object.contains("..")
        {
            self.prepared.generate_for(&unit.object, 1, &self.log)?;
            message = self.compile(unit, &base, &object, &depfile)?;
        }
        Ok(message.map_or(Ok(Compiled { object, depfile }), Err))
    }

    /// The units' objects with all lines moved, and with the main files in `changed` of that content.
    fn shifted(
        &self,
        units: &[(&TranslationUnit, &Compiled)],
        changed: &BTreeMap<PathBuf, String>,
    ) -> Result<Vec<PathBuf>> {
        let content: String = changed.values().map(String::as_str).collect();
        let objects: Vec<PathBuf> = units
            .iter()
            .map(|(unit, _)| self.place(unit, &format!("shifted {content}")))
            .collect::<Result<_>>()?;
        let missing: Vec<_> =
            units.iter().zip(&objects).filter(|(_, object)| !object.exists()).collect();
        if missing.is_empty() {
            return Ok(objects);
        }
        let base = self.farms.base();
        let mut sources = BTreeSet::new();
        for ((_, original), _) in &missing {
            sources.extend(self.sources_read(&original.depfile)?);
        }
        let mut farm = self.farms.claim(&self.cache, &self.tree)?;
        for source in &sources {
            let bytes = match changed.get(source) {
                Some(text) => text.as_bytes().to_vec(),
                None => fs::read(base.join(source))?,
            };
            farm.put(source, &[SHIFT, &bytes].concat())?;
        }
        let root = farm.root();
        missing.par_iter().with_max_len(1).try_for_each(|((unit, _), object)| {
            let depfile = object.with_extension("d");
            match self.compile(unit, root, object, &depfile)? {
                None => Ok(()),
                Some(message) => anyhow::bail!("shifted `{}`: {message}", unit.source),
            }
        })?;
        Ok(objects)
    }

    /// Where the cache keeps an object of `unit`.
    fn place(&self, unit: &TranslationUnit, side: &str) -> Result<PathBuf> {
        let key = ContentKey::new("self-diff 2").part(&self.prepared.key).part(&unit.object);
        let key = key.part(side).part(SHIFT);
        let key = unit.arguments.iter().fold(key, |key, argument| key.part(argument));
        let dir = self.cache.root().join("self-diff");
        fs::create_dir_all(&dir)?;
        Ok(dir.join(key.name()).with_extension("o"))
    }

    /// Compiles `unit` from the tree at `root`; what the compiler says if it fails.
    fn compile(
        &self,
        unit: &TranslationUnit,
        root: &Path,
        object: &Path,
        depfile: &Path,
    ) -> Result<Option<String>> {
        let (base, root) = (self.farms.base().display().to_string(), root.display().to_string());
        let temporary = self.cache.temporary_path("object.o")?;
        let mut arguments: Vec<String> =
            unit.arguments.iter().map(|argument| argument.replace(&base, &root)).collect();
        let output = arguments.iter().rposition(|argument| argument == "-o");
        let output = output.context("a compiler command without `-o`")? + 1;
        arguments[output] = temporary.display().to_string();
        arguments.retain(|argument| !argument.starts_with("-Wp,-MMD,"));
        let mut command = Command::new(&arguments[0]);
        command.env("LC_ALL", "C").current_dir(&self.prepared.objects).args(&arguments[1..]);
        command.arg(format!("-Wp,-MMD,{}", depfile.display())).args(SECTIONS);
        command.arg(format!("-fdebug-prefix-map={root}=."));
        if !unit.arguments.iter().any(|argument| argument.starts_with("-g")) {
            command.arg(DEBUG);
        }
        let output = self.log.output(&mut command)?;
        if !output.status.success() {
            return Ok(Some(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        fs::rename(&temporary, object)?;
        Ok(None)
    }

    /// The C files and headers of the tree that a compilation read.
    fn sources_read(&self, depfile: &Path) -> Result<Vec<PathBuf>> {
        let text = fs::read_to_string(depfile)?;
        // In the farm, files are links into the user's tree.
        let root = self.tree.root.canonicalize()?;
        let mut files = Vec::new();
        for word in text.split_ascii_whitespace() {
            let is_source = [".c", ".h"].iter().any(|end| word.ends_with(end));
            if !is_source {
                continue;
            }
            let path = self.prepared.objects.join(word).canonicalize()?;
            files.extend(path.strip_prefix(&root).ok().map(Path::to_owned));
        }
        Ok(files)
    }
}

fn read(path: &Path) -> Result<kpatch_elf::ObjectFile> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(kpatch_elf::read(&bytes)?)
}

fn answer(name: &str, original: &Path, shifted: &Path) -> Result<Answer> {
    let (original, shifted) = (read(original)?, read(shifted)?);
    for (other, what) in [(&original, "itself"), (&shifted, "its shifted self")] {
        match compare_objects(name, &original, other) {
            Ok(difference) if difference.is_empty() => {}
            Ok(difference) => {
                let (changed, new) = (difference.changed_functions(), difference.new_functions());
                let text = format!("against {what}: changed {changed:?}, new {new:?}");
                return Ok(Answer::Differs(text));
            }
            Err(refusals) => return Ok(Answer::Differs(format!("against {what}: {refusals}"))),
        }
    }
    Ok(Answer::Same)
}

/// A number that says nothing about the order of names (FNV-1a).
fn mixed(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

//! Reads modules as the distribution ships them: finds one by name, decompresses it, and follows
//! what its `.modinfo` says it depends on (unpacked packages have no `modules.dep`).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use object::RelocationTarget;

/// A module, ready for `insmod`.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name as the kernel says it, with underscores.
    pub name: String,
    /// The file, decompressed.
    pub bytes: Vec<u8>,
}

/// The modules `names` and all that they need, each after what it depends on.
///
/// # Errors
/// When one is not below `dir`, or cannot be read.
pub fn with_dependencies(dir: &Path, names: &[String]) -> Result<Vec<Module>> {
    let index = index(&dir.join("kernel"))?;
    let mut found = Vec::new();
    for name in names {
        add(&index, &plain_name(name), &mut found)?;
    }
    Ok(found)
}

fn add(index: &BTreeMap<String, PathBuf>, name: &str, found: &mut Vec<Module>) -> Result<()> {
    if found.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let path = index.get(name).with_context(|| format!("this kernel has no module `{name}`"))?;
    let bytes = read(path)?;
    let depends = modinfo(&bytes, "depends")
        .with_context(|| format!("cannot read `{}`", path.display()))?
        .unwrap_or_default();
    for dependency in depends.split(',').filter(|part| !part.is_empty()) {
        add(index, &plain_name(dependency), found)?;
    }
    found.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

/// The value of a `.modinfo` entry, the first of that name.
///
/// # Errors
/// When `bytes` is not an ELF file.
pub fn modinfo(bytes: &[u8], key: &str) -> Result<Option<String>> {
    let file = object::File::parse(bytes)?;
    let Some(section) = file.section_by_name(".modinfo") else { return Ok(None) };
    let prefix = format!("{key}=");
    let entry = section
        .data()?
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .find_map(|entry| entry.strip_prefix(&prefix).map(str::to_owned));
    Ok(entry)
}

/// The patch's table of functions, its record size, and where in a record the name of the patched
/// object is: what the in-kernel core reads (`kmod/core/src/tables/functions.rs`).
const FUNCTIONS: &str = ".kpatch.funcs";
const RECORD: u64 = 32;
const OBJECT_NAME: u64 = 16;

/// The objects that a livepatch module patches: `vmlinux` and modules, by name.
///
/// # Errors
/// When `bytes` is not an ELF file or its table of functions names nothing.
pub fn patched_objects(bytes: &[u8]) -> Result<BTreeSet<String>> {
    let file = object::File::parse(bytes)?;
    let table = file.section_by_name(FUNCTIONS).context("a module without a table of functions")?;
    let mut names = BTreeSet::new();
    for (_, relocation) in table.relocations().filter(|(at, _)| at % RECORD == OBJECT_NAME) {
        let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
        let symbol = file.symbol_by_index(symbol)?;
        let section = symbol.section_index().context("a name that is not in the module")?;
        let start = symbol.address().wrapping_add_signed(relocation.addend());
        let data = file.section_by_index(section)?.data()?;
        let text = data.get(usize::try_from(start)?..).context("a name outside of its section")?;
        let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
        names.insert(String::from_utf8(name.to_vec())?);
    }
    anyhow::ensure!(!names.is_empty(), "a table of functions that names no object");
    Ok(names)
}

/// Module name to path, for all modules below `dir`.
fn index(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut index = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = std::fs::read_dir(&dir)
            .with_context(|| format!("cannot list modules in `{}`", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                todo.push(entry.path());
            } else if let Some((stem, rest)) = file_name.split_once(".ko") {
                if ["", ".xz", ".zst", ".gz"].contains(&rest) {
                    index.insert(plain_name(stem), entry.path());
                }
            }
        }
    }
    Ok(index)
}

/// Reads a module file and decompresses it with the tool that its name calls for.
fn read(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => {
            return std::fs::read(path)
                .with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    let output = Command::new(tool)
        .arg("-dc")
        .arg(path)
        .output()
        .with_context(|| format!("cannot run `{tool}`"))?;
    anyhow::ensure!(
        output.status.success(),
        "cannot decompress `{}`: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

fn plain_name(name: &str) -> String {
    name.replace('-', "_")
}

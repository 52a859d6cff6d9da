//! The user's source tree: what is in it, its fingerprint, its version. It is only ever read.
//! Bias: files that a build inside the tree leaves behind are not source; they are left out, so
//! that a tree with a configuration of its own serves as well as a clean one. Where that build is the
//! kernel to patch, what it generated is kept and only what it compiled is left out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use rayon::prelude::*;

use crate::cache::ContentKey;

/// What an entry of the tree is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(State),
    /// A symbolic link: its target, as written, and the state of the file that it leads to (in a
    /// tree that is itself made of links that is where the content is).
    Link(PathBuf, Option<State>),
}

/// By what a change of a file is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: i128,
    /// Who may execute it (kbuild runs scripts by path).
    pub mode: u32,
}

impl State {
    fn of(data: &fs::Metadata) -> Self {
        let modified = i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec());
        Self { size: data.len(), modified, mode: data.mode() & 0o111 }
    }

    /// For keys of caches: equal bytes mean an equal state.
    pub fn bytes(self) -> [u8; 28] {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.modified.to_le_bytes());
        bytes[24..].copy_from_slice(&self.mode.to_le_bytes());
        bytes
    }
}

/// One entry of the tree. Paths are relative to its root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Path relative to the root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What is taken of files that a build made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Nothing: the tree is as it was unpacked.
    LeftOut,
    /// What it generated for compilers to read; not what compilers and linkers made.
    Generated,
}

/// A kernel source tree as it was when it was read.
#[derive(Debug, Clone)]
pub struct SourceTree {
    /// The root; absolute, without symbolic links.
    pub root: PathBuf,
    /// All entries that are source, sorted by path (a directory comes before what is in it).
    pub entries: Vec<Entry>,
    /// kbuild's records (`.x.o.cmd`) of what a build made, sorted; none where that is left out.
    pub records: Vec<Entry>,
    /// `6.12.117`, from the top Makefile.
    pub version: String,
    /// Names root and content: equal keys mean the same tree, unchanged.
    pub key: String,
    /// Names root, paths and what leads where, whatever is in the files: equal keys mean equal farms.
    pub layout: String,
}

/// Reads the tree at `root`, as it was unpacked.
///
/// # Errors
/// `TargetIncomplete` when it is not a kernel source tree; I/O errors.
pub fn read(root: &Path) -> Result<SourceTree> {
    read_with(root, Made::LeftOut)
}

/// Reads the tree at `root`, and what `made` says of what a build made in it.
///
/// # Errors
/// As [`read`].
pub fn read_with(root: &Path, made: Made) -> Result<SourceTree> {
    let makefile = root.join("Makefile");
    let not_a_tree = |what: String| {
        let place = Place::file(root.display().to_string());
        let hint = "name the unpacked kernel source with `-s`";
        Refusal::new(Code::TargetIncomplete, place, what, hint)
    };
    let text = fs::read_to_string(&makefile)
        .map_err(|error| not_a_tree(format!("not a kernel source tree: no Makefile ({error})")))?;
    let version = makefile_version(&text)
        .ok_or_else(|| not_a_tree("the top Makefile names no kernel version".to_owned()))?;
    let root = root.canonicalize()?;
    let (entries, records) = list(&root, made)?;
    let (key, layout) = tree_keys(&root, &entries);
    Ok(SourceTree { root, entries, records, version, key, layout })
}

/// An object directory that is not in the source tree.
#[derive(Debug, Clone)]
pub struct ObjectTree {
    /// kbuild's records, sorted.
    pub records: Vec<Entry>,
    /// Names root and content of what it has for compilers to read.
    pub key: String,
}

/// Reads the object directory at `root`, which has no symbolic links in its path.
///
/// # Errors
/// I/O errors.
pub fn read_objects(root: &Path) -> Result<ObjectTree> {
    let (entries, records) = list(root, Made::Generated)?;
    let (key, _) = tree_keys(root, &entries);
    Ok(ObjectTree { records, key })
}

/// What is below `root`, sorted: entries, and kbuild's records.
fn list(root: &Path, made: Made) -> Result<(Vec<Entry>, Vec<Entry>)> {
    let mut entries = walk(root, Path::new(""), made)?;
    entries.par_sort_unstable();
    let is_record = |entry: &Entry| {
        made == Made::Generated && entry.path.as_os_str().as_encoded_bytes().ends_with(RECORD)
    };
    Ok(entries.into_iter().partition(|entry| !is_record(entry)))
}

/// What the names of kbuild's records end with.
const RECORD: &[u8] = b".cmd";

impl SourceTree {
    /// Whether `path` (relative to the root) is a file of the source.
    pub fn has_file(&self, path: &Path) -> bool {
        let found = self.entries.binary_search_by(|entry| entry.path.as_path().cmp(path));
        found
            .is_ok_and(|at| matches!(self.entries[at].kind, Kind::File(_) | Kind::Link(_, Some(_))))
    }
}

/// The tree's keys: with and without the state of files.
fn tree_keys(root: &Path, entries: &[Entry]) -> (String, String) {
    let mut listing = Vec::with_capacity(entries.len() * 80);
    let mut layout = Vec::with_capacity(entries.len() * 50);
    for entry in entries {
        for listing in [&mut listing, &mut layout] {
            listing.extend_from_slice(entry.path.as_os_str().as_encoded_bytes());
            listing.push(0);
            match &entry.kind {
                Kind::Directory => listing.push(b'd'),
                Kind::File(_) => listing.push(b'f'),
                Kind::Link(target, _) => {
                    listing.push(b'l');
                    listing.extend_from_slice(target.as_os_str().as_encoded_bytes());
                    listing.push(0);
                }
            }
        }
        if let Kind::File(state) | Kind::Link(_, Some(state)) = &entry.kind {
            listing.extend_from_slice(&state.bytes());
        }
    }
    let name = |kind: &str, listing: Vec<u8>| {
        let key = ContentKey::new(kind).part(root.as_os_str().as_encoded_bytes());
        key.part(listing).name()
    };
    (name("source tree 4", listing), name("source tree layout 1", layout))
}

/// The entries below `dir`, in no particular order.
fn walk(root: &Path, dir: &Path, made: Made) -> Result<Vec<Entry>> {
    let absolute = root.join(dir);
    let context = || format!("cannot read `{}`", absolute.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&absolute).with_context(context)? {
        names.push(entry.with_context(context)?);
    }
    let left_out = LeftOut::of_directory(&absolute, &names, made);
    let mut entries = Vec::with_capacity(names.len());
    let mut subdirs = Vec::new();
    for name in names {
        let path = dir.join(name.file_name());
        let kind = name.file_type()?;
        if kind.is_dir() {
            if !is_build_directory(&path, made) {
                subdirs.push(path);
            }
        } else if left_out.contains(&path, &name.file_name()) {
            continue;
        } else if kind.is_symlink() {
            let target = fs::read_link(root.join(&path))?;
            let data = fs::metadata(root.join(&path)).ok().filter(fs::Metadata::is_file);
            let kind = Kind::Link(target, data.as_ref().map(State::of));
            entries.push(Entry { path, kind });
        } else if kind.is_file() {
            let kind = Kind::File(State::of(&name.metadata()?));
            entries.push(Entry { path, kind });
        }
    }
    let below: Vec<Vec<Entry>> =
        subdirs.par_iter().map(|subdir| walk(root, subdir, made)).collect::<Result<_>>()?;
    entries.extend(subdirs.into_iter().map(|path| Entry { path, kind: Kind::Directory }));
    entries.extend(below.into_iter().flatten());
    Ok(entries)
}

/// Directories that only a configured tree has, and version control.
fn is_build_directory(path: &Path, made: Made) -> bool {
    let Some(text) = path.to_str() else { return false };
    // No compiler reads what is in `include/config`: make does, a file for each option.
    if matches!(text, ".git" | ".tmp_versions" | "include/config") {
        return true;
    }
    made == Made::LeftOut && (text == "include/generated" || is_generated_for_arch(text))
}

fn is_generated_for_arch(path: &str) -> bool {
    path.strip_prefix("arch/")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, rest)| rest == "include/generated")
}

/// What in one directory is left out, since a build made it.
struct LeftOut {
    names: BTreeSet<String>,
    made: Made,
}

impl LeftOut {
    /// kbuild records each target `x` in `.x.cmd`; targets without such a record (generated
    /// headers) are named, without wildcards, in the directory's own `.gitignore`.
    fn of_directory(dir: &Path, names: &[fs::DirEntry], made: Made) -> Self {
        let mut left_out = Self { names: BTreeSet::new(), made };
        if made == Made::Generated {
            return left_out;
        }
        for name in names {
            let name = name.file_name();
            let target =
                name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".cmd"));
            left_out.names.extend(target.map(str::to_owned));
        }
        let ignored = fs::read_to_string(dir.join(".gitignore")).unwrap_or_default();
        for line in ignored.lines() {
            let name = line.strip_prefix('/').unwrap_or(line);
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
            if plain && name.contains(|c: char| c.is_ascii_alphanumeric()) {
                left_out.names.insert(name.to_owned());
            }
        }
        left_out
    }

    fn contains(&self, path: &Path, name: &OsStr) -> bool {
        const SUFFIXES: [&str; 13] = [
            ".o", ".ko", ".a", ".cmd", ".mod", ".mod.c", ".o.d", ".dwo", ".order", ".symvers",
            ".so", ".so.dbg", ".lst",
        ];
        const TOP: [&str; 8] = [
            ".config",
            ".config.old",
            ".version",
            ".missing-syscalls.d",
            "System.map",
            "vmlinux",
            "modules.builtin",
            "modules.builtin.modinfo",
        ];
        let Some(name) = name.to_str() else { return false };
        if self.made == Made::Generated && name.as_bytes().ends_with(RECORD) {
            return false;
        }
        let at_top = path.parent() == Some(Path::new(""));
        self.names.contains(name)
            || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            || (at_top && TOP.contains(&name))
    }
}

/// `VERSION.PATCHLEVEL.SUBLEVEL` + EXTRAVERSION of the top Makefile.
fn makefile_version(text: &str) -> Option<String> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.trim_start();
            Some(rest.strip_prefix('=')?.trim().to_owned())
        })
    };
    let version = value("VERSION").filter(|text| !text.is_empty())?;
    let patchlevel = value("PATCHLEVEL").filter(|text| !text.is_empty())?;
    let mut all = format!("{version}.{patchlevel}");
    if let Some(sublevel) = value("SUBLEVEL").filter(|text| !text.is_empty()) {
        all.push('.');
        all.push_str(&sublevel);
    }
    all.push_str(&value("EXTRAVERSION").unwrap_or_default());
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn leaves_out_what_a_build_made() {
        let dir = tempfile::tempdir().unwrap();
        let top = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\n";
        write(dir.path(), "Makefile", top);
        for path in ["fs/a.c", "include/linux/x.h", "fs/config/y.c", "fs/.gitignore"] {
            write(dir.path(), path, "flask.h\n");
        }
        let clean = read(dir.path()).unwrap();
        assert_eq!(clean.version, "6.12.117");
        for path in [".config", "include/config/auto.conf", "include/generated/a.h", "fs/a.o"] {
            write(dir.path(), path, "made");
        }
        for path in ["arch/x86/include/generated/q.h", "fs/.gen.c.cmd", "fs/gen.c", "fs/flask.h"] {
            write(dir.path(), path, "made");
        }
        let configured = read(dir.path()).unwrap();
        let extra: Vec<_> =
            configured.entries.iter().filter(|entry| !clean.entries.contains(entry)).collect();
        assert!(extra.iter().all(|entry| entry.kind == Kind::Directory), "{extra:?}");
        assert!(configured.has_file(Path::new("fs/a.c")));
        assert!(configured.has_file(Path::new("fs/config/y.c")));
        assert!(!configured.has_file(Path::new("fs/gen.c")));
    }

    #[test]
    fn keeps_what_a_build_generated_and_lists_its_records() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "Makefile", "VERSION = 6\nPATCHLEVEL = 12\n");
        let generated =
            ["include/generated/a.h", "arch/x86/include/generated/q.h", "fs/gen.c", "fs/a.c"];
        for path in
            generated.iter().chain(&["fs/a.o", "fs/.a.o.cmd", "fs/m.ko", "vmlinux", ".git/x"])
        {
            write(dir.path(), path, "made");
        }
        write(dir.path(), "fs/.gitignore", "gen.c\n");
        let tree = read_with(dir.path(), Made::Generated).unwrap();
        assert!(generated.iter().all(|path| tree.has_file(Path::new(path))), "{tree:?}");
        for path in ["fs/a.o", "fs/.a.o.cmd", "fs/m.ko", "vmlinux", ".git/x"] {
            assert!(!tree.has_file(Path::new(path)), "{path}");
        }
        let records: Vec<&Path> = tree.records.iter().map(|entry| entry.path.as_path()).collect();
        assert_eq!(records, [Path::new("fs/.a.o.cmd")]);
        assert!(read(dir.path()).unwrap().records.is_empty());
    }

    #[test]
    fn a_changed_file_changes_the_key() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "Makefile", "VERSION = 7\nPATCHLEVEL = 0\n");
        write(dir.path(), "x.c", "int x;\n");
        let before = read(dir.path()).unwrap();
        let again = read(dir.path()).unwrap();
        assert_eq!((&before.key, &before.layout), (&again.key, &again.layout));
        // Other content is another tree, of the same layout.
        write(dir.path(), "x.c", "long x;\n");
        let changed = read(dir.path()).unwrap();
        assert_ne!(before.key, changed.key);
        assert_eq!(before.layout, changed.layout);
        write(dir.path(), "y.c", "int y;\n");
        assert_ne!(before.layout, read(dir.path()).unwrap().layout);
    }

    #[test]
    fn sees_changes_behind_links() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "real/x.c", "int x;\n");
        write(dir.path(), "tree/Makefile", "VERSION = 7\nPATCHLEVEL = 0\n");
        let link = dir.path().join("tree/x.c");
        std::os::unix::fs::symlink(dir.path().join("real/x.c"), link).unwrap();
        let before = read(&dir.path().join("tree")).unwrap();
        assert!(before.has_file(Path::new("x.c")));
        write(dir.path(), "real/x.c", "long x;\n");
        assert_ne!(before.key, read(&dir.path().join("tree")).unwrap().key);
    }

    #[test]
    fn refuses_what_is_not_a_tree() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = read(dir.path()).unwrap_err().downcast::<Refusal>().unwrap();
        assert_eq!(refusal.code, Code::TargetIncomplete);
    }
}

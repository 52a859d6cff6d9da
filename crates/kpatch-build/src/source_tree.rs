//! The user's source tree: what is in it, its fingerprint, its version. It is only ever read.
//! Bias: files that a build inside the tree leaves behind are not source; they are left out, so
//! that a tree with a configuration of its own serves as well as a clean one.

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

    fn list(self, listing: &mut Vec<u8>) {
        listing.extend_from_slice(&self.size.to_le_bytes());
        listing.extend_from_slice(&self.modified.to_le_bytes());
        listing.extend_from_slice(&self.mode.to_le_bytes());
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

/// A kernel source tree as it was when it was read.
#[derive(Debug, Clone)]
pub struct SourceTree {
    /// The root; absolute, without symbolic links.
    pub root: PathBuf,
    /// All entries that are source, sorted by path (a directory comes before what is in it).
    pub entries: Vec<Entry>,
    /// `6.12.117`, from the top Makefile.
    pub version: String,
    /// Names root and content: equal keys mean the same tree, unchanged.
    pub key: String,
}

/// Reads the tree at `root`.
///
/// # Errors
/// `TargetIncomplete` when it is not a kernel source tree; I/O errors.
pub fn read(root: &Path) -> Result<SourceTree> {
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
    let mut entries = walk(&root, Path::new(""))?;
    entries.par_sort_unstable();
    let key = tree_key(&root, &entries);
    Ok(SourceTree { root, entries, version, key })
}

impl SourceTree {
    /// Whether `path` (relative to the root) is a file of the source.
    pub fn has_file(&self, path: &Path) -> bool {
        let found = self.entries.binary_search_by(|entry| entry.path.as_path().cmp(path));
        found
            .is_ok_and(|at| matches!(self.entries[at].kind, Kind::File(_) | Kind::Link(_, Some(_))))
    }
}

fn tree_key(root: &Path, entries: &[Entry]) -> String {
    let mut listing = Vec::with_capacity(entries.len() * 80);
    for entry in entries {
        listing.extend_from_slice(entry.path.as_os_str().as_encoded_bytes());
        listing.push(0);
        match &entry.kind {
            Kind::Directory => listing.push(b'd'),
            Kind::File(state) => {
                listing.push(b'f');
                state.list(&mut listing);
            }
            Kind::Link(target, state) => {
                listing.push(b'l');
                listing.extend_from_slice(target.as_os_str().as_encoded_bytes());
                listing.push(0);
                state.iter().for_each(|state| state.list(&mut listing));
            }
        }
    }
    let key = ContentKey::new("source tree 3");
    key.part(root.as_os_str().as_encoded_bytes()).part(listing).name()
}

/// The entries below `dir`, in no particular order.
fn walk(root: &Path, dir: &Path) -> Result<Vec<Entry>> {
    let absolute = root.join(dir);
    let context = || format!("cannot read `{}`", absolute.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&absolute).with_context(context)? {
        names.push(entry.with_context(context)?);
    }
    let made = Made::of_directory(&absolute, &names);
    let mut entries = Vec::with_capacity(names.len());
    let mut subdirs = Vec::new();
    for name in names {
        let path = dir.join(name.file_name());
        let kind = name.file_type()?;
        if kind.is_dir() {
            if !is_build_directory(&path) {
                subdirs.push(path);
            }
        } else if made.contains(&path, &name.file_name()) {
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
        subdirs.par_iter().map(|subdir| walk(root, subdir)).collect::<Result<_>>()?;
    entries.extend(subdirs.into_iter().map(|path| Entry { path, kind: Kind::Directory }));
    entries.extend(below.into_iter().flatten());
    Ok(entries)
}

/// Directories that only a configured tree has, and version control.
fn is_build_directory(path: &Path) -> bool {
    let Some(text) = path.to_str() else { return false };
    if matches!(text, ".git" | "include/config" | "include/generated" | ".tmp_versions") {
        return true;
    }
    text.strip_prefix("arch/")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, rest)| rest == "include/generated")
}

/// What in one directory was made by a build inside the tree.
struct Made {
    names: BTreeSet<String>,
}

impl Made {
    /// kbuild records each target `x` in `.x.cmd`; targets without such a record (generated
    /// headers) are named, without wildcards, in the directory's own `.gitignore`.
    fn of_directory(dir: &Path, names: &[fs::DirEntry]) -> Self {
        let mut made = BTreeSet::new();
        for name in names {
            let name = name.file_name();
            let target =
                name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".cmd"));
            made.extend(target.map(str::to_owned));
        }
        let ignored = fs::read_to_string(dir.join(".gitignore")).unwrap_or_default();
        for line in ignored.lines() {
            let name = line.strip_prefix('/').unwrap_or(line);
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
            if plain && name.contains(|c: char| c.is_ascii_alphanumeric()) {
                made.insert(name.to_owned());
            }
        }
        Self { names: made }
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
    fn a_changed_file_changes_the_key() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "Makefile", "VERSION = 7\nPATCHLEVEL = 0\n");
        let before = read(dir.path()).unwrap();
        assert_eq!(before.key, read(dir.path()).unwrap().key);
        write(dir.path(), "x.c", "int x;\n");
        assert_ne!(before.key, read(dir.path()).unwrap().key);
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

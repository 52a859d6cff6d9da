//! Symlink farms of the source tree in the cache: a base farm, and a pool of farms to patch.
//!
//! Directories are real and files are links, so that `#include "../x.h"`, which the system resolves
//! physically, stays in the farm. Each directory has one link `.src` to the user's directory, and
//! its files lead through that: links that short are kept in the inode (ext4, xfs), where 90,000
//! absolute ones take a block each, 350 MB. Bias: nothing is ever written through a
//! link: a touched file's link is removed first and the new file created with `create_new`.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use rayon::prelude::*;

use crate::cache;
use crate::cache::Cache;
use crate::cache::Lock;
use crate::source_tree::Kind;
use crate::source_tree::SourceTree;

/// Farms that may be patched at the same time; more runs than that wait for the last one.
const MOST_SLOTS: usize = 64;

/// The link to the user's directory. kbuild's own patterns and searches skip it.
const SOURCE: &str = ".src";

/// The farms of one tree.
#[derive(Debug, Clone)]
pub struct Farms {
    dir: PathBuf,
}

impl Farms {
    /// Opens the farms of `tree`, building the base farm if the cache has none. Trees of one layout share
    /// them: what is edited is seen through the links.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn open(cache: &Cache, tree: &SourceTree) -> Result<Self> {
        let dir = cache.root().join("trees").join(&tree.layout);
        fs::create_dir_all(dir.join("slots"))?;
        let farms = Self { dir };
        build(cache, tree, &farms.base())?;
        Ok(farms)
    }

    /// The farm whose files are all the user's own.
    pub fn base(&self) -> PathBuf {
        self.dir.join("base")
    }

    /// Claims a farm to patch. Farms that a killed run left dirty are made anew.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn claim(&self, cache: &Cache, tree: &SourceTree) -> Result<PatchedFarm> {
        let slots = self.dir.join("slots");
        for number in 0..MOST_SLOTS {
            let lock_path = slots.join(format!("{number}.lock"));
            let lock = if number + 1 == MOST_SLOTS {
                Some(cache::lock(&lock_path)?)
            } else {
                cache::try_lock(&lock_path)?
            };
            let Some(lock) = lock else { continue };
            let root = slots.join(number.to_string());
            let dirty = slots.join(format!("{number}.dirty"));
            if dirty.exists() {
                cache.discard(&root)?;
                fs::remove_file(&dirty)?;
            }
            build(cache, tree, &root)?;
            let (touched, created) = (Vec::new(), Vec::new());
            return Ok(PatchedFarm { root, dirty, touched, created, _lock: lock });
        }
        unreachable!("the last slot waits for its lock")
    }
}

/// Builds a farm of `tree` at `root` unless it is there; it appears whole.
fn build(cache: &Cache, tree: &SourceTree, root: &Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    let temporary = cache.temporary_path("farm")?;
    fs::create_dir(&temporary)?;
    symlink(&tree.root, temporary.join(SOURCE))?;
    for entry in &tree.entries {
        if entry.kind == Kind::Directory {
            let dir = temporary.join(&entry.path);
            fs::create_dir(&dir)?;
            symlink(tree.root.join(&entry.path), dir.join(SOURCE))?;
        }
    }
    tree.entries.par_iter().try_for_each(|entry| {
        let target = match &entry.kind {
            Kind::Directory => return Ok(()),
            Kind::File(_) => short_target(&entry.path),
            Kind::Link(target, _) => link_target(tree, &entry.path, target),
        };
        let link = temporary.join(&entry.path);
        symlink(target, &link).with_context(|| format!("cannot link `{}`", link.display()))
    })?;
    match fs::rename(&temporary, root) {
        // Another run was quicker: its farm is as good.
        Err(_) if root.is_dir() => {
            fs::remove_dir_all(&temporary)?;
            Ok(())
        }
        other => other.with_context(|| format!("cannot create `{}`", root.display())),
    }
}

/// What the link of the file `path` says.
fn short_target(path: &Path) -> PathBuf {
    Path::new(SOURCE).join(path.file_name().unwrap_or_default())
}

/// A link that stays within the tree stays within the farm; others keep their real target.
fn link_target(tree: &SourceTree, link: &Path, target: &Path) -> PathBuf {
    let dir = link.parent().unwrap_or(Path::new(""));
    let inside = target.is_relative() && {
        let mut depth = dir.components().count();
        target.components().all(|component| match component {
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => {
                    depth = less;
                    true
                }
                None => false,
            },
            _ => {
                depth += 1;
                true
            }
        })
    };
    if inside { target.to_owned() } else { tree.root.join(dir).join(target) }
}

/// A claimed farm: ours alone until it is dropped, which gives it back clean.
#[derive(Debug)]
pub struct PatchedFarm {
    root: PathBuf,
    dirty: PathBuf,
    touched: Vec<PathBuf>,
    /// Those among them that the tree does not have.
    created: Vec<PathBuf>,
    _lock: Lock,
}

impl PatchedFarm {
    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a real file with `content` in the place of the link `path` (relative to the root), or
    /// of what was put there before, or where the tree has nothing.
    ///
    /// # Errors
    /// When `path` is in no directory of the tree or cannot be replaced.
    pub fn put(&mut self, path: &Path, content: &[u8]) -> Result<()> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(plain, "not a path within the tree: `{}`", path.display());
        let file = self.root.join(path);
        // A directory that is a link would lead out of the farm.
        let dir = file.parent().unwrap_or(&self.root);
        let real = dir.canonicalize()?;
        ensure!(real == dir, "`{}` leads out of the farm to `{}`", dir.display(), real.display());
        if self.touched.is_empty() {
            fs::write(&self.dirty, "")?;
        }
        let is_there = fs::symlink_metadata(&file).is_ok();
        if !self.touched.iter().any(|touched| touched == path) {
            self.touched.push(path.to_owned());
            self.created.extend((!is_there).then(|| path.to_owned()));
        }
        if is_there {
            fs::remove_file(&file)
                .with_context(|| format!("cannot replace `{}`", file.display()))?;
        }
        let mut new = OpenOptions::new().write(true).create_new(true).open(&file)?;
        new.write_all(content).with_context(|| format!("cannot write `{}`", file.display()))
    }

    fn restore(&mut self) -> Result<()> {
        for path in &self.touched {
            let file = self.root.join(path);
            if fs::symlink_metadata(&file).is_ok() {
                fs::remove_file(&file)?;
            }
            if !self.created.contains(path) {
                symlink(short_target(path), &file)?;
            }
        }
        if !self.touched.is_empty() {
            fs::remove_file(&self.dirty)?;
        }
        Ok(())
    }
}

impl Drop for PatchedFarm {
    fn drop(&mut self) {
        // If this fails the farm stays marked dirty and is made anew by its next owner.
        let _ = self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_tree;

    fn tree(dir: &Path) -> SourceTree {
        let root = dir.join("linux");
        fs::create_dir_all(root.join("fs/proc")).unwrap();
        fs::write(root.join("Makefile"), "VERSION = 6\nPATCHLEVEL = 12\n").unwrap();
        fs::write(root.join("fs/x.h"), "#define X 1\n").unwrap();
        fs::write(root.join("fs/proc/a.c"), "#include \"../x.h\"\n").unwrap();
        symlink("../x.h", root.join("fs/proc/in.h")).unwrap();
        symlink("../../../out.h", root.join("fs/proc/out.h")).unwrap();
        source_tree::read(&root).unwrap()
    }

    /// Claims the farm at `root` once more. A program that another test is about to start holds copies of
    /// all locks until it runs, so the first tries may find the farm taken.
    fn claim_again(farms: &Farms, cache: &Cache, tree: &SourceTree, root: &Path) -> PatchedFarm {
        for _ in 0..200 {
            let farm = farms.claim(cache, tree).unwrap();
            if farm.root() == root {
                return farm;
            }
            drop(farm);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("`{}` is not given out again", root.display());
    }

    #[test]
    fn replaces_files_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let tree = tree(dir.path());
        let farms = Farms::open(&cache, &tree).unwrap();
        let mut farm = farms.claim(&cache, &tree).unwrap();
        let root = farm.root().to_owned();
        farm.put(Path::new("fs/x.h"), b"#define X 2\n").unwrap();
        farm.put(Path::new("fs/new.h"), b"").unwrap();
        farm.put(Path::new("fs/new.h"), b"#define Y 2\n").unwrap();
        assert_eq!(fs::read(root.join("fs/new.h")).unwrap(), b"#define Y 2\n");
        assert!(farm.put(Path::new("none/new.h"), b"").is_err());
        // Both ways to the header see the patched one; the user's file is what it was.
        assert_eq!(fs::read(root.join("fs/proc/../x.h")).unwrap(), b"#define X 2\n");
        assert_eq!(fs::read(root.join("fs/proc/in.h")).unwrap(), b"#define X 2\n");
        assert_eq!(fs::read(tree.root.join("fs/x.h")).unwrap(), b"#define X 1\n");
        let other = farms.claim(&cache, &tree).unwrap();
        assert_ne!(other.root(), root);
        drop(farm);
        assert!(fs::symlink_metadata(root.join("fs/new.h")).is_err());
        assert_eq!(root.join("fs/x.h").canonicalize().unwrap(), tree.root.join("fs/x.h"));
        claim_again(&farms, &cache, &tree, &root);
    }

    #[test]
    fn a_killed_runs_farm_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let tree = tree(dir.path());
        let farms = Farms::open(&cache, &tree).unwrap();
        let root = farms.claim(&cache, &tree).unwrap().root().to_owned();
        // What SIGKILL leaves: the mark, a real file half written, no lock held.
        fs::write(root.with_extension("dirty"), "").unwrap();
        fs::remove_file(root.join("fs/x.h")).unwrap();
        fs::write(root.join("fs/x.h"), "#def").unwrap();
        let _farm = claim_again(&farms, &cache, &tree, &root);
        assert_eq!(fs::read(root.join("fs/x.h")).unwrap(), b"#define X 1\n");
    }

    #[test]
    fn does_not_leave_the_farm() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let tree = tree(dir.path());
        let farms = Farms::open(&cache, &tree).unwrap();
        let mut farm = farms.claim(&cache, &tree).unwrap();
        assert!(farm.put(Path::new("../x"), b"").is_err());
        assert!(farm.put(Path::new("fs/.src/x.h"), b"").is_err());
        let out = fs::read_link(farm.root().join("fs/proc/out.h")).unwrap();
        assert_eq!(out, tree.root.join("fs/proc/../../../out.h"));
    }
}

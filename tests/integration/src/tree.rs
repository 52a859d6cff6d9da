//! A fingerprint of a whole source tree, to prove that nobody wrote to it.

use std::fs;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use rayon::prelude::*;

/// One entry of a tree: relative path, and a hash of its kind, mode, size, time of change and
/// content (a link's target, a file's bytes).
pub type Entry = (PathBuf, u64);

/// All entries of the tree at `root`, sorted by path. Links are not followed.
///
/// # Errors
/// When something cannot be read.
pub fn fingerprint(root: &Path) -> Result<Vec<Entry>> {
    let mut paths = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot list `{}`", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                todo.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths
        .par_iter()
        .map(|path| {
            let hash = hash(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            Ok((path.strip_prefix(root)?.to_owned(), hash))
        })
        .collect()
}

/// The paths at which two fingerprints differ.
pub fn differences(before: &[Entry], after: &[Entry]) -> Vec<PathBuf> {
    let old: std::collections::BTreeSet<&Entry> = before.iter().collect();
    let new: std::collections::BTreeSet<&Entry> = after.iter().collect();
    let mut paths: Vec<PathBuf> =
        old.symmetric_difference(&new).map(|(path, _)| path.clone()).collect();
    paths.dedup();
    paths
}

fn hash(path: &Path) -> Result<u64> {
    let meta = fs::symlink_metadata(path)?;
    let mut hasher = DefaultHasher::new();
    (meta.mode(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ino()).hash(&mut hasher);
    (meta.ctime(), meta.ctime_nsec()).hash(&mut hasher);
    if meta.file_type().is_symlink() {
        fs::read_link(path)?.hash(&mut hasher);
    } else if meta.is_file() {
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.write(&buffer[..n]);
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_changed_byte_a_new_file_and_a_touched_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a"), "one").unwrap();
        fs::write(dir.path().join("b"), "b").unwrap();
        let before = fingerprint(dir.path()).unwrap();
        assert_eq!(differences(&before, &fingerprint(dir.path()).unwrap()), Vec::<PathBuf>::new());
        fs::write(dir.path().join("d/a"), "two").unwrap();
        let after = fingerprint(dir.path()).unwrap();
        assert_eq!(differences(&before, &after), [PathBuf::from("d/a")]);
        fs::write(dir.path().join("d/new"), "").unwrap();
        let after = fingerprint(dir.path()).unwrap();
        let expected = ["d", "d/a", "d/new"].map(PathBuf::from);
        assert_eq!(differences(&before, &after), expected);
    }
}

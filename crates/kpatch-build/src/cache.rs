//! The cache: content keys, locks, temporary space. Bias: what is found under its final name is
//! whole. Everything is made in temporary space and renamed; ownership is told by `flock`, which
//! the kernel takes from a process that dies, so that a killed run never looks alive (and a live
//! one in another PID namespace never looks dead).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use fs4::FileExt;
use sha2::Digest;
use sha2::Sha256;

/// Temporary directories that carry no lock (their owner died between two system calls, or is
/// between them now) are left alone for this long.
const UNLOCKED_GRACE: Duration = Duration::from_secs(3600);

/// Hashes the parts that a cached thing depends on into its name.
#[derive(Debug, Clone, Default)]
pub struct ContentKey(Sha256);

impl ContentKey {
    /// A key for one kind of thing; the kind keeps keys of different kinds (and of different
    /// versions of their format) apart.
    pub fn new(kind: &str) -> Self {
        Self::default().part(kind)
    }

    /// The key with one more part. Parts are delimited: `ab`,`c` and `a`,`bc` differ.
    #[must_use]
    pub fn part(mut self, part: impl AsRef<[u8]>) -> Self {
        let bytes = part.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The name: 128 bits in hexadecimal.
    pub fn name(self) -> String {
        self.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An exclusive lock, held until dropped (or until the process dies).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock at `path`, waiting for it; the file is created and stays.
///
/// # Errors
/// When the file cannot be opened or locked.
pub fn lock(path: &Path) -> Result<Lock> {
    let file = open_lock(path)?;
    FileExt::lock(&file).with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(Lock { _file: file })
}

/// Takes the lock at `path` if nobody holds it.
///
/// # Errors
/// When the file cannot be opened or locked for another reason than being held.
pub fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file = open_lock(path)?;
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(fs4::TryLockError::WouldBlock) => Ok(None),
        Err(fs4::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
        }
    }
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open lock `{}`", path.display()))
}

/// The cache directory of one run, with temporary space on the same file system.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    temporary: PathBuf,
    _lock: Lock,
}

impl Cache {
    /// Opens (and creates) the cache at `root`, and removes the temporary space of runs that are
    /// no more.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn open(root: &Path) -> Result<Self> {
        let all = root.join("tmp");
        fs::create_dir_all(&all)
            .with_context(|| format!("cannot create cache `{}`", root.display()))?;
        let root = root.canonicalize()?;
        let all = root.join("tmp");
        sweep(&all)?;
        let temporary = tempfile::Builder::new().prefix("run-").tempdir_in(&all)?.keep();
        let lock = lock(&temporary.join("lock"))?;
        Ok(Self { root, temporary, _lock: lock })
    }

    /// Where the cache is; absolute, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A new empty directory in this run's temporary space; whoever wants to keep it renames it.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn temporary_dir(&self) -> Result<PathBuf> {
        Ok(tempfile::Builder::new().prefix("d-").tempdir_in(&self.temporary)?.keep())
    }

    /// A path in this run's temporary space that does not exist yet.
    ///
    /// # Errors
    /// When the directory that it is in cannot be created.
    pub fn temporary_path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.temporary_dir()?.join(name))
    }

    /// Writes a file of the cache so that it appears whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_whole(&self, path: &Path, content: &[u8]) -> Result<()> {
        let temporary = self.temporary_path("file")?;
        fs::write(&temporary, content)?;
        fs::rename(&temporary, path).with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Removes a directory of the cache so that it is never seen half removed.
    ///
    /// # Errors
    /// When it exists and cannot be moved away or removed.
    pub fn discard(&self, dir: &Path) -> Result<()> {
        let away = self.temporary_path("discarded")?;
        match fs::rename(dir, &away) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("cannot move `{}` away", dir.display()))?,
        }
        fs::remove_dir_all(&away).with_context(|| format!("cannot remove `{}`", away.display()))
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Nothing depends on it: what stays is swept by a later run.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// Removes temporary directories whose owner is gone.
fn sweep(all: &Path) -> Result<()> {
    for entry in fs::read_dir(all)? {
        let dir = entry?.path();
        let lock_path = dir.join("lock");
        let abandoned = if lock_path.exists() {
            // The owner may remove its directory at this very moment: then there is nothing to do.
            try_lock(&lock_path).ok().flatten().is_some()
        } else {
            let modified = fs::metadata(&dir).and_then(|data| data.modified());
            let age = modified.ok().and_then(|time| time.elapsed().ok());
            age.is_some_and(|age| age > UNLOCKED_GRACE)
        };
        if abandoned {
            let _ = fs::remove_dir_all(&dir);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_delimited() {
        let joined = ContentKey::new("k").part("ab").part("c").name();
        assert_ne!(joined, ContentKey::new("k").part("a").part("bc").name());
        assert_eq!(joined.len(), 32);
    }

    #[test]
    fn sweeps_dead_runs_and_spares_live_ones() {
        let dir = tempfile::tempdir().unwrap();
        let live = Cache::open(dir.path()).unwrap();
        let kept = live.temporary_dir().unwrap();
        let dead = dir.path().join("tmp/run-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let fresh = dir.path().join("tmp/run-being-made");
        fs::create_dir(&fresh).unwrap();
        let _other = Cache::open(dir.path()).unwrap();
        assert!(kept.is_dir() && fresh.is_dir());
        assert!(!dead.exists());
    }
}

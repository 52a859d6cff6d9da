//! The directory that one run writes its objects and logs to.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;

use crate::cache::Cache;
use crate::outcome::Usage;
use crate::progress::Progress;
use crate::settings::Settings;

/// Work directories of failed runs are kept this long.
const KEEP_FAILED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The directory for a run's objects and logs. One that the tool made goes when all went well, unless
/// it is to be kept; after a failure it stays, with the log, for a week.
#[derive(Debug)]
pub struct WorkDir {
    /// Where it is.
    pub path: PathBuf,
    own: bool,
}

impl WorkDir {
    /// The directory that `settings` name, or a new one in the cache.
    ///
    /// # Errors
    /// [`Usage`] when it cannot be created; I/O errors.
    pub fn open(settings: &Settings, cache: &Cache) -> Result<Self> {
        if let Some(path) = &settings.work_dir {
            let absolute = fs::create_dir_all(path).and_then(|()| path.canonicalize());
            let path = absolute
                .map_err(|error| Usage(format!("cannot create `{}`: {error}", path.display())))?;
            return Ok(WorkDir { path, own: false });
        }
        let all = cache.root().join("work");
        fs::create_dir_all(&all).with_context(|| format!("cannot create `{}`", all.display()))?;
        for entry in fs::read_dir(&all)?.flatten() {
            let age = entry.metadata().and_then(|m| m.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > KEEP_FAILED) {
                // Another run may be at it, too; what stays goes next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = tempfile::Builder::new().prefix("run-").tempdir_in(&all)?.keep();
        Ok(WorkDir { path, own: true })
    }

    /// After success.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn done(self, keep: bool, progress: &Progress) -> Result<()> {
        if self.own && !keep {
            return fs::remove_dir_all(&self.path)
                .with_context(|| format!("cannot remove `{}`", self.path.display()));
        }
        progress.note(&format!("work directory: {}", self.path.display()));
        Ok(())
    }
}

//! The headers with the macros for patch authors (`kmod/include/`), carried in the binary. They are the
//! last place where the compiler looks, on both sides: what the kernel has under the same name wins.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::cache::Cache;
use crate::cache::ContentKey;

macro_rules! headers {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../kmod/include/", $name)))),*]
    };
}

/// All headers: path in the directory, and text.
const HEADERS: &[(&str, &str)] =
    headers!["kpatch-macros.h", "kpatch-syscall.h", "linux/livepatch_helpers.h"];

/// The directory of headers.
#[derive(Debug, Clone)]
pub struct AuthorHeaders {
    /// Where it is.
    pub directory: PathBuf,
    /// Names its content.
    pub key: String,
}

impl AuthorHeaders {
    /// Writes the headers into the cache, unless they are there.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn lay_out(cache: &Cache) -> Result<Self> {
        let key = HEADERS
            .iter()
            .fold(ContentKey::new("author headers"), |key, (name, text)| key.part(name).part(text));
        let key = key.name();
        let all = cache.root().join("author-headers");
        let directory = all.join(&key);
        if !directory.is_dir() {
            fs::create_dir_all(&all)?;
            let temporary = cache.temporary_dir()?;
            for (name, text) in HEADERS {
                let file = temporary.join(name);
                fs::create_dir_all(file.parent().unwrap_or(&temporary))?;
                fs::write(&file, text)?;
            }
            publish(&temporary, &directory)?;
        }
        Ok(AuthorHeaders { directory, key })
    }
}

/// Gives the directory its name. Another run may have been faster: then its directory is as good.
fn publish(temporary: &Path, directory: &Path) -> Result<()> {
    match fs::rename(temporary, directory) {
        Err(_) if directory.is_dir() => Ok(()),
        other => other.with_context(|| format!("cannot make `{}`", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn files_below(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                files_below(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_header_is_carried() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kmod/include");
        let mut there = BTreeSet::new();
        files_below(&home, "", &mut there);
        let carried: BTreeSet<String> = HEADERS.iter().map(|(name, _)| (*name).into()).collect();
        assert_eq!(carried, there);
    }

    #[test]
    fn written_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let first = AuthorHeaders::lay_out(&cache).unwrap();
        for (name, text) in HEADERS {
            assert_eq!(fs::read_to_string(first.directory.join(name)).unwrap(), *text);
        }
        let again = AuthorHeaders::lay_out(&cache).unwrap();
        assert_eq!((again.directory, again.key), (first.directory.clone(), first.key));
        // As if another run had been faster.
        publish(&cache.temporary_dir().unwrap(), &first.directory).unwrap();
        assert!(publish(Path::new("/nowhere"), &dir.path().join("missing")).is_err());
    }
}

//! Finds the unpacked stock kernel to test on: what `scripts/fetch-kernel.sh` left in the cache.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

/// The parts of an unpacked distribution kernel, all of the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSet {
    /// What `uname -r` says on it.
    pub release: String,
    /// The version of its packages.
    pub version: String,
    /// The source tree.
    pub source: PathBuf,
    /// The compressed image.
    pub image: PathBuf,
    /// The headers directory with `.config` and `Module.symvers`.
    pub headers: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
}

/// The cache of the whole project: `KPATCH_CACHE`, else `~/.cache/kpatch`.
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("KPATCH_CACHE").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
    });
    base.join("kpatch")
}

/// The current kernel set of `cache`; `None` when there is none.
///
/// # Errors
/// When there is one whose `kernel.env` cannot be understood or names what does not exist.
pub fn find(cache: &Path) -> Result<Option<KernelSet>> {
    let file = cache.join("kernels/current/kernel.env");
    if file.exists() { read(&file).map(Some) } else { Ok(None) }
}

/// The kernel set of `cache` whose package version begins with `version`; `None` when there is none.
///
/// # Errors
/// As [`find`].
pub fn of_version(cache: &Path, version: &str) -> Result<Option<KernelSet>> {
    let Ok(kernels) = std::fs::read_dir(cache.join("kernels")) else { return Ok(None) };
    let mut files: Vec<PathBuf> =
        kernels.flatten().map(|entry| entry.path().join("kernel.env")).collect();
    files.sort();
    for file in files.into_iter().filter(|file| file.exists()) {
        let set = read(&file)?;
        if set.version.starts_with(version) {
            return Ok(Some(set));
        }
    }
    Ok(None)
}

/// The value of `key` in a `kernel.env`.
///
/// # Errors
/// When the file cannot be read or has no such line.
pub fn value(file: &Path, key: &str) -> Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    let found = values(&text).get(key).map(|value| (*value).to_owned());
    found.with_context(|| format!("no `{key}=` line in `{}`", file.display()))
}

/// The kernel set that the `kernel.env` at `file` describes.
///
/// # Errors
/// When it cannot be understood, or names what does not exist.
pub fn read(file: &Path) -> Result<KernelSet> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    let set = parse(&text).with_context(|| format!("in `{}`", file.display()))?;
    for path in [&set.source, &set.image, &set.headers, &set.modules] {
        anyhow::ensure!(
            path.exists(),
            "`{}` names `{}`, which does not exist",
            file.display(),
            path.display()
        );
    }
    Ok(set)
}

/// The `KEY=value` lines (quotes around a value are allowed).
fn values(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\''])))
        .collect()
}

fn parse(text: &str) -> Result<KernelSet> {
    let values = values(text);
    let get = |key: &str| values.get(key).copied().with_context(|| format!("no `{key}=` line"));
    Ok(KernelSet {
        release: get("RELEASE")?.to_owned(),
        version: get("VERSION")?.to_owned(),
        source: get("SOURCE")?.into(),
        image: get("IMAGE")?.into(),
        headers: get("HEADERS")?.into(),
        modules: get("MODULES")?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_part_and_names_a_missing_one() {
        let text = "RELEASE=6.12.1-x\nVERSION=6.12.1\nSOURCE=/s\nIMAGE='/i i'\nHEADERS=/h\n";
        let error = parse(text).unwrap_err().to_string();
        assert_eq!(error, "no `MODULES=` line");
        let set = parse(&format!("{text}MODULES=/m\n")).unwrap();
        assert_eq!((set.release.as_str(), set.image), ("6.12.1-x", PathBuf::from("/i i")));
    }

    #[test]
    fn finds_a_kernel_by_its_version() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(of_version(cache.path(), "6.12.1-").unwrap(), None);
        for version in ["6.12.11-1", "6.12.1-2"] {
            let dir = cache.path().join("kernels").join(version);
            std::fs::create_dir_all(&dir).unwrap();
            let parts = ["SOURCE", "IMAGE", "HEADERS", "MODULES"];
            let parts = parts.map(|part| format!("{part}={}\n", dir.display())).concat();
            let text = format!("RELEASE={version}-cloud\nVERSION={version}\n{parts}");
            std::fs::write(dir.join("kernel.env"), text).unwrap();
        }
        let set = of_version(cache.path(), "6.12.1-").unwrap().unwrap();
        assert_eq!(set.release, "6.12.1-2-cloud");
        assert_eq!(of_version(cache.path(), "6.12.2-").unwrap(), None);
    }
}

//! Finds the kernels to test on: what `scripts/fetch-kernel.sh` and `scripts/build-kernel.sh` left in the
//! cache.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::case::Cpu;

/// A kernel that cases can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// As `case.conf` says it.
    pub name: &'static str,
    /// As names of tests say it (`vm::6.1::…`); nothing for the usual one.
    pub label: &'static str,
    /// A word in the names of patches that are for this kernel only: `fix.6.1.patch`.
    pub variant: &'static str,
    /// Its place in the cache's folder of kernels.
    place: &'static str,
    /// What puts it there.
    pub made_by: &'static str,
    /// Whether cases that name no kernels run on it, too.
    pub by_default: bool,
    /// The CPU models that show something on it.
    pub cpus: &'static [Cpu],
    /// What each run of the tool for it is told besides.
    pub flags: &'static [&'static str],
}

/// All of them. The first is the usual one: tests that are about no certain kernel run on it.
pub const KNOWN: [Known; 5] = [
    Known {
        name: "stock-6.12",
        label: "",
        variant: "6.12",
        place: "current",
        made_by: "scripts/fetch-kernel.sh",
        by_default: true,
        cpus: &Cpu::ALL,
        flags: &[],
    },
    // It cannot count calls: that came with 6.2.
    Known {
        name: "stock-6.1",
        label: "6.1",
        variant: "6.1",
        place: "stock-6.1",
        made_by: "scripts/fetch-kernel.sh --series 6.1",
        by_default: true,
        cpus: &[Cpu::Max, Cpu::Epyc],
        flags: &[],
    },
    // Built without mitigations. Twice: both templates must serve it.
    Known {
        name: "rust-6.12",
        label: "rust",
        variant: "rust",
        place: "rust-6.12",
        made_by: "scripts/build-kernel.sh",
        by_default: true,
        cpus: &[Cpu::Max],
        flags: &["--template=rust-for-linux"],
    },
    Known {
        name: "rust-6.12",
        label: "rust-freestanding",
        variant: "rust",
        place: "rust-6.12",
        made_by: "scripts/build-kernel.sh",
        by_default: true,
        cpus: &[Cpu::Max],
        flags: &["--template=freestanding"],
    },
    // What the others lack. It shows nothing else that they do not.
    Known {
        name: "plain-6.12",
        label: "plain",
        variant: "plain",
        place: "plain-6.12",
        made_by: "scripts/build-kernel.sh plain-6.12",
        by_default: false,
        cpus: &[Cpu::Max],
        flags: &[],
    },
];

impl Known {
    /// The usual one.
    pub const USUAL: &'static Known = &KNOWN[0];

    /// Where `cache` has it.
    pub fn dir(&self, cache: &Path) -> PathBuf {
        cache.join("kernels").join(self.place)
    }

    /// The kernel set of `cache`; `None` when there is none.
    ///
    /// # Errors
    /// When there is one whose `kernel.env` cannot be understood or names what does not exist.
    pub fn find(&self, cache: &Path) -> Result<Option<KernelSet>> {
        let file = self.dir(cache).join("kernel.env");
        if file.exists() { read(&file).map(Some) } else { Ok(None) }
    }
}

/// The parts of a kernel, all of the same version.
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
    /// The object directory that it was built in, if it was built here.
    pub objects: Option<PathBuf>,
    /// The programs that it was built with and that `PATH` may not have: rustc and bindgen.
    pub tools: Vec<PathBuf>,
}

impl KernelSet {
    /// `PATH` with the kernel's own programs first; `None` where it has none.
    ///
    /// # Errors
    /// When a directory has a `:` in its name.
    pub fn path(&self) -> Result<Option<PathBuf>> {
        if self.tools.is_empty() {
            return Ok(None);
        }
        let mut all: Vec<PathBuf> =
            self.tools.iter().filter_map(|tool| tool.parent()).map(Path::to_owned).collect();
        all.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        Ok(Some(std::env::join_paths(all)?.into()))
    }
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

/// The usual kernel set of `cache`; `None` when there is none.
///
/// # Errors
/// As [`Known::find`].
pub fn find(cache: &Path) -> Result<Option<KernelSet>> {
    Known::USUAL.find(cache)
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
    let parts = [&set.source, &set.image, &set.headers, &set.modules];
    for path in parts.into_iter().chain(&set.objects).chain(&set.tools) {
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
        objects: values.get("OBJECTS").map(PathBuf::from),
        tools: ["RUSTC", "BINDGEN"]
            .iter()
            .filter_map(|key| values.get(key))
            .map(PathBuf::from)
            .collect(),
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
        assert_eq!(set.objects, None);
        let set = parse(&format!("{text}MODULES=/m\nOBJECTS=/o\nRUSTC=/r/rustc\n")).unwrap();
        assert_eq!(set.objects, Some(PathBuf::from("/o")));
        assert!(set.path().unwrap().unwrap().to_str().unwrap().starts_with("/r"));
    }

    #[test]
    fn finds_a_kernel_by_its_name_or_not_at_all() {
        let cache = tempfile::tempdir().unwrap();
        let [usual, other, ..] = KNOWN;
        let dir = usual.dir(cache.path());
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(usual.find(cache.path()).unwrap(), None);
        let line = |part| format!("{part}={}\n", dir.display());
        let parts = ["SOURCE", "IMAGE", "HEADERS", "MODULES"].map(line).concat();
        let env = dir.join("kernel.env");
        std::fs::write(&env, format!("RELEASE=r\nVERSION=v\n{parts}")).unwrap();
        assert_eq!(find(cache.path()).unwrap().unwrap().release, "r");
        assert_eq!(other.find(cache.path()).unwrap(), None);
        std::fs::write(&env, format!("RELEASE=r\nVERSION=v\nOBJECTS=/none/such\n{parts}")).unwrap();
        assert!(find(cache.path()).unwrap_err().to_string().contains("/none/such"));
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

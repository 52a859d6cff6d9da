//! Why a file is not built: the options by which the Makefiles beside and above it are switched.
//! Bias: only a hint is made of this; that the file is not built is known from the compile
//! database.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

/// A refusal for `file` (relative to the tree at `root`), which no command of the kernel compiles;
/// `config` is the kernel's configuration.
pub fn refusal(root: &Path, file: &str, config: &str) -> Refusal {
    let set: BTreeSet<&str> = config
        .lines()
        .filter_map(|line| Some(line.strip_prefix("CONFIG_")?.split_once('=')?.0))
        .collect();
    let switches = switches(root, file);
    let off: Vec<String> = switches
        .iter()
        .filter(|name| !set.contains(name.as_str()))
        .map(|name| format!("CONFIG_{name}"))
        .collect();
    let because = match off.as_slice() {
        [] => String::new(),
        names => format!(": {} is off", names.join(", ")),
    };
    Refusal::new(
        Code::FileNotBuilt,
        Place::file(file),
        format!("the file is not built into this kernel{because}"),
        "this kernel does not run that code; leave the file out of the patch",
    )
}

/// The options that the Makefiles name for `file` and the directories that it is in.
fn switches(root: &Path, file: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(stem) = file.strip_suffix(".c") else { return found };
    let (dir, base) = stem.rsplit_once('/').unwrap_or(("", stem));
    object_switches(&makefile(root, dir), &format!("{base}.o"), &mut found, 0);
    let mut below = dir;
    while let Some((parent, name)) = below.rsplit_once('/') {
        for (left, words) in makefile(root, parent) {
            if words.iter().any(|word| word.trim_end_matches('/') == name && word.ends_with('/')) {
                found.extend(option(&left));
            }
        }
        below = parent;
    }
    found
}

/// The options for `object` in a Makefile, through the composites that it is a part of.
fn object_switches(
    makefile: &[(String, Vec<String>)],
    object: &str,
    found: &mut BTreeSet<String>,
    depth: usize,
) {
    // `a-y += b.o` and `b-y += a.o` would go on for ever.
    const DEEPEST: usize = 4;
    for (left, words) in makefile {
        if depth > DEEPEST || !words.iter().any(|word| word == object) {
            continue;
        }
        found.extend(option(left));
        let composite = left.rsplit_once('-').map_or("", |(name, _)| name);
        if !matches!(composite, "" | "obj" | "lib" | "always" | "targets") {
            object_switches(makefile, &format!("{composite}.o"), found, depth + 1);
        }
    }
}

/// `X` of `obj-$(CONFIG_X)`.
fn option(left: &str) -> Option<String> {
    let (_, rest) = left.split_once("$(CONFIG_")?;
    Some(rest.split_once(')')?.0.to_owned())
}

/// The assignments of a directory's Makefile: left side and words of the right side.
fn makefile(root: &Path, dir: &str) -> Vec<(String, Vec<String>)> {
    let read = |name: &str| fs::read_to_string(root.join(dir).join(name)).ok();
    let text = read("Kbuild").or_else(|| read("Makefile")).unwrap_or_default();
    let joined = text.replace("\\\n", " ");
    let assignment = |line: &str| {
        let (left, right) = line.split_once('=')?;
        let left = left.trim_end_matches(['+', ':', '?']).trim().to_owned();
        let right = right.split('#').next().unwrap_or_default();
        Some((left, right.split_whitespace().map(str::to_owned).collect()))
    };
    joined.lines().filter_map(assignment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_option_of_file_composite_and_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("fs/jfs")).unwrap();
        fs::write(dir.path().join("fs/Makefile"), "obj-$(CONFIG_JFS_FS)\t\t+= jfs/ # x\n").unwrap();
        let makefile = "obj-$(CONFIG_JFS_FS) += jfs.o\njfs-y := super.o \\\n\tinode.o\n\
                        jfs-$(CONFIG_JFS_POSIX_ACL) += acl.o\n";
        fs::write(dir.path().join("fs/jfs/Makefile"), makefile).unwrap();
        let message = |file: &str, config: &str| refusal(dir.path(), file, config).message;
        assert!(message("fs/jfs/inode.c", "").ends_with(": CONFIG_JFS_FS is off"));
        let acl = message("fs/jfs/acl.c", "CONFIG_JFS_FS=y\n# CONFIG_JFS_POSIX_ACL is not set\n");
        assert!(acl.ends_with(": CONFIG_JFS_POSIX_ACL is off"), "{acl}");
        assert!(message("fs/jfs/other.c", "CONFIG_JFS_FS=m\n").ends_with("this kernel"));
    }
}

//! Applies patches, in order, to the contents of the touched files. Bias: every line that a hunk
//! names must be there as it is named (no fuzz); only the place may have moved, and then it is
//! said. Nothing is written: the result is data.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::patch_file;
use crate::patch_file::FilePatch;
use crate::patch_file::Hunk;
use crate::patch_file::Patch;
use crate::patch_file::split_lines;

/// A touched file before and after all patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The user's file; empty if there is none.
    pub original: Vec<u8>,
    /// The same with all patches applied.
    pub patched: Vec<u8>,
    /// The patches bring the file.
    pub created: bool,
}

/// What applying gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The touched files of C, by path relative to the tree.
    pub files: BTreeMap<PathBuf, Touched>,
    /// The touched Makefiles, likewise.
    pub makefiles: BTreeMap<PathBuf, Touched>,
    /// What the user should know: hunks that were found elsewhere than they say.
    pub notes: Vec<String>,
}

/// Applies `patches` to the tree at `root`.
///
/// # Errors
/// [`Refusals`] with `PatchDoesNotApply` for each hunk that does not apply, at its line in the
/// patch file; I/O errors.
pub fn apply(root: &Path, patches: &[Patch]) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut refusals = Vec::new();
    for patch in patches {
        for file in &patch.files {
            let files = match patch_file::is_makefile(&file.path) {
                true => &mut applied.makefiles,
                false => &mut applied.files,
            };
            if !files.contains_key(&file.path) {
                let original = read_source(root, &file.path)?;
                if file.creates && original.is_none() && in_directory(root, &file.path) {
                    let (original, patched) = (Vec::new(), Vec::new());
                    let touched = Touched { original, patched, created: true };
                    files.insert(file.path.clone(), touched);
                } else if let Some(original) = original.filter(|_| !file.creates) {
                    let patched = original.clone();
                    let touched = Touched { original, patched, created: false };
                    files.insert(file.path.clone(), touched);
                } else {
                    refusals.push(misplaced(root, patch, file));
                    continue;
                }
            } else if file.creates {
                refusals.push(misplaced(root, patch, file));
                continue;
            }
            let Some(touched) = files.get_mut(&file.path) else { continue };
            match apply_file(&patch.name, file, &touched.patched, &mut applied.notes) {
                Ok(patched) => touched.patched = patched,
                Err(failed) => refusals.extend(failed),
            }
        }
    }
    Ok(Refusals::none_or(refusals, applied)?)
}

/// The file's content; `None` if there is no such file. Links are followed: they are read only.
fn read_source(root: &Path, path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(root.join(path)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("cannot read `{}`", root.join(path).display()))
        }
    }
}

/// Whether the tree has the directory that `path` is in.
fn in_directory(root: &Path, path: &Path) -> bool {
    path.parent().is_some_and(|directory| root.join(directory).is_dir())
}

/// A file that is to be changed and is not there, or is to be created and cannot be.
fn misplaced(root: &Path, patch: &Patch, file: &FilePatch) -> Refusal {
    let line = file.hunks.first().map_or(1, |hunk| hunk.line);
    let place = Place::file(&patch.name).line(line);
    let name = file.path.display();
    if file.creates && !in_directory(root, &file.path) {
        return Refusal::new(
            Code::AddsOrRemovesFile,
            place,
            format!("the patch adds `{name}` in a directory that the source tree does not have"),
            "put new files beside those of the same kernel object",
        );
    }
    let (message, hint) = match file.creates {
        true => {
            (format!("`{name}` is there already"), "the change seems to be in the source already")
        }
        false => (
            format!("the source tree has no file `{name}`"),
            "the patch must be for this kernel version, with paths as `patch -p1` takes them",
        ),
    };
    Refusal::new(Code::PatchDoesNotApply, place, message, hint)
}

fn apply_file(
    patch: &str,
    file: &FilePatch,
    text: &[u8],
    notes: &mut Vec<String>,
) -> Result<Vec<u8>, Vec<Refusal>> {
    let old = split_lines(text);
    let mut new: Vec<u8> = Vec::with_capacity(text.len() + 4096);
    // Lines of `old` that are already in `new`; how far the last hunk was from where it said.
    let mut done = 0;
    let mut moved: isize = 0;
    let mut refusals = Vec::new();
    for (index, hunk) in file.hunks.iter().enumerate() {
        let wanted = hunk.old_lines();
        // An insertion into an empty range names the line *before* it.
        let stated = if wanted.is_empty() { hunk.old_start } else { hunk.old_start.max(1) - 1 };
        let Some(at) = find(&old, &wanted, done, stated as isize + moved) else {
            refusals.push(does_not_apply(patch, file, index, &old));
            continue;
        };
        let offset = at as isize - stated as isize;
        if offset != 0 {
            notes.push(format!(
                "{patch}:{}: hunk {} of `{}` applies at line {} (offset {offset} lines)",
                hunk.line,
                index + 1,
                file.path.display(),
                at + 1,
            ));
        }
        moved = offset;
        old[done..at].iter().for_each(|line| new.extend_from_slice(line));
        hunk.new_lines().iter().for_each(|line| new.extend_from_slice(line));
        done = at + wanted.len();
    }
    old[done..].iter().for_each(|line| new.extend_from_slice(line));
    if refusals.is_empty() { Ok(new) } else { Err(refusals) }
}

/// Where in `old`, not before `from`, the lines `wanted` are; the place nearest to `near`.
fn find(old: &[&[u8]], wanted: &[&[u8]], from: usize, near: isize) -> Option<usize> {
    let last = old.len().checked_sub(wanted.len())?;
    if wanted.is_empty() {
        // Nothing to recognise the place by: only the stated one will do.
        return usize::try_from(near).ok().filter(|at| (from..=last).contains(at));
    }
    (from..=last)
        .filter(|at| old[*at..*at + wanted.len()] == *wanted)
        .min_by_key(|at| (*at as isize - near).unsigned_abs())
}

fn does_not_apply(patch: &str, file: &FilePatch, index: usize, old: &[&[u8]]) -> Refusal {
    let hunk = &file.hunks[index];
    let name = file.path.display();
    let new = hunk.new_lines();
    let hint = if !new.is_empty() && find(old, &new, 0, hunk.new_start as isize).is_some() {
        "the change seems to be in the source already"
    } else {
        "the patch must be made for exactly this source: every line that it names must be there"
    };
    let message = format!(
        "hunk {} of `{name}` does not apply at line {}{}",
        index + 1,
        hunk.old_start,
        first_difference(hunk, old)
    );
    Refusal::new(Code::PatchDoesNotApply, Place::file(patch).line(hunk.line), message, hint)
}

/// The first line that is not as the hunk says, if the hunk is looked for where it says.
fn first_difference(hunk: &Hunk, old: &[&[u8]]) -> String {
    let start = hunk.old_start.max(1) - 1;
    for (index, wanted) in hunk.old_lines().iter().enumerate() {
        let found = old.get(start + index).copied();
        if found != Some(wanted) {
            let show = |line: &[u8]| String::from_utf8_lossy(line).trim_end().to_owned();
            let found = found.map_or("the end of the file".to_owned(), |line| {
                format!("`{}`", show(line).trim_start())
            });
            let line = start + index + 1;
            return format!(
                "\n  line {line}: wanted `{}`, found {found}",
                show(wanted).trim_start()
            );
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, patches: &[&str]) -> Result<Applied> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("fs")).unwrap();
        fs::write(dir.path().join("fs/a.c"), text).unwrap();
        let parse = |text: &&str| patch_file::parse("t.patch", text.as_bytes()).unwrap();
        let patches: Vec<Patch> = patches.iter().map(parse).collect();
        let applied = apply(dir.path(), &patches);
        assert_eq!(fs::read_to_string(dir.path().join("fs/a.c")).unwrap(), text);
        applied
    }

    fn patched(applied: &Applied) -> &str {
        std::str::from_utf8(&applied.files[Path::new("fs/a.c")].patched).unwrap()
    }

    const FIRST: &str = "--- a/fs/a.c\n+++ b/fs/a.c\n@@ -1,3 +1,4 @@\n 1\n-2\n+two\n+more\n 3\n";
    const SECOND: &str = "--- a/fs/a.c\n+++ b/fs/a.c\n@@ -3,3 +3,3 @@\n more\n-3\n+three\n 4\n";

    #[test]
    fn applies_two_patches_to_one_file_in_order() {
        let applied = run("1\n2\n3\n4\n", &[FIRST, SECOND]).unwrap();
        assert_eq!(patched(&applied), "1\ntwo\nmore\nthree\n4\n");
        assert!(applied.notes.is_empty());
        let error = run("1\n2\n3\n4\n", &[SECOND, FIRST]).unwrap_err();
        assert_eq!(error.downcast::<Refusals>().unwrap().0.len(), 1);
    }

    #[test]
    fn says_offsets() {
        let applied = run("0\n0\n1\n2\n3\n4\n", &[FIRST]).unwrap();
        assert_eq!(patched(&applied), "0\n0\n1\ntwo\nmore\n3\n4\n");
        let note = "t.patch:3: hunk 1 of `fs/a.c` applies at line 3 (offset 2 lines)";
        assert_eq!(applied.notes, [note]);
    }

    #[test]
    fn refuses_fuzz_and_names_the_hunk() {
        let error = run("one\n2\n3\n", &[FIRST]).unwrap_err();
        let refusal = &error.downcast_ref::<Refusals>().unwrap().0[0];
        assert_eq!(refusal.code, Code::PatchDoesNotApply);
        assert_eq!(refusal.place, Place::file("t.patch").line(3));
        assert!(refusal.message.contains("hunk 1 of `fs/a.c`"), "{refusal}");
        assert!(refusal.message.contains("line 1: wanted `1`, found `one`"), "{refusal}");
    }

    #[test]
    fn recognises_what_is_already_there() {
        let error = run("1\ntwo\nmore\n3\n", &[FIRST]).unwrap_err();
        assert!(error.downcast_ref::<Refusals>().unwrap().0[0].hint.contains("already"));
    }

    #[test]
    fn refuses_a_missing_file() {
        let text = "--- a/fs/b.c\n+++ b/fs/b.c\n@@ -1 +1 @@\n-a\n+b\n";
        let error = run("1\n", &[text]).unwrap_err();
        assert!(error.to_string().contains("no file `fs/b.c`"));
    }

    #[test]
    fn creates_files_where_there_is_room() {
        let new = |path: &str| format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+new\n");
        let change = "--- a/fs/b.c\n+++ b/fs/b.c\n@@ -1 +1 @@\n-new\n+newer\n";
        let applied = run("1\n", &[&new("fs/b.c"), change]).unwrap();
        let file = &applied.files[Path::new("fs/b.c")];
        assert_eq!(
            (&*file.original, &*file.patched, file.created),
            (&b""[..], &b"newer\n"[..], true)
        );
        for (patches, code) in [
            (vec![new("fs/a.c")], Code::PatchDoesNotApply),
            (vec![new("fs/b.c"), new("fs/b.c")], Code::PatchDoesNotApply),
            (vec![new("mm/b.c")], Code::AddsOrRemovesFile),
        ] {
            let patches: Vec<&str> = patches.iter().map(String::as_str).collect();
            let Refusals(all) = run("1\n", &patches).unwrap_err().downcast().unwrap();
            assert_eq!(all.iter().map(|one| one.code).collect::<Vec<_>>(), [code]);
        }
    }

    #[test]
    fn keeps_a_last_line_without_newline() {
        let text = "--- a/fs/a.c\n+++ b/fs/a.c\n@@ -1,2 +1,2 @@\n-1\n+one\n 2\n\\ No newline\n";
        assert_eq!(patched(&run("1\n2", &[text]).unwrap()), "one\n2");
        assert!(run("1\n2\n", &[text]).is_err());
    }
}

//! Parses unified diffs (plain `diff -u`, `git diff`, `git format-patch` mails) as `patch -p1`
//! takes them, and refuses early what a livepatch cannot carry. Bias: a line that does not fit the
//! format is a refusal, never skipped inside a hunk; text between files is commentary.

use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// One patch file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The patch file's name, as the user gave it.
    pub name: String,
    /// Its changes, in order. A file may occur more than once.
    pub files: Vec<FilePatch>,
}

/// The changes to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePatch {
    /// Path relative to the source tree (the first component, `a/` or `b/`, is stripped).
    pub path: PathBuf,
    /// The file is not there before.
    pub creates: bool,
    /// The hunks, in order.
    pub hunks: Vec<Hunk>,
}

/// One hunk. Lines keep their line ends; a last line without one has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Line of the `@@` header in the patch file, from 1.
    pub line: u32,
    /// First line in the file before the change, from 1.
    pub old_start: usize,
    /// First line in the file after the change, from 1.
    pub new_start: usize,
    /// The lines, context and changes in order.
    pub lines: Vec<HunkLine>,
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HunkLine {
    /// In both versions.
    Context(Vec<u8>),
    /// Only in the old version.
    Removed(Vec<u8>),
    /// Only in the new version.
    Added(Vec<u8>),
}

impl Hunk {
    /// The lines that the hunk expects to find.
    pub fn old_lines(&self) -> Vec<&[u8]> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                HunkLine::Context(text) | HunkLine::Removed(text) => Some(text.as_slice()),
                HunkLine::Added(_) => None,
            })
            .collect()
    }

    /// The lines that the hunk leaves.
    pub fn new_lines(&self) -> Vec<&[u8]> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                HunkLine::Context(text) | HunkLine::Added(text) => Some(text.as_slice()),
                HunkLine::Removed(_) => None,
            })
            .collect()
    }
}

/// Parses the patch `text` and refuses what cannot be livepatched whatever the kernel.
///
/// # Errors
/// `PatchMalformed` for the first place that cannot be understood; otherwise all refusals by kind
/// of file: `TouchesAssembly`, `TouchesBuildFile`, `AddsOrRemovesFile`, `NotKernelText`, `TouchesRust`.
pub fn parse(name: &str, text: &[u8]) -> Result<Patch, Refusals> {
    let mut parser = Parser { name, lines: split_lines(text), at: 0, refusals: Vec::new() };
    let files = parser.files()?;
    if files.is_empty() && parser.refusals.is_empty() {
        return Err(parser.malformed(0, "no change found in it"));
    }
    let mut refusals = parser.refusals;
    let creates_code = files.iter().any(|file| file.creates && is_code(&file.path));
    for file in &files {
        let line = file.hunks.first().map_or(1, |hunk| hunk.line);
        // What its lines say is looked at when they are applied (`new_files`).
        let adds_objects = creates_code && !file.creates && is_makefile(&file.path);
        if !adds_objects {
            refusals.extend(refused_kind(&file.path, Place::file(name).line(line)));
        }
    }
    Refusals::none_or(refusals, Patch { name: name.to_owned(), files })
}

/// Whether `path` is a directory's own Makefile; the one at the top is none.
pub(crate) fn is_makefile(path: &Path) -> bool {
    let named = path.file_name().is_some_and(|name| name == "Makefile" || name == "Kbuild");
    named && path.parent().is_some_and(|directory| directory != Path::new(""))
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "c")
}

/// The lines of `text` with their line ends.
pub(crate) fn split_lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Whether files like `path` cannot be livepatched, by name alone.
fn refused_kind(path: &Path, place: Place) -> Option<Refusal> {
    /// Code that never becomes text of the running kernel. What a directory such as
    /// `arch/x86/entry/vdso` shares with the kernel is decided later, by the build's own commands.
    const NOT_KERNEL: [&str; 6] = [
        "arch/x86/boot",
        "arch/x86/realmode/rm",
        "arch/x86/purgatory",
        "drivers/firmware/efi/libstub",
        "lib/vdso",
        "arch/x86/entry/vdso/vdso32",
    ];
    let text = path.to_string_lossy();
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let extension = path.extension().map(|text| text.to_string_lossy()).unwrap_or_default();
    let refuse = |code, what: &str, hint| {
        Some(Refusal::new(code, place.clone(), format!("`{text}` is {what}"), hint))
    };
    let only_c = "a livepatch replaces C functions: change the callers in C instead";
    let build = ["Makefile.", "Kbuild.", "Kconfig"].iter().any(|start| name.starts_with(start));
    if build || matches!(&*name, "Makefile" | "Kbuild" | ".config") {
        refuse(Code::TouchesBuildFile, "part of the build system", only_c)
    } else if NOT_KERNEL.iter().any(|dir| path.starts_with(dir)) {
        let hint = "this code runs before or outside the kernel: it needs a new kernel";
        refuse(Code::NotKernelText, "not part of the running kernel's text", hint)
    } else if matches!(&*extension, "S" | "s") {
        refuse(Code::TouchesAssembly, "assembly code", only_c)
    } else if extension == "rs" {
        let hint = "Rust code has no ftrace entries that a livepatch could use";
        refuse(Code::TouchesRust, "Rust code", hint)
    } else if !matches!(&*extension, "c" | "h") {
        refuse(Code::FileNotBuilt, "not C source, so it is no code of this kernel", only_c)
    } else {
        None
    }
}

struct Parser<'a> {
    name: &'a str,
    lines: Vec<&'a [u8]>,
    at: usize,
    refusals: Vec<Refusal>,
}

impl Parser<'_> {
    fn malformed(&self, at: usize, what: impl Into<String>) -> Refusals {
        let place = Place::file(self.name).line(at as u32 + 1);
        let hint = "make the patch with `git diff` or `diff -Nurp a b`, to be applied with -p1";
        Refusal::new(Code::PatchMalformed, place, what, hint).into()
    }

    fn files(&mut self) -> Result<Vec<FilePatch>, Refusals> {
        let mut files = Vec::new();
        while self.at < self.lines.len() {
            let line = self.lines[self.at];
            let next = self.lines.get(self.at + 1);
            if line.starts_with(b"--- ") && next.is_some_and(|next| next.starts_with(b"+++ ")) {
                files.extend(self.file()?);
            } else if line.starts_with(b"@@ -") {
                return Err(self.malformed(self.at, "a hunk without a file header (`---`, `+++`)"));
            } else {
                self.extended_header(line);
                self.at += 1;
            }
        }
        Ok(files)
    }

    /// The headers by which git says more than a text change.
    fn extended_header(&mut self, line: &[u8]) {
        const HEADERS: [(&[u8], &str); 9] = [
            (b"new file mode 12", "adds a symbolic link"),
            (b"deleted file mode ", "removes a file"),
            (b"rename from ", "renames a file"),
            (b"copy from ", "copies a file"),
            (b"old mode ", "changes the mode of a file"),
            (b"GIT binary patch", "changes a binary file"),
            (b"Binary files ", "changes a binary file"),
            (b"Submodule ", "changes a submodule"),
            (b"similarity index 100%", "renames a file"),
        ];
        if let Some((_, what)) = HEADERS.iter().find(|(header, _)| line.starts_with(header)) {
            self.refuse_add_or_remove(what);
        }
    }

    fn refuse_add_or_remove(&mut self, what: &str) {
        let place = Place::file(self.name).line(self.at as u32 + 1);
        let message = format!("the patch {what}");
        let hint = "put new code into an existing file of the same kernel object";
        self.refusals.push(Refusal::new(Code::AddsOrRemovesFile, place, message, hint));
    }

    fn file(&mut self) -> Result<Option<FilePatch>, Refusals> {
        let header = self.at;
        let old = self.path(header)?;
        let new = self.path(header + 1)?;
        self.at += 2;
        let mut hunks = Vec::new();
        while self.lines.get(self.at).is_some_and(|line| line.starts_with(b"@@ -")) {
            hunks.push(self.hunk()?);
        }
        if hunks.is_empty() {
            return Err(self.malformed(header, "a file header without a hunk"));
        }
        // `diff -N` has no other sign of a file that is on one side only.
        let is_whole =
            |lines: fn(&Hunk) -> Vec<&[u8]>| matches!(&*hunks, [one] if lines(one).is_empty());
        let was_there = !is_epoch(self.lines[header]) || !is_whole(Hunk::old_lines);
        let is_there = !is_epoch(self.lines[header + 1]) || !is_whole(Hunk::new_lines);
        let (old, new) = (old.filter(|_| was_there), new.filter(|_| is_there));
        match (old, new) {
            (Some(path), Some(new)) if path == new => {
                Ok(Some(FilePatch { path, creates: false, hunks }))
            }
            (Some(old), Some(new)) => {
                let names = format!("`{}` and `{}`", old.display(), new.display());
                Err(self.malformed(header, format!("two different files: {names}")))
            }
            (None, Some(path)) => {
                let whole = hunks.len() == 1 && hunks[0].old_lines().is_empty();
                if !whole {
                    return Err(self.malformed(header, "a new file that is not made of one hunk"));
                }
                Ok(Some(FilePatch { path, creates: true, hunks }))
            }
            (_, None) => {
                let already = self.refusals.last().is_some_and(|refusal| {
                    let line = refusal.place.line.unwrap_or(0) as usize;
                    refusal.code == Code::AddsOrRemovesFile && line + 4 > header
                });
                if !already {
                    self.refuse_add_or_remove("removes a file");
                }
                Ok(None)
            }
        }
    }

    /// The path of a `---` or `+++` line; `None` for `/dev/null`.
    fn path(&self, at: usize) -> Result<Option<PathBuf>, Refusals> {
        let text = std::str::from_utf8(&self.lines[at][4..])
            .map_err(|_| self.malformed(at, "a file name that is not UTF-8"))?;
        let text = text.trim_end_matches(['\n', '\r']);
        // `diff -u` puts a time stamp behind a tab.
        let text = text.split('\t').next().unwrap_or(text).trim_end();
        if text == "/dev/null" {
            return Ok(None);
        }
        if text.starts_with('"') {
            return Err(self.malformed(at, format!("a quoted file name: {text}")));
        }
        let path = Path::new(text);
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(self.malformed(at, format!("a path that leaves the tree: `{text}`")));
        }
        let mut parts = path.components();
        let first = parts.next();
        let rest: PathBuf = parts.filter(|part| matches!(part, Component::Normal(_))).collect();
        if first.is_none() || rest.as_os_str().is_empty() {
            return Err(self.malformed(at, format!("no directory to strip from `{text}`")));
        }
        Ok(Some(rest))
    }

    fn hunk(&mut self) -> Result<Hunk, Refusals> {
        let header = self.at;
        let (old_start, mut old_left, new_start, mut new_left) = hunk_header(self.lines[header])
            .ok_or_else(|| self.malformed(header, "a hunk header that cannot be read"))?;
        self.at += 1;
        let mut lines: Vec<HunkLine> = Vec::new();
        while old_left > 0 || new_left > 0 {
            let Some(line) = self.lines.get(self.at).copied() else {
                return Err(self.malformed(header, "the hunk is cut off"));
            };
            let (kind, text) = match line.split_first() {
                // Mailers strip the blank of an empty context line.
                None | Some((b'\n', _)) => (b' ', line),
                Some((b'\r', b"\n")) => (b' ', line),
                Some((kind, text)) => (*kind, text),
            };
            let (old, new) = match kind {
                b' ' => (1, 1),
                b'-' => (1, 0),
                b'+' => (0, 1),
                b'\\' => {
                    self.no_newline(&mut lines)?;
                    continue;
                }
                _ => return Err(self.malformed(self.at, "not a line of a hunk")),
            };
            if old > old_left || new > new_left {
                return Err(self.malformed(self.at, "more lines than the hunk's header says"));
            }
            old_left -= old;
            new_left -= new;
            lines.push(match kind {
                b' ' => HunkLine::Context(text.to_vec()),
                b'-' => HunkLine::Removed(text.to_vec()),
                _ => HunkLine::Added(text.to_vec()),
            });
            self.at += 1;
        }
        if self.lines.get(self.at).is_some_and(|line| line.starts_with(b"\\ ")) {
            self.no_newline(&mut lines)?;
        }
        if lines.iter().all(|line| matches!(line, HunkLine::Context(_))) {
            return Err(self.malformed(header, "a hunk that changes nothing"));
        }
        Ok(Hunk { line: header as u32 + 1, old_start, new_start, lines })
    }

    /// `\ No newline at end of file` is about the line before it.
    fn no_newline(&mut self, lines: &mut [HunkLine]) -> Result<(), Refusals> {
        let Some(HunkLine::Context(text) | HunkLine::Removed(text) | HunkLine::Added(text)) =
            lines.last_mut()
        else {
            return Err(self.malformed(self.at, "`\\ No newline` without a line before it"));
        };
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        self.at += 1;
        Ok(())
    }
}

/// Whether a `---` or `+++` line has the beginning of time as its time stamp, in whatever time zone.
fn is_epoch(line: &[u8]) -> bool {
    let stamp = line.split(|byte| *byte == b'\t').nth(1).unwrap_or_default();
    stamp.starts_with(b"1970-01-01") || stamp.starts_with(b"1969-12-31")
}

/// `@@ -old[,count] +new[,count] @@`.
fn hunk_header(line: &[u8]) -> Option<(usize, usize, usize, usize)> {
    let text = std::str::from_utf8(line.get(..line.len().min(80))?)
        .or_else(|error| std::str::from_utf8(&line[..error.valid_up_to()]))
        .ok()?;
    let (old, rest) = text.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let range = |text: &str| -> Option<(usize, usize)> {
        match text.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    let (old_start, old_count) = range(old)?;
    let (new_start, new_count) = range(new)?;
    Some((old_start, old_count, new_start, new_count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        parse("t.patch", text.as_bytes()).unwrap_err().0[0].code
    }

    fn change(path: &str) -> String {
        format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-a\n+b\n")
    }

    #[test]
    fn reads_a_mail_and_its_signature() {
        let text = "From 1\nSubject: x\n---\n fs/a.c | 2 +-\n\ndiff --git a/fs/a.c b/fs/a.c\n\
                    index 1..2 100644\n--- a/fs/a.c\n+++ b/fs/a.c\n@@ -3,3 +3,4 @@ int f(void)\n \
                    x\n-y\n+-- \n+z\n\n-- \n2.39.2\n";
        let patch = parse("t.patch", text.as_bytes()).unwrap();
        assert_eq!(patch.files.len(), 1);
        let hunk = &patch.files[0].hunks[0];
        assert_eq!(patch.files[0].path, Path::new("fs/a.c"));
        assert_eq!((hunk.line, hunk.old_start, hunk.new_start), (10, 3, 3));
        assert_eq!(hunk.old_lines(), [&b"x\n"[..], b"y\n", b"\n"]);
        assert_eq!(hunk.new_lines(), [&b"x\n"[..], b"-- \n", b"z\n", b"\n"]);
    }

    #[test]
    fn reads_a_missing_newline() {
        let text = "--- a/fs/a.c\t2024-01-01\n+++ b/fs/a.c\t2024-01-02\n@@ -1 +1 @@\n-a\n\
                    \\ No newline at end of file\n+b\n\\ No newline at end of file\n";
        let patch = parse("t.patch", text.as_bytes()).unwrap();
        let hunk = &patch.files[0].hunks[0];
        assert_eq!((hunk.old_lines(), hunk.new_lines()), (vec![&b"a"[..]], vec![&b"b"[..]]));
    }

    #[test]
    fn refuses_by_kind_of_file() {
        for (path, expected) in [
            ("arch/x86/entry/entry_64.S", Code::TouchesAssembly),
            ("fs/Kconfig", Code::TouchesBuildFile),
            ("fs/proc/Makefile", Code::TouchesBuildFile),
            ("Kbuild", Code::TouchesBuildFile),
            ("scripts/Makefile.build", Code::TouchesBuildFile),
            ("arch/x86/boot/main.c", Code::NotKernelText),
            ("arch/x86/boot/boot.h", Code::NotKernelText),
            ("arch/x86/realmode/rm/wakemain.c", Code::NotKernelText),
            ("drivers/firmware/efi/libstub/file.c", Code::NotKernelText),
            ("rust/kernel/lib.rs", Code::TouchesRust),
            ("Documentation/x.rst", Code::FileNotBuilt),
        ] {
            assert_eq!(code(&change(path)), expected, "{path}");
        }
        assert!(parse("t", change("arch/x86/entry/vdso/vma.c").as_bytes()).is_ok());
    }

    #[test]
    fn names_every_refused_file() {
        let text = change("fs/Kconfig") + &change("fs/a.c") + &change("fs/b.rs");
        let refusals = parse("t.patch", text.as_bytes()).unwrap_err().0;
        assert_eq!(refusals.len(), 2);
        assert_eq!(refusals[1].place, Place::file("t.patch").line(13));
    }

    fn added(path: &str) -> String {
        format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n\
             @@ -0,0 +1 @@\n+a\n"
        )
    }

    #[test]
    fn reads_new_files_of_c_and_the_makefile_beside_them() {
        let text = added("fs/x.c") + &added("fs/x.h") + &change("fs/Makefile");
        let patch = parse("t", text.as_bytes()).unwrap();
        let files: Vec<_> = patch.files.iter().map(|f| (f.path.as_path(), f.creates)).collect();
        let at = |path| Path::new(path);
        assert_eq!(files, [(at("fs/x.c"), true), (at("fs/x.h"), true), (at("fs/Makefile"), false)]);
        // A header is no object, and these are no lists of objects.
        for other in [
            added("fs/x.h") + &change("fs/Makefile"),
            added("fs/x.c") + &added("fs/Makefile"),
            added("fs/x.c") + &change("fs/Kconfig"),
            added("x.c") + &change("Makefile"),
            added("scripts/x.c") + &change("scripts/Makefile.build"),
        ] {
            assert_eq!(code(&other), Code::TouchesBuildFile, "{other}");
        }
        // `diff -N`, somewhere east of Greenwich; and a file that is there, and empty.
        let stamped = |old: &str, new: &str, hunk: &str| {
            format!("--- a/fs/x.c\t{old}\n+++ b/fs/x.c\t{new}\n{hunk}")
        };
        let (epoch, now) = ("1970-01-01 01:00:00.000000000 +0100", "2024-05-01 09:00:00 +0100");
        let whole = "@@ -0,0 +1 @@\n+a\n";
        let creates = |text: String| parse("t", text.as_bytes()).unwrap().files[0].creates;
        assert!(creates(stamped(epoch, now, whole)));
        assert!(!creates(stamped(now, now, whole)));
        assert!(!creates(stamped(epoch, now, "@@ -1 +1 @@\n-a\n+b\n")));
        assert_eq!(code(&stamped(now, epoch, "@@ -1 +0,0 @@\n-a\n")), Code::AddsOrRemovesFile);
        let cut = "--- /dev/null\n+++ b/x.c\n@@ -0,0 +1 @@\n+a\n@@ -4,0 +5 @@\n+b\n";
        assert_eq!(code(cut), Code::PatchMalformed);
    }

    #[test]
    fn refuses_removed_and_renamed_files() {
        assert_eq!(code(&added("fs/x.S")), Code::TouchesAssembly);
        assert_eq!(code(&added("arch/x86/boot/x.c")), Code::NotKernelText);
        let link = added("fs/x.c").replace("100644", "120000");
        assert_eq!(code(&link), Code::AddsOrRemovesFile);
        assert_eq!(code("--- a/x.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"), Code::AddsOrRemovesFile);
        let renamed = "diff --git a/x.c b/y.c\nsimilarity index 100%\nrename from x.c\n";
        assert_eq!(code(renamed), Code::AddsOrRemovesFile);
        let mode = "diff --git a/x.c b/x.c\nold mode 100644\nnew mode 100755\n";
        assert_eq!(code(mode), Code::AddsOrRemovesFile);
    }

    #[test]
    fn refuses_what_it_cannot_understand() {
        for text in [
            "",
            "nothing here\n",
            "@@ -1 +1 @@\n-a\n+b\n",
            "--- a/x.c\n+++ b/x.c\n@@ -1,2 +1 @@\n-a\n+b\n",
            "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n*a\n+b\n",
            "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n a\n",
            "--- a/x.c\n+++ b/y.c\n@@ -1 +1 @@\n-a\n+b\n",
            "--- x.c\n+++ x.c\n@@ -1 +1 @@\n-a\n+b\n",
            "--- a/../x.c\n+++ b/../x.c\n@@ -1 +1 @@\n-a\n+b\n",
            "--- /etc/x.c\n+++ /etc/x.c\n@@ -1 +1 @@\n-a\n+b\n",
            "--- a/x.c\n+++ b/x.c\n",
        ] {
            assert_eq!(code(text), Code::PatchMalformed, "{text}");
        }
    }
}

//! Makes a command of ours of one that kbuild recorded. Bias: no argument is dropped; paths are
//! replaced wherever they occur, ours are added last among the flags.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::author_headers::AuthorHeaders;
use crate::cache::Cache;
use crate::cache::ContentKey;
use crate::compile_database::TranslationUnit;
use crate::prepare::Prepared;
use crate::toolchain;

/// Sections of their own let the differ cut a function out.
const OURS: [&str; 2] = ["-ffunction-sections", "-fdata-sections"];

/// A C file without content.
const NOTHING: [&str; 3] = ["-x", "c", "/dev/null"];

/// Messages are read by this tool.
const COLOURLESS: &str = "-fdiagnostics-color=never";

/// What is said of places in the source, and which numbers are lines, is known from debug information.
/// It changes no code, so a kernel built without it is compared with it.
const DEBUG: &str = "-g";

/// The debug option that `unit` lacks.
fn debug(unit: &TranslationUnit) -> Option<&'static str> {
    let has = unit.arguments.iter().any(|argument| argument.starts_with("-g"));
    (!has).then_some(DEBUG)
}

/// Debug information changes no code either, and here nobody reads it.
const NO_DEBUG: &str = "-g0";

/// One of the three compilations of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The user's source as kbuild would compile it: the code that should be found in what runs.
    Exact,
    /// The user's source, with a section for each function.
    Original,
    /// The source with the patches, likewise.
    Patched,
}

impl Side {
    /// All of them, the cached ones first.
    pub(super) const ALL: [Side; 3] = [Side::Exact, Side::Original, Side::Patched];

    /// The flags that the side is compiled with, behind those that kbuild recorded.
    fn flags(self, unit: &TranslationUnit) -> Vec<&'static str> {
        match self {
            Side::Exact => vec![COLOURLESS, NO_DEBUG],
            Side::Original | Side::Patched => {
                [&OURS[..], &[COLOURLESS]].concat().into_iter().chain(debug(unit)).collect()
            }
        }
    }

    /// The side's directory in the work directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Exact => "exact",
            Side::Original => "original",
            Side::Patched => "patched",
        }
    }
}

/// Where the cache keeps an object of `unit` that is compiled from the user's source.
pub(super) fn cached(
    cache: &Cache,
    prepared: &Prepared,
    headers: &AuthorHeaders,
    unit: &TranslationUnit,
    side: Side,
) -> Result<PathBuf> {
    let mut key = ContentKey::new("original object 3")
        .part(side.name())
        .part(&prepared.key)
        .part(&prepared.compiler.program)
        .part(&headers.key)
        .part(&unit.object);
    if unit.added {
        key = key.part("added");
    }
    for argument in unit.arguments.iter().map(String::as_str).chain(side.flags(unit)) {
        key = key.part(argument);
    }
    let name = key.name();
    let dir = cache.root().join("objects").join(&name[..2]);
    fs::create_dir_all(&dir)?;
    Ok(dir.join(format!("{name}.o")))
}

/// Where a unit is compiled, and by which words.
struct Replayed {
    command: Command,
    flags: Vec<String>,
    file: String,
    /// The source tree that is read.
    root: String,
    directory: String,
}

/// What was recorded for `unit`, with paths and outputs replaced: the source is read in `farm`, or in the
/// base farm if that is none.
fn replayed(
    unit: &TranslationUnit,
    prepared: &Prepared,
    farm: Option<&Path>,
    (out, depfile): (&Path, &Path),
) -> Result<Replayed> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
    let recorded = text(&prepared.source)?;
    let farm = farm.unwrap_or(&prepared.farm);
    let (root, directory) = (text(farm)?, prepared.directory(farm));
    let arguments = rewrite(&unit.arguments, &recorded, &root, &text(out)?, &text(depfile)?)?;
    let (compiler, rest) = arguments.split_first().context("an empty compiler command")?;
    let (file, flags) = rest.split_last().context("a compiler command without a file")?;
    let mut command = toolchain::command(compiler);
    command.current_dir(&directory);
    let (flags, file) = (flags.to_vec(), file.clone());
    Ok(Replayed { command, flags, file, root, directory: text(&directory)? })
}

/// The option by which compilers look for the headers of patch authors, last of all.
fn author_headers(headers: &AuthorHeaders) -> Result<String> {
    let directory = headers.directory.to_str().context("a path is not UTF-8")?;
    Ok(format!("-I{directory}"))
}

/// The command that compiles one side of `unit` to `object`, in `farm` instead of the base farm if given.
/// `headers` come last of all directories that the compiler looks into.
pub(super) fn command(
    (unit, side): (&TranslationUnit, Side),
    prepared: &Prepared,
    farm: Option<&Path>,
    headers: &AuthorHeaders,
    object: &Path,
    depfile: &Path,
) -> Result<Command> {
    let Replayed { mut command, flags, file, root, directory } =
        replayed(unit, prepared, farm, (object, depfile))?;
    command.args(flags).args(side.flags(unit));
    if side != Side::Exact {
        // Debug information is relative to the tree: the same wherever source and cache are.
        command.arg(format!("-fdebug-prefix-map={root}=."));
        command.arg(format!("-fdebug-prefix-map={directory}=."));
        command.arg(author_headers(headers)?);
    }
    match side {
        // What the kernel has of a file that the patch adds.
        Side::Exact | Side::Original if unit.added => command.args(NOTHING),
        Side::Exact | Side::Original | Side::Patched => command.arg(&file),
    };
    Ok(command)
}

/// The command that writes the preprocessed text of `unit`, without line markers, to `out`; paths as in
/// [`command`].
pub(super) fn preprocess(
    unit: &TranslationUnit,
    prepared: &Prepared,
    farm: Option<&Path>,
    headers: &AuthorHeaders,
    out: &Path,
    depfile: &Path,
) -> Result<Command> {
    let Replayed { mut command, flags, file, .. } = replayed(unit, prepared, farm, (out, depfile))?;
    command.args(flags.iter().map(|flag| if flag == "-c" { "-E" } else { flag }));
    command.args(["-P", COLOURLESS, &author_headers(headers)?, &file]);
    Ok(command)
}

/// The recorded arguments with the tree's path and the outputs replaced.
fn rewrite(
    arguments: &[String],
    base: &str,
    root: &str,
    object: &str,
    depfile: &str,
) -> Result<Vec<String>> {
    let mut rewritten: Vec<String> =
        arguments.iter().map(|argument| replace_path(argument, base, root)).collect();
    let output = arguments.iter().rposition(|argument| argument == "-o");
    let output = output.context("a compiler command without `-o`")?;
    *rewritten.get_mut(output + 1).context("a compiler command that ends with `-o`")? =
        object.to_owned();
    let mut depfiles = rewritten.iter_mut().filter(|argument| argument.starts_with("-Wp,-MMD,"));
    let argument = depfiles.next().context("a compiler command without a depfile")?;
    *argument = format!("-Wp,-MMD,{depfile}");
    Ok(rewritten)
}

/// `text` with the path `from` replaced by `to`, also as the beginning of a path; `/a/linux-old` does not
/// begin with `/a/linux`.
fn replace_path(text: &str, from: &str, to: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, found) = rest.split_at(at);
        let behind = &found[from.len()..];
        let goes_on = behind.starts_with(|c: char| c.is_alphanumeric() || "-_.+~@".contains(c));
        replaced.push_str(before);
        replaced.push_str(if goes_on { from } else { to });
        rest = behind;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_path_and_what_is_in_it() {
        let replace = |text: &str| replace_path(text, "/a/linux", "/f");
        assert_eq!(replace("-fmacro-prefix-map=/a/linux/="), "-fmacro-prefix-map=/f/=");
        assert_eq!(replace("-I/a/linux"), "-I/f");
        assert_eq!(replace("/a/linux/x:/a/linux/y"), "/f/x:/f/y");
        assert_eq!(replace("-I/a/linux-out/include -I/a/linux"), "-I/a/linux-out/include -I/f");
        assert_eq!(replace("-I./include"), "-I./include");
    }

    #[test]
    fn replaces_paths_and_outputs_everywhere() {
        let recorded = "gcc -Wp,-MMD,d/.a.o.d -I/t/base/include -fmacro-prefix-map=/t/base/= \
                        -include /t/base/x.h -c -o d/a.o /t/base/d/a.c";
        let recorded: Vec<String> = recorded.split(' ').map(str::to_owned).collect();
        let ours = rewrite(&recorded, "/t/base", "/t/slots/0", "/w/a.o", "/w/a.d").unwrap();
        let expected = "gcc -Wp,-MMD,/w/a.d -I/t/slots/0/include \
                        -fmacro-prefix-map=/t/slots/0/= -include /t/slots/0/x.h -c -o /w/a.o \
                        /t/slots/0/d/a.c";
        assert_eq!(ours.join(" "), expected);
        assert!(rewrite(&recorded[1..2], "b", "r", "o", "d").is_err());
    }
}

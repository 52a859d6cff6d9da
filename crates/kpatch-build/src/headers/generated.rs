//! Headers that the build makes from C (`asm-offsets.h`, `bounds.h`) or that its own programs read: neither
//! is made anew, so they must not change. kbuild's records in the object directory (`.NAME.cmd`) say how each
//! was made and what it read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::apply::Touched;
use crate::compile::Setting;
use crate::compile_database::shell;
use crate::farm::PatchedFarm;
use crate::toolchain;

/// One of kbuild's records.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    /// What was made, relative to the object directory.
    target: String,
    command: String,
    /// What was read, as paths of the command.
    read: Vec<String>,
}

/// Refuses what `touched` changes in generated headers and in the build's own programs.
///
/// # Errors
/// I/O errors.
pub(super) fn refusals(
    setting: &Setting<'_>,
    touched: &BTreeMap<PathBuf, Touched>,
    farm: &PatchedFarm,
) -> Result<Vec<Refusal>> {
    let base = setting.prepared.farm.to_str().context("a path is not UTF-8")?;
    let mut refusals = Vec::new();
    for record in records(&setting.prepared.objects)? {
        let names =
            record.read.iter().filter_map(|path| path.strip_prefix(base)?.strip_prefix('/'));
        let found: Vec<&str> = names.filter(|name| touched.contains_key(Path::new(name))).collect();
        let Some(file) = found.first() else { continue };
        let target = &record.target;
        if target.ends_with(".s") {
            if let Some(line) = difference(setting, &record, base, farm)? {
                refusals.push(Refusal::new(
                    Code::GeneratedChanged,
                    Place::file(*file),
                    format!("`{target}`, of which the build makes a header, would change: {line}"),
                    "assembly code and other files were built with these numbers: they must stay",
                ));
            }
        } else {
            refusals.push(Refusal::new(
                Code::TouchesHeader,
                Place::file(*file),
                format!("the build's own program `{target}` is made of it"),
                "a patch cannot change how the kernel is built; leave that part out",
            ));
        }
    }
    Ok(refusals)
}

/// The records of all that was made from files of the source.
fn records(objects: &Path) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    let mut open = vec![objects.to_owned()];
    while let Some(directory) = open.pop() {
        let context = || format!("cannot read `{}`", directory.display());
        for entry in fs::read_dir(&directory).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with(".cmd") {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                found.extend(record(&text));
            }
        }
    }
    found.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(found)
}

/// Reads a record as scripts/basic/fixdep.c writes it: `savedcmd_TARGET := …`, `source_TARGET := …`,
/// `deps_TARGET := \` and a line for each file.
fn record(text: &str) -> Option<Record> {
    let (first, rest) = text.split_once('\n')?;
    let (target, command) = first.strip_prefix("savedcmd_")?.split_once(" := ")?;
    // What kbuild generates for the kernel's own objects is compiled from the database.
    if target.ends_with(".o") && !target.starts_with("scripts/") && !target.contains("tools/") {
        return None;
    }
    let (_, rest) = rest.split_once("source_")?;
    let mut lines = rest.lines();
    let source = lines.next()?.split_once(" := ")?.1;
    let files = lines.skip_while(|line| !line.starts_with("deps_")).skip(1);
    let files = files.take_while(|line| line.starts_with(' '));
    let names = files.filter_map(|line| {
        let name = line.trim().trim_end_matches('\\').trim();
        (!name.starts_with('$')).then(|| name.to_owned())
    });
    let read = std::iter::once(source.to_owned()).chain(names).collect();
    Some(Record { target: target.to_owned(), command: command.to_owned(), read })
}

/// The first number that is another one on the patched side.
fn difference(
    setting: &Setting<'_>,
    record: &Record,
    base: &str,
    farm: &PatchedFarm,
) -> Result<Option<String>> {
    let patched = farm.root().to_str().context("a path is not UTF-8")?;
    let before = numbers(setting, record, (base, base), "original")?;
    let after = numbers(setting, record, (base, patched), "patched")?;
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(Some("it does not compile".to_owned()));
    };
    Ok(first_difference(&before, &after))
}

fn first_difference(before: &[String], after: &[String]) -> Option<String> {
    if let Some((old, new)) = before.iter().zip(after).find(|(old, new)| old != new) {
        return Some(format!("`{old}` becomes `{new}`"));
    }
    let longer = if before.len() > after.len() { before } else { after };
    longer.get(before.len().min(after.len())).map(|line| format!("`{line}` is on one side only"))
}

/// The numbers that the record's command writes, by the marks of include/linux/kbuild.h; `None` if it fails.
fn numbers(
    setting: &Setting<'_>,
    record: &Record,
    (base, root): (&str, &str),
    side: &str,
) -> Result<Option<Vec<String>>> {
    let is_compiler = |words: &[String]| {
        words.iter().any(|word| word == "-S") && words.iter().any(|word| word == "-o")
    };
    let words = shell::find_command(&record.command, is_compiler)
        .with_context(|| format!("no compiler command for `{}`", record.target))?;
    let out = setting.work.join("generated").join(side).join(record.target.replace('/', "-"));
    fs::create_dir_all(out.parent().unwrap_or(setting.work))?;
    let output = out.to_str().context("a path is not UTF-8")?;
    let mut words: Vec<String> = words.iter().map(|word| word.replace(base, root)).collect();
    for at in 0..words.len() {
        if words[at].starts_with("-Wp,-MMD,") {
            words[at] = format!("-Wp,-MMD,{output}.d");
        }
        if at > 0 && words[at - 1] == "-o" {
            words[at] = output.to_owned();
        }
    }
    let Some((compiler, arguments)) = words.split_first() else { return Ok(None) };
    let mut command = toolchain::command(compiler);
    command.current_dir(&setting.prepared.objects).args(arguments);
    if !setting.log.output(&mut command)?.status.success() {
        return Ok(None);
    }
    let text = fs::read_to_string(&out).with_context(|| format!("cannot read `{output}`"))?;
    Ok(Some(marked(&text)))
}

fn marked(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"->")?;
        let line = rest.split('"').next().unwrap_or_default().trim();
        // `#` alone is a comment, and a comment quotes the source.
        (!line.is_empty() && !line.starts_with('#')).then(|| line.to_owned())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_record() {
        let text = "savedcmd_k/b.s := gcc -S -o k/b.s /f/k/b.c\n\nsource_k/b.s := /f/k/b.c\n\n\
                    deps_k/b.s := \\\n    $(wildcard include/config/X) \\\n  /f/include/a.h \\\n  \
                    include/generated/b.h \\\n\nk/b.s: $(deps_k/b.s)\n\n$(deps_k/b.s):\n";
        let found = record(text).unwrap();
        assert_eq!(found.target, "k/b.s");
        assert_eq!(found.read, ["/f/k/b.c", "/f/include/a.h", "include/generated/b.h"]);
        assert!(record("savedcmd_x := cat\n").is_none());
        assert!(record("").is_none());
    }

    #[test]
    fn compares_numbers_by_name() {
        let old = marked("x\n\t.ascii \"->TASK_x $2944 offsetof(a, b)\"\n\t.ascii \"->#\"\n");
        assert_eq!(old, ["TASK_x $2944 offsetof(a, b)"]);
        let new = marked("\t.ascii \"->TASK_x $2952 offsetof(a, b)\"\n");
        assert!(first_difference(&old, &new).unwrap().contains("$2952"));
        assert_eq!(first_difference(&old, &old), None);
        assert!(first_difference(&old, &[]).unwrap().contains("one side"));
    }
}

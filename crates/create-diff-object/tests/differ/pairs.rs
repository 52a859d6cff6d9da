//! Pairs of real kernel objects with known answers, `../shared/unit-objs` beside the project: from several
//! kernels and compilers, most of them after objtool. The program is called as kpatch calls its own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use create_diff_object::normalize::record_sizes;
use kpatch_elf::ObjectFile;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::emitted;
use crate::emitted::Emitted;

/// How many pairs there are, so that none is left out unseen.
const PAIRS: usize = 23;

/// Where special sections have another size than kpatch makes them, and why.
const EXPLAINED: &[(&str, &str, u64, &str)] = &[
    ("fixup-section", ".altinstr_replacement", 30, "only what the entries refer to"),
    ("import-ns", ".modinfo", 0, "symbols of a namespace are left to livepatch"),
    ("special-static", ".data.unlikely", 2, "only what the function uses"),
    ("static-call-pr-1315", ".altinstructions", 192, "16 entries of 12 bytes; kpatch cuts by 13"),
    ("tracepoints-section", ".data.unlikely", 2, "only what the function uses"),
];

/// What a pair has to answer.
#[derive(Debug, Clone)]
struct Expected {
    name: String,
    code: i32,
    /// What `nm OUT.o | grep -ci ' t '` counts.
    text_symbols: Option<usize>,
    changed: BTreeSet<String>,
    new: BTreeSet<String>,
    /// Entries of `__mcount_loc`.
    calls: Option<u64>,
    /// Bytes of special sections.
    tables: BTreeMap<String, u64>,
    /// Section, offset and symbol of each relocation in code that kpatch leaves to the livepatch core.
    late: BTreeSet<(String, u64, String)>,
}

/// A test for each pair, left out where there is none.
pub(crate) fn trials(directory: &Path) -> Vec<Trial> {
    if !directory.join("expected.tsv").exists() {
        eprintln!("left out: pairs: no files");
        return vec![Trial::test("pairs::all", || Ok(())).with_ignored_flag(true)];
    }
    let all = match expected(directory) {
        Ok(all) if all.len() == PAIRS => all,
        Ok(all) => {
            let message = format!("{} pairs, expected {PAIRS}", all.len());
            return vec![Trial::test("pairs::all", move || Err(message.into()))];
        }
        Err(message) => return vec![Trial::test("pairs::all", move || Err(message.into()))],
    };
    let trial = |expected: Expected| {
        let directory = directory.to_owned();
        Trial::test(format!("pairs::{}", expected.name), move || pair(&directory, &expected))
    };
    all.into_iter().map(trial).collect()
}

fn rows(path: &Path) -> Result<Vec<Vec<String>>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
    Ok(text.lines().skip(1).map(cells).collect())
}

fn expected(directory: &Path) -> Result<Vec<Expected>, String> {
    let mut late: BTreeMap<String, BTreeSet<(String, u64, String)>> = BTreeMap::new();
    for row in rows(&directory.join("expected-klp.tsv"))? {
        let [pair, section, offset, _, symbol, ..] = row.as_slice() else {
            return Err(format!("{row:?}"));
        };
        let offset = u64::from_str_radix(offset.trim_start_matches("0x"), 16);
        let offset = offset.map_err(|e| format!("{row:?}: {e}"))?;
        if section.starts_with(".text.") {
            let place = (section.clone(), offset, symbol.clone());
            late.entry(pair.clone()).or_default().insert(place);
        }
    }
    let names = |cell: &str| cell.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    let mut all = Vec::new();
    for row in rows(&directory.join("expected.tsv"))? {
        let [name, _, code, count, changed, new, _, _, _, _, calls, tables] = row.as_slice() else {
            return Err(format!("{row:?}"));
        };
        let size = |text: &str| {
            let (section, size) = text.split_once('=')?;
            Some((section.to_owned(), size.parse().ok()?))
        };
        all.push(Expected {
            name: name.clone(),
            code: code.parse().map_err(|e| format!("{row:?}: {e}"))?,
            text_symbols: count.parse().ok(),
            changed: names(changed),
            new: names(new),
            calls: calls.parse().ok(),
            tables: tables.split_whitespace().filter_map(size).collect(),
            late: late.remove(name).unwrap_or_default(),
        });
    }
    Ok(all)
}

/// Variables of the pair's environment.
fn variables(directory: &Path, name: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for file in ["env.common".to_owned(), format!("{name}.env")] {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        let assignments = text.lines().filter_map(|line| line.trim().split_once('='));
        variables.extend(assignments.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    variables
}

fn pair(directory: &Path, expected: &Expected) -> Result<(), Failed> {
    let name = expected.name.as_str();
    let work = TempDir::new()?;
    let original = directory.join(format!("{name}.ORIG.o"));
    let patched =
        [".PATCHED.o", ".PATCHED.FAIL.o"].map(|end| directory.join(format!("{name}{end}")));
    let patched = patched.into_iter().find(|path| path.exists()).ok_or("no patched object")?;
    let table = Command::new("readelf").args(["-s", "--wide"]).arg(&original).output()?;
    let (symbols, output) = (work.path().join("symbols"), work.path().join("out.o"));
    fs::write(&symbols, table.stdout)?;

    let mut program = Command::new(env!("CARGO_BIN_EXE_create-diff-object"));
    for variable in record_sizes::VARIABLES {
        program.env_remove(variable);
    }
    program.envs(variables(directory, name));
    program.arg(&original).arg(&patched).arg("vmlinux").arg(&symbols).arg("/dev/null");
    let run = program.arg(format!("test_{name}")).arg(&output).output()?;
    let (told, complaints) = (String::from_utf8(run.stdout)?, String::from_utf8(run.stderr)?);
    if run.status.code() != Some(expected.code) {
        return Err(
            format!("{}, expected {}\n{told}{complaints}", run.status, expected.code).into()
        );
    }
    let functions = |what: &str| -> BTreeSet<String> {
        let start = format!("{name}.ORIG.o: {what} function: ");
        told.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
    };
    let found = (functions("changed"), functions("new"));
    let wanted = (expected.changed.clone(), expected.new.clone());
    if expected.code == 0 && found != wanted {
        return Err(format!("found {found:?}, expected {wanted:?}").into());
    }
    if output.exists() != (expected.code == 0) {
        return Err("written though there is nothing, or the other way round".into());
    }
    match expected.text_symbols {
        Some(count) => written(&output, count, expected, work.path()),
        None => Ok(()),
    }
}

fn written(
    path: &PathBuf,
    text_symbols: usize,
    expected: &Expected,
    work: &Path,
) -> Result<(), Failed> {
    let listed = String::from_utf8(Command::new("nm").arg(path).output()?.stdout)?;
    let text = listed.lines().filter(|line| line.contains(" t ") || line.contains(" T "));
    if text.clone().count() != text_symbols {
        let found = text.collect::<Vec<_>>();
        return Err(format!("text symbols {found:?}, expected {text_symbols}").into());
    }
    let object = kpatch_elf::read(&fs::read(path)?)?;
    emitted::is_sound(&object, work)?;
    let changed: Vec<String> = expected.changed.iter().cloned().collect();
    emitted::names_patched_functions(&object, &changed)?;
    let size = |name: &str| Emitted::new(&object).size_of(name);
    if expected.calls.is_some_and(|calls| calls * 8 != size("__mcount_loc")) {
        return Err(format!("__mcount_loc has {} bytes", size("__mcount_loc")).into());
    }
    for (section, bytes) in &expected.tables {
        let found = size(section);
        let explained = EXPLAINED.iter().any(|(name, known, better, _)| {
            (*name, *known, *better) == (&expected.name, section, found)
        });
        if found != *bytes && !explained {
            return Err(format!("{section} has {found} bytes, expected {bytes}").into());
        }
    }
    let late = late_relocations(&object);
    let missed: Vec<_> = expected.late.difference(&late).collect();
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("not left to livepatch: {missed:?}").into())
    }
}

/// Section, offset and symbol of the relocations of code that the livepatch core resolves.
fn late_relocations(object: &ObjectFile) -> BTreeSet<(String, u64, String)> {
    let placeholders: BTreeMap<_, _> = emitted::placeholder_table(object).into_iter().collect();
    let sections = object.sections.iter().filter(|section| section.name.starts_with(".text."));
    let places = sections.flat_map(|section| {
        section.relocations.iter().filter_map(|relocation| {
            let meant = placeholders.get(&relocation.symbol)?;
            Some((section.name.clone(), relocation.offset, meant.name.clone()))
        })
    });
    places.collect()
}

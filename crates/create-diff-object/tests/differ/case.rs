//! Reads the directives of a case. An unknown or misspelt one is an error: it would test nothing.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::compilers::Family;
use crate::compilers::Way;

/// A source with what is expected of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) source: PathBuf,
    pub(crate) changed: Vec<String>,
    pub(crate) new: Vec<String>,
    pub(crate) new_globals: Vec<String>,
    /// Code and symbol.
    pub(crate) refusals: Vec<(String, String)>,
    pub(crate) exported: Vec<String>,
    /// Module and name.
    pub(crate) modules: Vec<(String, String)>,
    pub(crate) placeholders: Option<Vec<String>>,
    pub(crate) references: Vec<WantedReference>,
    /// Section and size; `None` for any size but 0.
    pub(crate) sections: Vec<(String, Option<u64>)>,
    pub(crate) texts: Vec<(String, bool)>,
    /// Words of each warning.
    pub(crate) warnings: Vec<String>,
    pub(crate) runs: Vec<WantedRun>,
    /// What leads there, and what may still run when the patch is disabled. `None`: not asked for.
    pub(crate) outlives: Option<Vec<(String, String)>>,
    pub(crate) new_elsewhere: Vec<String>,
    /// Function or variable, and what its explanation has to say.
    pub(crate) explains: Vec<(String, String)>,
    pub(crate) flags: Vec<String>,
    pub(crate) patched_flags: Vec<String>,
    only: Vec<String>,
}

/// `refers` or `refers-not`.
#[derive(Debug, Clone)]
pub(crate) struct WantedReference {
    pub(crate) from: String,
    pub(crate) to: Referred,
    pub(crate) wanted: bool,
}

/// What a reference of the emitted object goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Referred {
    Placeholder(String),
    Plain(String),
    Here(String),
}

/// `run`.
#[derive(Debug, Clone)]
pub(crate) struct WantedRun {
    pub(crate) function: String,
    pub(crate) arguments: String,
    pub(crate) result: i64,
}

impl Case {
    /// Whether the case is to be compiled in that way.
    pub(crate) fn is_for(&self, way: &Way) -> bool {
        let names = [way.name, way.family.name()];
        self.only.is_empty() || self.only.iter().any(|name| names.contains(&name.as_str()))
    }
}

/// All cases by name, with what they expect of a compiler.
pub(crate) fn read_all(family: Family) -> Result<Vec<Case>, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|e| e == "c") {
            cases.push(read(&path, family).map_err(|e| format!("{}: {e}", path.display()))?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// The tables of `tests/README.md` name cases in their columns of that name.
pub(crate) fn those_in_the_readme_exist() -> Result<(), String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let text = fs::read_to_string(tests.join("README.md")).map_err(|e| e.to_string())?;
    let mut found = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let column = row.split('|').nth(2).unwrap_or_default();
        for case in column.split('`').skip(1).step_by(2) {
            if !tests.join("cases").join(case).with_extension("c").exists() {
                return Err(format!("no case `{case}`"));
            }
            found += 1;
        }
    }
    if found < 50 { Err(format!("only {found} cases are named")) } else { Ok(()) }
}

/// Directives of which a compiler's own replace the general ones: those that name all of something.
const ANSWERS: [&str; 5] = ["same", "changed", "new", "new-globals", "refuse"];
const PLACEHOLDERS: &str = "placeholders";

/// The directives that hold for a compiler. With the name of one before the key, a directive holds for
/// no other.
fn directives(text: &str, family: Family) -> Vec<(&str, &str)> {
    let all = text.lines().filter_map(|line| {
        let directive = line.trim().strip_prefix("//@")?;
        let (key, value) = directive.split_once(':').unwrap_or((directive, ""));
        Some((key.trim(), value.trim()))
    });
    let (mut own, mut general): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (key, value) in all {
        let compiler = key.split_once('-').and_then(|(name, key)| Some((Family::of(name)?, key)));
        match compiler {
            Some((of, key)) if of == family => own.push((key, value)),
            Some(_) => {}
            None => general.push((key, value)),
        }
    }
    let has = |keys: &[&str]| own.iter().any(|(key, _)| keys.contains(key));
    let (answers, placeholders) = (has(&ANSWERS), has(&[PLACEHOLDERS]));
    general.retain(|(key, _)| {
        !(answers && ANSWERS.contains(key) || placeholders && *key == PLACEHOLDERS)
    });
    general.extend(own);
    general
}

fn read(path: &Path, family: Family) -> Result<Case, String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let mut case = Case {
        name: path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_"),
        source: path.to_owned(),
        ..Case::default()
    };
    let mut answers = 0;
    for (key, value) in directives(&text, family) {
        let words = || value.split_whitespace().map(str::to_owned);
        answers += usize::from(ANSWERS.contains(&key));
        match key {
            "same" => {}
            "changed" => case.changed.extend(words()),
            "new" => case.new.extend(words()),
            "new-globals" => case.new_globals.extend(words()),
            "refuse" => {
                let (code, symbol) = value.split_once(' ').ok_or("`refuse` without symbol")?;
                let symbol = if symbol.trim() == "*" { "" } else { symbol.trim() };
                case.refusals.push((code.to_owned(), symbol.to_owned()));
            }
            "exported" => case.exported.extend(words()),
            "module" => {
                let module = words().next().ok_or("`module` without name")?;
                case.modules.extend(words().skip(1).map(|name| (module.clone(), name)));
            }
            PLACEHOLDERS => case.placeholders.get_or_insert_default().extend(words()),
            "refers" | "refers-not" => {
                let (from, to) = value.split_once("->").ok_or("`refers` without `->`")?;
                let wanted = key == "refers";
                case.references.push(WantedReference {
                    from: from.trim().to_owned(),
                    to: referred(to)?,
                    wanted,
                });
            }
            "holds" => {
                let (section, size) = value.split_once(' ').ok_or("`holds` without size")?;
                let size = match size.trim() {
                    "*" => None,
                    number => Some(number.parse().map_err(|_| format!("`{number}` bytes"))?),
                };
                case.sections.push((section.to_owned(), size));
            }
            "lacks" => case.sections.extend(words().map(|section| (section, Some(0)))),
            "text" => case.texts.push((value.to_owned(), true)),
            "no-text" => case.texts.push((value.to_owned(), false)),
            "warns" => case.warnings.push(value.to_owned()),
            "explains" => {
                let (name, text) = value.split_once(':').ok_or("`explains` without `:`")?;
                case.explains.push((name.trim().to_owned(), text.trim().to_owned()));
            }
            "run" => case.runs.push(run(value)?),
            "outlives" => {
                let all = case.outlives.get_or_insert_default();
                if value != "none" {
                    let (from, to) = value.split_once("->").ok_or("`outlives` without `->`")?;
                    all.push((from.trim().to_owned(), to.trim().to_owned()));
                    all.sort();
                }
            }
            "new-elsewhere" => case.new_elsewhere.extend(words()),
            "flags" => case.flags.extend(words()),
            "patched-flags" => case.patched_flags.extend(words()),
            "only" => case.only.extend(words()),
            _ => return Err(format!("unknown directive `{key}`")),
        }
    }
    if answers == 0 {
        return Err("the case expects nothing".into());
    }
    for list in [&mut case.changed, &mut case.new, &mut case.new_globals] {
        list.sort();
    }
    case.refusals.sort();
    Ok(case)
}

fn referred(text: &str) -> Result<Referred, String> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["klp", name] => Ok(Referred::Placeholder(name.to_owned())),
        ["plain", name] => Ok(Referred::Plain(name.to_owned())),
        [name] => Ok(Referred::Here(name.to_owned())),
        _ => Err(format!("`{text}` is no target")),
    }
}

fn run(text: &str) -> Result<WantedRun, String> {
    let parse = || {
        let (call, result) = text.rsplit_once('=')?;
        let (function, arguments) = call.trim().strip_suffix(')')?.split_once('(')?;
        Some(WantedRun {
            function: function.trim().to_owned(),
            arguments: arguments.to_owned(),
            result: result.trim().parse().ok()?,
        })
    };
    parse().ok_or_else(|| format!("`{text}` is not `f(arguments) = result`"))
}

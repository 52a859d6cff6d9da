//! Compares the differ's answer with what a case expects.

use create_diff_object::Difference;
use create_diff_object::compare_objects;
use create_diff_object::notices::Notice;
use create_diff_object::outlive::Outliving;
use kpatch_refusal::Refusals;
use libtest_mimic::Failed;

use crate::case::Case;
use crate::compile::Pair;
use crate::emitted;
use crate::emitted::Emitted;
use crate::explained;
use crate::kernel::Kernel;
use crate::run;

/// What the compared object is called.
const NAME: &str = "case.o";

/// What compilers append to the name of a function.
const SUFFIXES: [&str; 6] = ["cold", "constprop", "isra", "llvm", "localalias", "part"];

/// The name without the numbers that compilers append, and a static variable's without the function
/// that clang puts before it.
pub(crate) fn plain(name: &str) -> String {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = name.split('.').filter(|part| !is_number(part)).collect();
    match parts[..] {
        ["__func__", _] => "__func__".to_owned(),
        [function, variable] if !function.is_empty() && !SUFFIXES.contains(&variable) => {
            variable.to_owned()
        }
        _ => parts.join("."),
    }
}

fn plain_all(names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    names.sort();
    names
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, expected {wanted:?}")) }
}

/// An object differs from itself in nothing.
pub(crate) fn no_change_to_itself(pair: &Pair) -> Result<(), Failed> {
    for object in [&pair.original, &pair.patched] {
        let difference = compare_objects(NAME, object, object)
            .map_err(|e| format!("an object against itself is refused: {e}"))?;
        same("changed to itself", difference.changed_functions(), vec![])?;
        same("new to itself", difference.new_functions(), vec![])?;
        same("empty against itself", difference.is_empty(), true)?;
    }
    Ok(())
}

/// The answer to a case.
pub(crate) fn answer(case: &Case, pair: &Pair) -> Result<(), Failed> {
    explained::as_expected(case, pair)?;
    let difference = match compare_objects(NAME, &pair.original, &pair.patched) {
        Ok(difference) => difference,
        Err(refusals) => return Ok(refused(case, refusals)?),
    };
    if case.refusals.is_empty() {
        same("changed", plain_all(&difference.changed_functions()), case.changed.clone())?;
        same("new", plain_all(&difference.new_functions()), case.new.clone())?;
        same("new globals", plain_all(&difference.new_globals()), case.new_globals.clone())?;
        let nothing = [&case.changed, &case.new, &case.new_globals].iter().all(|l| l.is_empty());
        same("empty", difference.is_empty(), nothing)?;
        if let Some(wanted) = &case.outlives {
            same("outlives", &outliving(case, &difference), wanted)?;
        }
    }
    let kernel = Kernel { case, original: &pair.original };
    let object = match difference.emit(&kernel) {
        Ok(emitted) => {
            warned(case, &difference, &emitted.notices)?;
            emitted.object
        }
        Err(refusals) => return Ok(refused(case, refusals)?),
    };
    if !case.refusals.is_empty() {
        return Err(format!("nothing is refused, expected {:?}", case.refusals).into());
    }
    same("a second time", again(pair, &kernel)?, bytes(&object)?)?;
    emitted::is_sound(&object, pair.directory.path())?;
    emitted::names_patched_functions(&object, &functions(&difference))?;
    emitted_as_expected(case, &Emitted::new(&object))?;
    Ok(run::calls(case, pair, &object)?)
}

/// Each warning has been expected, and the other way round.
fn warned(case: &Case, difference: &Difference<'_>, emitted: &[Notice]) -> Result<(), String> {
    if case.warnings.is_empty() {
        return Ok(());
    }
    let notices = difference.notices();
    let found: Vec<String> = notices.iter().chain(emitted).map(Notice::to_string).collect();
    let said = |wanted: &String| found.iter().any(|notice| notice.contains(wanted.as_str()));
    let all = case.warnings.iter().all(said) && found.len() == case.warnings.len();
    if all { Ok(()) } else { Err(format!("warned {found:?}, expected {:?}", case.warnings)) }
}

fn refused(case: &Case, Refusals(refusals): Refusals) -> Result<(), String> {
    let mut found: Vec<(String, String)> = refusals
        .iter()
        .map(|r| (r.code.to_string(), plain(r.place.symbol.as_deref().unwrap_or_default())))
        .collect();
    found.sort();
    same("refused", &found, &case.refusals)
        .map_err(|message| format!("{message}\n{}", Refusals(refusals)))
}

/// What may still run when the patch is disabled, with what leads there.
fn outliving(case: &Case, difference: &Difference<'_>) -> Vec<(String, String)> {
    let found = difference.outliving(&|name| case.new_elsewhere.iter().any(|new| new == name));
    let pair = |found: &Outliving| {
        (plain(found.place.symbol.as_deref().unwrap_or("*")), plain(&found.function))
    };
    let mut pairs: Vec<(String, String)> = found.iter().map(pair).collect();
    pairs.sort();
    pairs
}

fn functions(difference: &Difference<'_>) -> Vec<String> {
    difference.changed_functions().into_iter().map(str::to_owned).collect()
}

fn bytes(object: &kpatch_elf::ObjectFile) -> Result<Vec<u8>, String> {
    kpatch_elf::write(object).map_err(|e| format!("{e:#}"))
}

/// The bytes of a second run over the same objects.
fn again(pair: &Pair, kernel: &Kernel<'_>) -> Result<Vec<u8>, String> {
    let difference =
        compare_objects(NAME, &pair.original, &pair.patched).map_err(|e| e.to_string())?;
    bytes(&difference.emit(kernel).map_err(|e| e.to_string())?.object)
}

fn emitted_as_expected(case: &Case, emitted: &Emitted<'_>) -> Result<(), String> {
    if let Some(wanted) = &case.placeholders {
        let mut wanted = wanted.clone();
        wanted.sort();
        same("placeholders", emitted.placeholders(), wanted)?;
    }
    for wanted in &case.references {
        let found = emitted.references_of(&wanted.from)?;
        if found.contains(&wanted.to) != wanted.wanted {
            let not = if wanted.wanted { "does not refer" } else { "refers" };
            return Err(format!("`{}` {not} to {:?}; it has {found:?}", wanted.from, wanted.to));
        }
    }
    for (section, size) in &case.sections {
        let found = emitted.size_of(section);
        match size {
            Some(size) => same(section, found, *size)?,
            None if found == 0 => return Err(format!("no section `{section}`")),
            None => {}
        }
    }
    for (text, wanted) in &case.texts {
        same(&format!("text `{text}`"), emitted.has_text(text), *wanted)?;
    }
    Ok(())
}

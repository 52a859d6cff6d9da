//! What is said of each change: of every case that it is whole, and what a case itself wants to read.

use create_diff_object::examine_objects;
use create_diff_object::explain::report::Change;
use create_diff_object::explain::report::Class;
use create_diff_object::explain::report::ObjectReport;
use create_diff_object::explain::report::Outcome;
use create_diff_object::explain::report::Report;

use crate::case::Case;
use crate::compile::Pair;

/// How the object is called in explanations.
const NAME: &str = "case.o";

pub(crate) fn as_expected(case: &Case, pair: &Pair) -> Result<(), String> {
    let Ok(examined) = examine_objects(NAME, &pair.original, &pair.patched) else {
        return match case.explains.is_empty() {
            true => Ok(()),
            false => Err("nothing is compared, so nothing explained".into()),
        };
    };
    let object = examined.difference.explain();
    for change in object.changed.iter().chain(&object.changed_data) {
        let has_lines = case.flags.iter().all(|flag| flag != "-g0");
        is_whole(change, has_lines)
            .map_err(|error| format!("explanation: {error} in {change:#?}"))?;
    }
    if object.changed.len() != examined.difference.changed_functions().len() {
        return Err(format!("not everything is explained: {object:#?}"));
    }
    for (name, words) in &case.explains {
        let text = text_of(&object, name);
        if !text.lines().any(|line| line.contains(words.as_str())) {
            return Err(format!("no line of `{name}` says `{words}`:\n{text}"));
        }
    }
    reads_back(object)
}

/// Whether a change has everything that its class promises, and the source lines if the objects tell.
fn is_whole(change: &Change, has_lines: bool) -> Result<(), &'static str> {
    if change.summary.is_empty() || change.name.is_empty() || change.original_name.is_empty() {
        return Err("something is not named");
    }
    let excerpts = [&change.original, &change.patched];
    for excerpt in excerpts.into_iter().flatten() {
        let marked = excerpt.code.iter().filter(|code| code.differs).count();
        if !excerpt.code.is_empty() && marked != 1 {
            return Err("not one instruction is marked");
        }
        if excerpt.code.iter().any(|code| code.text.is_empty()) {
            return Err("an instruction has no text");
        }
        let no_line = excerpt.code.iter().all(|code| code.source.is_none());
        if has_lines && !excerpt.code.is_empty() && no_line {
            return Err("no instruction has a source line");
        }
    }
    let nothing = change.original.is_none() && change.patched.is_none();
    if nothing && change.class != Class::SpecialSection {
        return Err("neither side is shown");
    }
    Ok(())
}

/// The explanation of one function or variable: class and summary, then what is shown of both sides.
fn text_of(object: &ObjectReport, name: &str) -> String {
    let plain =
        |change: &&Change| change.name == name || change.name.split('.').next() == Some(name);
    let change = object.changed.iter().chain(&object.changed_data).find(plain);
    let Some(change) = change else { return String::new() };
    let only = ObjectReport {
        changed: vec![change.clone()],
        new: Vec::new(),
        changed_data: Vec::new(),
        ..object.clone()
    };
    format!("{}: {}\n{}", change.class.name(), change.summary, only.text())
}

/// The JSON document has the fields that are documented, and is read back as what was written.
fn reads_back(object: ObjectReport) -> Result<(), String> {
    let report = Report { objects: vec![object], ..Report::new(Outcome::Changed) };
    let text = report.to_json();
    let read: Report = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if read != report {
        return Err(format!("read back as another report:\n{text}"));
    }
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let fields = ["schema_version", "outcome", "objects", "refusals", "notices", "pins", "output"];
    let absent = fields.iter().find(|field| value.get(field).is_none());
    absent.map_or(Ok(()), |field| Err(format!("`{field}` is not there:\n{text}")))
}

//! The form for people: a few lines per function.

use std::fmt::Write;

use super::report::Change;
use super::report::Excerpt;
use super::report::ObjectReport;
use super::report::Source;

impl ObjectReport {
    /// Whether nothing is said of the object.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.new.is_empty() && self.changed_data.is_empty()
    }

    /// The explanations of an object, one block per function and variable.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (what, changes) in [("function", &self.changed), ("data", &self.changed_data)] {
            for change in changes {
                block(&mut text, &self.object, what, change);
            }
        }
        text
    }
}

fn block(text: &mut String, object: &str, what: &str, change: &Change) {
    let Change { name, original_name, class, summary, original, patched } = change;
    // Writing to a string does not fail.
    let _ = writeln!(text, "{object}: why {what} {name} is changed: {}", class.name());
    if name != original_name {
        let _ = writeln!(text, "  it was called {original_name}");
    }
    let _ = writeln!(text, "  {summary}");
    for (side, excerpt) in [("original", original), ("patched", patched)] {
        if let Some(excerpt) = excerpt {
            excerpt_block(text, side, excerpt);
        }
    }
}

fn excerpt_block(text: &mut String, side: &str, excerpt: &Excerpt) {
    let Excerpt { symbol, offset, source, code, bytes } = excerpt;
    let place = super::syntax::with_offset(symbol, *offset);
    let source = source.as_ref().map_or(String::new(), |source| format!(", {source}"));
    let _ = writeln!(text, "  {side}: {place}{source}");
    let mut last: Option<&Source> = None;
    for instruction in code {
        let mark = if instruction.differs { '>' } else { ' ' };
        let offset = super::syntax::with_offset("", instruction.offset);
        let offset = if offset.is_empty() { "+0x0" } else { &offset };
        let source = instruction.source.as_ref().filter(|source| last != Some(*source));
        let comment = source.map_or(String::new(), |source| format!("  # {source}"));
        last = instruction.source.as_ref();
        let _ = writeln!(text, "  {mark} {offset:>7}  {}{comment}", instruction.text);
    }
    if !bytes.is_empty() {
        let _ = writeln!(text, "  >          {bytes}");
    }
}

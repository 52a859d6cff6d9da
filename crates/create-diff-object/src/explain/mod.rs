//! Says why something counts as changed, for people who have to trust the answer: the first difference
//! of each pair, both sides disassembled around it, where it is in the source, and what kind of reason
//! it is.
//!
//! [`code`] prints instructions in the [`syntax`] of objdump, [`reason`] finds the place and names the
//! kind, [`report`] is the form that programs read, [`text`] the one for people.
//!
//! Bias: nothing here decides anything. What is said comes from what the comparison found.

mod code;
pub mod details;
mod excerpt;
mod reason;
pub mod report;
pub mod syntax;
pub mod text;

use crate::Difference;
use crate::lines::Inlined;
use crate::lines::Lines;
use crate::lines::Rows;
use crate::normalize::atoms::AtomId;
use crate::normalize::side::Side;

use report::Change;
use report::NewFunction;
use report::ObjectReport;
use report::Source;

/// One side with its debug information.
struct Explained<'a> {
    side: &'a Side<'a>,
    rows: Rows,
    inlined: Inlined,
    lines: Lines,
}

impl<'a> Explained<'a> {
    fn new(side: &'a Side<'a>) -> Self {
        let object = side.object;
        Explained {
            side,
            rows: Rows::read(object),
            inlined: Inlined::read(object),
            lines: Lines::read(object),
        }
    }

    /// Where a named piece is declared.
    fn declared(&self, id: AtomId) -> Option<Source> {
        let symbol = self.side.atoms[id].symbols.first()?;
        let (file, line) = self.lines.of_symbol(self.side.object, *symbol)?;
        Some(Source { file, line })
    }
}

impl Difference<'_> {
    /// Why each changed function and each changed variable is that. Reads the debug information of
    /// both objects.
    pub fn explain(&self) -> ObjectReport {
        let original = Explained::new(&self.original);
        let patched = Explained::new(&self.patched);
        let pair = reason::Pair { original: &original, patched: &patched };
        let changes = |found: &std::collections::BTreeMap<AtomId, crate::compare::Reason>| {
            let found = found.iter().filter_map(|(id, reason)| {
                let old = self.correlation.original_of(*id)?;
                Some(pair.change(&self.correlation, (old, *id), reason))
            });
            let mut changes: Vec<Change> = found.collect();
            changes.sort_by(|a, b| a.name.cmp(&b.name));
            changes
        };
        let new = self.selection.new_functions.iter();
        let new = new.filter(|id| !self.selection.copied.contains_key(id)).map(|id| NewFunction {
            name: self.patched.name(*id).to_owned(),
            source: patched.declared(*id),
        });
        let mut new: Vec<NewFunction> = new.collect();
        new.sort_by(|a, b| a.name.cmp(&b.name));
        ObjectReport {
            object: self.name.to_owned(),
            patches: None,
            changed: changes(&self.selection.changed),
            new,
            changed_data: changes(&self.selection.changed_data),
        }
    }
}

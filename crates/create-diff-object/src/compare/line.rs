//! Tells line numbers from other numbers: `__LINE__` is in the arguments of messages and in data beside
//! them, and moves with every line above it. Without a change of what the code does, nobody wants it in
//! a patch.
//!
//! Bias: a number counts as a line only on evidence: it is the line of its own instruction by the debug
//! information of both objects, or near it and stands behind the name of its function; a function is
//! called that is known to take a line; the argument before is the name of a source file. What could be
//! a line is not one for that.

use std::cell::OnceCell;

use super::callee;
use super::callee::Use;
use super::code::Steps;

use crate::lines::rows::Rows;
use crate::normalize::atoms::AtomId;
use crate::normalize::sections;
use crate::normalize::side::Side;

/// Farthest that `__LINE__` is behind the line of its statement: to clang, a macro call of several lines is
/// where it ends.
const LONGEST_STATEMENT: u64 = 32;

/// The largest number that counts as a line.
const LAST_LINE: u64 = 1 << 18;

/// What is known of the lines of two objects.
#[derive(Debug)]
pub(super) struct LineNumbers<'a> {
    original: &'a Side<'a>,
    patched: &'a Side<'a>,
    /// Rows of both, read when a number first differs.
    rows: OnceCell<(Rows, Rows)>,
}

impl<'a> LineNumbers<'a> {
    pub(super) fn new(original: &'a Side<'a>, patched: &'a Side<'a>) -> Self {
        LineNumbers { original, patched, rows: OnceCell::new() }
    }

    /// Whether two values of an immediate operand, in the instruction of that index, are line numbers.
    pub(super) fn is_line(
        &self,
        (o, old): (&Steps<'_>, u64),
        (p, new): (&Steps<'_>, u64),
        index: usize,
    ) -> bool {
        if !(1..LAST_LINE).contains(&old) || !(1..LAST_LINE).contains(&new) {
            return false;
        }
        let used = callee::use_of(o, index).min(callee::use_of(p, index));
        match self.behind_row((o, old), (p, new), index) {
            _ if used == Use::Line => true,
            Some(behind) if used == Use::BesideFunction => behind <= LONGEST_STATEMENT,
            // A number that is near its line may be any.
            Some(behind) => behind == 0,
            None => false,
        }
    }

    /// How far both values are behind the line of their instruction, if equally far in one file.
    fn behind_row(
        &self,
        (o, old): (&Steps<'_>, u64),
        (p, new): (&Steps<'_>, u64),
        index: usize,
    ) -> Option<u64> {
        let read = || (Rows::read(self.original.object), Rows::read(self.patched.object));
        let (o_rows, p_rows) = self.rows.get_or_init(read);
        let at = |steps: &Steps<'_>| {
            Some((steps.side.atoms[steps.atom].section, steps.list.get(index)?.start))
        };
        let a = at(o).and_then(|(section, offset)| o_rows.at(section, offset))?;
        let b = at(p).and_then(|(section, offset)| p_rows.at(section, offset))?;
        let behind = old.checked_sub(u64::from(a.line))?;
        let same = file_name(a.file) == file_name(b.file)
            && new.checked_sub(u64::from(b.line)) == Some(behind);
        same.then_some(behind)
    }

    /// Whether two pieces of data of one size differ in nothing but a field that holds a line.
    pub(super) fn is_all_that_differs(
        &self,
        (o, old): (AtomId, &[u8]),
        (p, new): (AtomId, &[u8]),
    ) -> bool {
        let sections = (self.original.section(o), self.patched.section(p));
        let fields = [sections.0, sections.1].map(|section| sections::line_field(&section.name));
        let [Some((field, mask)), other] = fields.clone() else { return false };
        // clang calls other data as it calls descriptions of checks; those begin with a file.
        let is_location =
            |side: &Side<'_>, atom| match sections::is_location(&side.section(atom).name) {
                true => names_file(side, atom),
                false => true,
            };
        if !is_location(self.original, o) || !is_location(self.patched, p) {
            return false;
        }
        let without = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for (at, mask) in field.clone().zip(mask.to_le_bytes()) {
                bytes.get_mut(at).into_iter().for_each(|byte| *byte &= !mask);
            }
            bytes
        };
        fields[0] == other && without(old) == without(new)
    }
}

/// Whether data begins with a pointer to the name of a source file.
fn names_file(side: &Side<'_>, atom: AtomId) -> bool {
    let start = side.atoms[atom].start;
    let first = side.references(atom).first().filter(|reference| reference.offset == start);
    first.and_then(|reference| callee::text(side, reference)).is_some_and(callee::is_source_file)
}

/// Whether two texts are equal but for the lines in places of the source that they name
/// (`fs/dcache.c:1234`): `FILE_LINE` of `include/linux/stringify.h`, in the messages of FORTIFY_SOURCE.
pub(super) fn is_same_text(original: &[u8], patched: &[u8]) -> bool {
    original == patched || without_lines(original) == without_lines(patched)
}

fn without_lines(text: &[u8]) -> Vec<u8> {
    let mut result: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text {
        let is_line =
            byte.is_ascii_digit() && [b".c:", b".h:"].iter().any(|e| result.ends_with(*e));
        if !is_line {
            result.push(*byte);
        }
    }
    result
}

/// The last part of a path: trees lie where they like.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

//! Source lines of code: which file and line an instruction was compiled from, by the line programs of
//! the object. Code that was inlined has the line of the inlined function's body.

use std::collections::HashMap;

use gimli::Dwarf;
use gimli::Unit;
use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;

use super::debug;
use super::debug::Debug;
use super::debug::Slice;

/// Where an instruction comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAt<'a> {
    /// The source file as the compiler was given it.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
}

/// One row: from its offset on, code is from that line.
#[derive(Debug, Clone, Copy)]
struct Row {
    offset: u64,
    file: u32,
    /// 0 where no line is known: the compiler's own code, and behind the end of a sequence.
    line: u32,
}

/// The line rows of an object.
#[derive(Debug, Default)]
pub struct Rows {
    files: Vec<String>,
    /// By section, in ascending order of offset, each offset once.
    rows: HashMap<SectionId, Vec<Row>>,
}

impl Rows {
    /// Runs the line programs of an object; time is linear in their size.
    pub fn read(object: &ObjectFile) -> Self {
        let debug = Debug::read(object);
        let mut rows = Rows::default();
        let mut ids = HashMap::new();
        let mut sequences = Vec::new();
        debug.each_unit(|dwarf, unit| rows.collect(dwarf, unit, &mut ids, &mut sequences));
        // In order: one sequence may begin where another ends.
        sequences.sort_by_key(|(section, rows)| (*section, rows.first().map(|row| row.offset)));
        for (section, sequence) in sequences {
            rows.rows.entry(section).or_default().extend(sequence);
        }
        for rows in rows.rows.values_mut() {
            rows.sort_by_key(|row| row.offset);
            // Of several rows for one place the last one counts: the others are of no length, or
            // the end of the sequence before.
            rows.reverse();
            rows.dedup_by_key(|row| row.offset);
            rows.reverse();
        }
        rows
    }

    /// Where the instruction at `offset` of a section comes from.
    pub fn at(&self, section: SectionId, offset: u64) -> Option<RowAt<'_>> {
        let rows = self.rows.get(&section)?;
        let next = rows.partition_point(|row| row.offset <= offset);
        let row = rows[next.checked_sub(1)?];
        let file = self.files.get(row.file as usize)?;
        (row.line != 0).then_some(RowAt { file, line: row.line })
    }

    /// Whether the object has no lines.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn collect<'a>(
        &mut self,
        dwarf: &Dwarf<Slice<'a>>,
        unit: &Unit<Slice<'a>>,
        ids: &mut HashMap<String, u32>,
        sequences: &mut Vec<(SectionId, Vec<Row>)>,
    ) -> gimli::Result<()> {
        let Some(program) = unit.line_program.clone() else { return Ok(()) };
        let mut files: HashMap<u64, Option<u32>> = HashMap::new();
        let mut program = program.rows();
        // The rows of the sequence that is being read, and its section.
        let mut sequence: Vec<Row> = Vec::new();
        let mut section = None;
        while let Some((header, row)) = program.next_row()? {
            if section.is_none() {
                section = debug::place(row.address()).map(|(section, _)| section);
            }
            let place = debug::place(row.address()).filter(|(id, _)| Some(*id) == section);
            let file = *files.entry(row.file_index()).or_insert_with(|| {
                let path = debug::path(dwarf, unit, header, row.file(header)?)?;
                Some(self.file(path, ids))
            });
            if let Some((_, offset)) = place {
                let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
                let (file, line) = match file {
                    Some(file) if !row.end_sequence() => (file, line),
                    _ => (0, 0),
                };
                sequence.push(Row { offset, file, line });
            }
            if row.end_sequence() {
                let rows = std::mem::take(&mut sequence);
                if let Some(section) = section.take() {
                    sequences.push((section, rows));
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, ids: &mut HashMap<String, u32>) -> u32 {
        let next = self.files.len() as u32;
        *ids.entry(path).or_insert_with_key(|path| {
            self.files.push(path.clone());
            next
        })
    }
}

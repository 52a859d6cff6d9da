//! What is shown of one side: a few instructions, or a few bytes of data.

use kpatch_elf::SectionKind;

use super::Explained;
use super::code::Code;
use super::code::Names;
use super::code::Printer;
use super::report::Excerpt;
use super::report::InstructionReport;
use super::report::Source;

use crate::normalize::atoms::AtomId;

/// How many instructions are shown before the difference.
const BEFORE: usize = 3;
/// And behind it.
const BEHIND: usize = 2;
/// How many bytes of data are shown.
const BYTES: usize = 16;

impl Explained<'_> {
    /// The code of a piece around the instruction `at`.
    pub(super) fn code_around(&self, id: AtomId, code: &[Code<'_>], at: usize) -> Option<Excerpt> {
        let marked = code.get(at)?;
        let mut printer = Printer::new(self.side);
        let shown = at.saturating_sub(BEFORE)..(at + BEHIND + 1).min(code.len());
        let instruction = |index: usize| InstructionReport {
            offset: code[index].offset,
            text: printer.text(id, &code[index], Names::Exact),
            source: self.source_of(id, &code[index]),
            differs: index == at,
        };
        Some(Excerpt {
            symbol: self.side.name(id).to_owned(),
            offset: marked.offset,
            source: self.source_of(id, marked),
            code: shown.map(instruction).collect(),
            bytes: String::new(),
        })
    }

    fn source_of(&self, id: AtomId, code: &Code<'_>) -> Option<Source> {
        let row = self.rows.at(self.side.atoms[id].section, code.instruction.ip())?;
        Some(Source { file: row.file.to_owned(), line: row.line })
    }

    /// The data of a piece from `offset` on.
    pub(super) fn data_at(&self, id: AtomId, offset: i64) -> Excerpt {
        let atom = &self.side.atoms[id];
        let start = usize::try_from(offset).unwrap_or(0);
        let bytes = match self.side.section(id).kind {
            // It has no bytes in the file and is zero.
            SectionKind::Nobits => {
                vec![0; atom.end.saturating_sub(atom.origin).min(BYTES as u64) as usize]
            }
            _ => self.side.bytes(id).iter().skip(start).take(BYTES).copied().collect(),
        };
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Excerpt {
            symbol: self.side.name(id).to_owned(),
            offset,
            source: self.declared(id),
            code: Vec::new(),
            bytes: bytes.join(" "),
        }
    }
}

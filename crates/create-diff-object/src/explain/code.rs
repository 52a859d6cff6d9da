//! Code with the names that relocations give.

use iced_x86::ConstantOffsets;
use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::Instruction;
use kpatch_elf::SymbolId;

use super::syntax::Operands;
use super::syntax::Syntax;
use super::syntax::with_offset;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::references::is_near_branch;
use crate::normalize::side::Side;

/// Longer strings are cut: they are there to be recognised.
const STRING_SHOWN: usize = 60;

/// One instruction of a piece.
#[derive(Debug, Clone)]
pub(super) struct Code<'a> {
    /// Where, in bytes from the piece's origin; negative in call padding.
    pub(super) offset: i64,
    pub(super) instruction: Instruction,
    pub(super) constants: ConstantOffsets,
    /// What it refers to.
    pub(super) references: &'a [Reference],
}

impl Code<'_> {
    /// Whether a byte of the piece, counted from its origin, is in the instruction.
    pub(super) fn holds(&self, offset: i64) -> bool {
        (self.offset..self.offset + self.instruction.len() as i64).contains(&offset)
    }

    /// Whether it branches to a place that the assembler knew: within the function, for all others have
    /// a reference.
    fn is_local_branch(&self) -> bool {
        self.references.is_empty() && is_near_branch(&self.instruction)
    }
}

/// The instructions of a piece in order.
pub(super) fn decode<'a>(side: &'a Side<'_>, id: AtomId) -> Vec<Code<'a>> {
    let atom = &side.atoms[id];
    let bytes = side.bytes(id);
    let entry = ((atom.origin - atom.start) as usize).min(bytes.len());
    let mut code = Vec::new();
    // Decoding starts afresh behind call padding.
    for (start, bytes) in [(atom.start, &bytes[..entry]), (atom.origin, &bytes[entry..])] {
        let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            code.push(Code {
                offset: (instruction.ip() as i64).wrapping_sub(atom.origin as i64),
                constants: decoder.get_constant_offsets(&instruction),
                references: side
                    .references_in(atom.section, instruction.ip()..instruction.next_ip()),
                instruction,
            });
        }
    }
    code
}

/// Which names to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// As they are.
    Exact,
    /// As they are compared: without the compiler's numbers, and no places within the function.
    Compared,
}

/// Prints instructions.
pub(super) struct Printer<'a> {
    side: &'a Side<'a>,
    syntax: Syntax,
}

impl<'a> Printer<'a> {
    pub(super) fn new(side: &'a Side<'a>) -> Self {
        Printer { side, syntax: Syntax::default() }
    }

    /// The text of an instruction of the piece `owner`.
    pub(super) fn text(&mut self, owner: AtomId, code: &Code<'_>, names: Names) -> String {
        let mut operands = Operands::default();
        for reference in code.references {
            let text = Some(self.target(reference, names));
            let field = reference.offset.wrapping_sub(code.instruction.ip()) as usize;
            let constants = &code.constants;
            if constants.has_displacement() && constants.displacement_offset() == field {
                operands.displacement = text;
            } else if constants.has_immediate() && constants.immediate_offset() == field {
                operands.immediate = text;
            }
        }
        if code.is_local_branch() {
            let to = code.instruction.near_branch_target() as i64;
            let delta = to.wrapping_sub(self.side.atoms[owner].origin as i64);
            operands.immediate = Some(match names {
                Names::Exact => with_offset(self.side.name(owner), delta),
                Names::Compared => String::new(),
            });
        }
        self.syntax.text(&code.instruction, operands)
    }

    /// What a reference refers to.
    pub(super) fn target(&self, reference: &Reference, names: Names) -> String {
        target(self.side, reference, names)
    }
}

/// What a reference refers to: a name with an offset, a string, or a place in a section.
pub(super) fn target(side: &Side<'_>, reference: &Reference, names: Names) -> String {
    let named = |name: &str| match names {
        Names::Exact => name.to_owned(),
        Names::Compared => names::base_name(name),
    };
    match reference.target {
        Target::Extern(symbol) => with_offset(&side.object[symbol].name, reference.delta),
        Target::Nothing if reference.symbol == SymbolId::NULL => format!("{:#x}", reference.delta),
        Target::Nothing => "nothing".to_owned(),
        Target::Section(section) => with_offset(&side.object[section].name, reference.delta),
        Target::Atom(atom) => match side.atoms[atom].kind {
            AtomKind::String => string(side, atom, reference.delta, names),
            _ if !side.name(atom).is_empty() => {
                with_offset(&named(side.name(atom)), reference.delta)
            }
            // Where it lies says nothing about what it is.
            _ if names == Names::Compared => with_offset("", reference.delta),
            _ => {
                let at = side.atoms[atom].origin as i64;
                with_offset(&side.section(atom).name, at.wrapping_add(reference.delta))
            }
        },
    }
}

fn string(side: &Side<'_>, atom: AtomId, delta: i64, names: Names) -> String {
    let bytes = usize::try_from(delta).ok().and_then(|at| side.bytes(atom).get(at..));
    let bytes = bytes.unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let most = if names == Names::Exact { STRING_SHOWN } else { usize::MAX };
    let shown: String = text.chars().take(most).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_debug())
}

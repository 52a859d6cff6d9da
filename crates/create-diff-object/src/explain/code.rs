//! Code as kernel people read it: AT&T syntax, with the names that relocations give.

use std::cell::RefCell;
use std::rc::Rc;

use iced_x86::ConstantOffsets;
use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::Formatter;
use iced_x86::GasFormatter;
use iced_x86::Instruction;
use iced_x86::OpKind;
use iced_x86::SymbolResolver;
use iced_x86::SymbolResult;
use kpatch_elf::SymbolId;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::references::is_near_branch;
use crate::normalize::side::Side;

/// Longer strings are cut: they are there to be recognised.
const STRING_SHOWN: usize = 60;

/// The column of operands, as objdump has it.
const OPERANDS_AT: u32 = 7;

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
    formatter: GasFormatter,
    operands: Rc<RefCell<Operands>>,
}

/// The names of an instruction's operands.
#[derive(Debug, Default)]
struct Operands {
    displacement: Option<String>,
    immediate: Option<String>,
}

struct Resolver(Rc<RefCell<Operands>>);

impl SymbolResolver for Resolver {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _operand: u32,
        instruction_operand: Option<u32>,
        address: u64,
        _address_size: u32,
    ) -> Option<SymbolResult<'_>> {
        let operands = self.0.borrow();
        let name = match instruction.op_kind(instruction_operand?) {
            OpKind::Memory => operands.displacement.clone(),
            _ => operands.immediate.clone(),
        };
        name.map(|name| SymbolResult::with_string(address, name))
    }
}

impl<'a> Printer<'a> {
    pub(super) fn new(side: &'a Side<'a>) -> Self {
        let operands = Rc::new(RefCell::new(Operands::default()));
        let resolver = Resolver(Rc::clone(&operands));
        let mut formatter = GasFormatter::with_options(Some(Box::new(resolver)), None);
        let options = formatter.options_mut();
        options.set_uppercase_hex(false);
        options.set_branch_leading_zeros(false);
        options.set_small_hex_numbers_in_decimal(false);
        options.set_first_operand_char_index(OPERANDS_AT);
        Printer { side, formatter, operands }
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
        self.operands.replace(operands);
        let mut text = String::new();
        self.formatter.format(&code.instruction, &mut text);
        text.trim_end().to_owned()
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

pub(super) fn with_offset(name: &str, offset: i64) -> String {
    match offset {
        0 => name.to_owned(),
        _ if offset < 0 => format!("{name}-{:#x}", offset.unsigned_abs()),
        _ => format!("{name}+{offset:#x}"),
    }
}

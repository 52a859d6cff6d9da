//! Instructions as kernel people read them: AT&T syntax as objdump prints it, with names where the code
//! has addresses. Which names, the caller knows.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use iced_x86::Formatter;
use iced_x86::GasFormatter;
use iced_x86::Instruction;
use iced_x86::OpKind;
use iced_x86::SymbolResolver;
use iced_x86::SymbolResult;

/// The column of operands, as objdump has it.
const OPERANDS_AT: u32 = 7;

/// The names of an instruction's operands; a number stays one where there is none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Operands {
    /// In the place of the displacement of its memory operand.
    pub displacement: Option<String>,
    /// In the place of its immediate operand or of its branch target.
    pub immediate: Option<String>,
}

/// Prints instructions.
pub struct Syntax {
    formatter: GasFormatter,
    operands: Rc<RefCell<Operands>>,
}

impl fmt::Debug for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syntax").field("operands", &self.operands).finish_non_exhaustive()
    }
}

impl Default for Syntax {
    fn default() -> Self {
        let operands = Rc::new(RefCell::new(Operands::default()));
        let resolver = Resolver(Rc::clone(&operands));
        let mut formatter = GasFormatter::with_options(Some(Box::new(resolver)), None);
        let options = formatter.options_mut();
        options.set_uppercase_hex(false);
        options.set_branch_leading_zeros(false);
        options.set_small_hex_numbers_in_decimal(false);
        options.set_first_operand_char_index(OPERANDS_AT);
        Syntax { formatter, operands }
    }
}

impl Syntax {
    /// The text of an instruction.
    pub fn text(&mut self, instruction: &Instruction, operands: Operands) -> String {
        self.operands.replace(operands);
        let mut text = String::new();
        self.formatter.format(instruction, &mut text);
        text.truncate(text.trim_end().len());
        text
    }
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

/// `name`, `name+0x10`, `name-0x10`.
pub fn with_offset(name: &str, offset: i64) -> String {
    match offset {
        0 => name.to_owned(),
        _ if offset < 0 => format!("{name}-{:#x}", offset.unsigned_abs()),
        _ => format!("{name}+{offset:#x}"),
    }
}

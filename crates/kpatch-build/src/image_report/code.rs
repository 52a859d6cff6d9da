//! Disassembles a symbol's bytes; what the operands mean, the kernel or the module knows.

use create_diff_object::explain::syntax::Operands;
use create_diff_object::explain::syntax::Syntax;
use iced_x86::ConstantOffsets;
use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::Instruction;

use super::report::InstructionReport;
use super::report::hex;

/// The instructions in `bytes`, of which the first is at `start`. `name` says what the operands of each
/// are. Bytes that are no instruction are shown as `(bad)`, one by one.
pub(super) fn disassemble(
    bytes: &[u8],
    start: u64,
    name: impl Fn(&Instruction, &ConstantOffsets) -> Operands,
) -> Vec<InstructionReport> {
    let mut syntax = Syntax::default();
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let mut code = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let offset = instruction.ip().wrapping_sub(start);
        let end = offset as usize + instruction.len();
        let constants = decoder.get_constant_offsets(&instruction);
        code.push(InstructionReport {
            offset,
            bytes: hex(bytes.get(offset as usize..end).unwrap_or_default()),
            text: syntax.text(&instruction, name(&instruction, &constants)),
        });
    }
    code
}

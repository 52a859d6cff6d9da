//! Where control goes when it leaves a piece of code, and whether it ever does.

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::FlowControl;
use iced_x86::Instruction;
use iced_x86::OpKind;

use crate::normalize::atoms::AtomId;
use crate::normalize::references::Target;
use crate::normalize::sections::ALTINSTRUCTIONS;
use crate::normalize::sections::EX_TABLE;
use crate::normalize::sections::JUMP_TABLE;
use crate::normalize::side::Side;

/// Functions that do not return in any kernel, by the name under which they are global
/// (`tools/objtool/noreturns.h`). A task that calls one never comes back to its caller.
const NO_RETURN: [&str; 7] = [
    "__fortify_panic",
    "__stack_chk_fail",
    "do_exit",
    "fortify_panic",
    "make_task_dead",
    "panic",
    "usercopy_abort",
];

/// A near branch out of a piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    /// Offset of the instruction in its section.
    pub(super) at: u64,
    /// Whether it leaves a return address.
    pub(super) call: bool,
    /// Whether the piece ends with it. The return address of such a call lies behind the piece, and
    /// nothing can return there.
    pub(super) last: bool,
    /// Where it goes; `None` for a place that is no piece.
    pub(super) to: Option<Target>,
}

/// All near branches out of a piece, with relocation or without.
pub(super) fn transfers(side: &Side<'_>, atom: AtomId) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    decode(side, atom, |instruction| {
        if !is_near_branch(instruction) {
            return;
        }
        let to = destination(side, atom, instruction);
        if to != Some(Target::Atom(atom)) {
            transfers.push(Transfer {
                at: instruction.ip(),
                call: instruction.flow_control() == FlowControl::Call,
                last: instruction.next_ip() >= side.atoms[atom].end,
                to,
            });
        }
    });
    transfers
}

/// Whether a task in this piece can go on anywhere else: it calls what may return, jumps or returns out
/// of it, or the kernel finds another way for it in a table. In a piece of which that is not so, a
/// task dies. `is_new` says what is part of the patch.
pub(super) fn can_be_left(
    side: &Side<'_>,
    atom: AtomId,
    is_new: &dyn Fn(Option<Target>) -> bool,
) -> bool {
    let ways_out = [ALTINSTRUCTIONS, EX_TABLE, JUMP_TABLE];
    if side.entries.of(atom).iter().any(|entry| ways_out.contains(&entry.table.name)) {
        return true;
    }
    let mut left = false;
    decode(side, atom, |instruction| {
        left |= match instruction.flow_control() {
            FlowControl::Call
            | FlowControl::UnconditionalBranch
            | FlowControl::ConditionalBranch
            | FlowControl::XbeginXabortXend
                if is_near_branch(instruction) =>
            {
                let to = destination(side, atom, instruction);
                if instruction.flow_control() == FlowControl::Call {
                    let last = instruction.next_ip() >= side.atoms[atom].end;
                    is_new(to) || !(last || never_returns(side, to))
                } else {
                    to != Some(Target::Atom(atom))
                }
            }
            // A trap that the kernel survives goes on behind it, within the piece.
            FlowControl::Next | FlowControl::Exception | FlowControl::Interrupt => {
                instruction.is_invalid()
            }
            _ => true,
        };
    });
    left
}

fn never_returns(side: &Side<'_>, to: Option<Target>) -> bool {
    match to {
        Some(Target::Extern(symbol)) => NO_RETURN.contains(&side.object[symbol].name.as_str()),
        _ => false,
    }
}

fn decode(side: &Side<'_>, atom: AtomId, mut each: impl FnMut(&Instruction)) {
    let start = side.atoms[atom].start;
    let mut decoder = Decoder::with_ip(64, side.bytes(atom), start, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        each(&instruction);
    }
}

fn is_near_branch(instruction: &Instruction) -> bool {
    instruction.op_count() > 0 && instruction.op0_kind() == OpKind::NearBranch64
}

/// Where a near branch goes. `Target::Atom(atom)` is within the piece.
fn destination(side: &Side<'_>, atom: AtomId, instruction: &Instruction) -> Option<Target> {
    let section = side.atoms[atom].section;
    let fields = side.references_in(section, instruction.ip()..instruction.next_ip());
    match fields.first() {
        Some(reference) => Some(reference.target),
        None => {
            let to = instruction.near_branch_target();
            let inside = (side.atoms[atom].start..side.atoms[atom].end).contains(&to);
            match inside {
                true => Some(Target::Atom(atom)),
                // The end of a piece may be the start of the next one.
                false => side.atoms.at(section, to as i64).map(Target::Atom),
            }
        }
    }
}

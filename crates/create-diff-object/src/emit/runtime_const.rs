//! Pointers that boot code of vmlinux writes into instructions (`runtime_const_ptr()`,
//! `arch/x86/include/asm/runtime-const.h`): `movabs $dummy, %reg`, the place of the constant in a section
//! `runtime_ptr_<variable>`. Nobody would write into a patch. But the variable holds the same once the
//! kernel has booted, and what modules do is to read it; so does the patch.
//!
//! Bias: whatever is not exactly that instruction is refused, as are constants of other kinds, which
//! are part of instructions that have no form with a memory operand of that meaning.

use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::sections::Policy;
use crate::normalize::side::Side;
use crate::normalize::tables::Entry;

/// What the names of the sections begin with; the variable's name follows.
const SECTION: &str = "runtime_ptr_";

/// What stands for the constant until boot code writes it.
const DUMMY: u64 = 0x0123_4567_89ab_cdef;

/// Bytes of `movabs $imm64, %reg` before the constant: REX.W and the opcode with the register.
const BEFORE: usize = 2;

/// Bytes of the whole instruction.
const LENGTH: usize = BEFORE + 8;

/// Bytes of `mov disp32(%rip), %reg` before the displacement.
const LOAD_BEFORE: usize = 3;

/// What is left of the old instruction behind the new one: `nopl (%rax)`.
const NOP: [u8; LENGTH - LOAD_BEFORE - 4] = [0x0f, 0x1f, 0x00];

/// An instruction that gets a pointer from a variable in place of a constant.
#[derive(Debug, Clone, Copy)]
pub struct Pointer<'a> {
    /// Where it is, in bytes from the first byte of its function, call padding included.
    pub at: u64,
    /// The name of the variable.
    pub variable: &'a str,
    /// The variable's symbol, where the object has one.
    pub symbol: Option<SymbolId>,
    register: u8,
}

impl Pointer<'_> {
    /// `mov variable(%rip), %reg`, the displacement empty, in as many bytes as the old instruction.
    pub fn load(&self) -> [u8; LENGTH] {
        let rex = 0x48 | (self.register >> 3) << 2;
        let operand = (self.register & 7) << 3 | 5;
        let mut code = [0; LENGTH];
        code[..LOAD_BEFORE].copy_from_slice(&[rex, 0x8b, operand]);
        code[LENGTH - NOP.len()..].copy_from_slice(&NOP);
        code
    }

    /// Where the displacement is, in bytes from the first byte of the function. It is 4 bytes long and
    /// ends its instruction.
    pub fn field(&self) -> u64 {
        self.at + LOAD_BEFORE as u64
    }
}

/// Whether an entry is about a pointer.
pub fn is_pointer(entry: &Entry) -> bool {
    entry.table.policy == Policy::Rewrite
}

/// The pointers in a piece; those that the checks refuse are left out.
pub fn pointers<'a>(side: &'a Side<'_>, atom: AtomId) -> Vec<Pointer<'a>> {
    let entries = side.entries.of(atom).iter().filter(|entry| is_pointer(entry));
    entries.filter_map(|entry| pointer(side, atom, entry)).collect()
}

/// The pointer that an entry is about; `None` if it is no instruction that can be rewritten.
pub fn pointer<'a>(side: &'a Side<'_>, atom: AtomId, entry: &Entry) -> Option<Pointer<'a>> {
    let piece = &side.atoms[atom];
    let variable = side.object[entry.section].name.strip_prefix(SECTION)?;
    let constant = (piece.origin - piece.start).checked_add_signed(entry.at)?;
    let at = constant.checked_sub(BEFORE as u64)?;
    let bytes = side.bytes(atom).get(at as usize..)?.get(..LENGTH)?;
    let (opcode, constant) = bytes.split_at(BEFORE);
    let (0x48 | 0x49, 0xb8..=0xbf) = (opcode[0], opcode[1]) else { return None };
    let from = piece.start + at;
    let relocated = !side.references_in(piece.section, from..from + LENGTH as u64).is_empty();
    if relocated || constant != DUMMY.to_le_bytes() || piece.kind != AtomKind::Function {
        return None;
    }
    let symbols = side.object.symbols_with_ids();
    let mut symbols = symbols.filter(|(_, s)| s.name == variable && s.kind != SymbolKind::Section);
    let symbol = symbols.next().map(|(id, _)| id);
    let register = (opcode[0] & 1) << 3 | (opcode[1] & 7);
    // Two variables of one name: which of them is meant, only the source says.
    symbols.next().is_none().then_some(Pointer { at, variable, symbol, register })
}

#[cfg(test)]
mod tests {
    use super::*;

    use iced_x86::Decoder;
    use iced_x86::DecoderOptions;
    use iced_x86::Mnemonic;

    #[test]
    fn loads_into_the_same_register() {
        for register in 0..16 {
            let pointer = Pointer { at: 0, variable: "v", symbol: None, register };
            let old = [0x48 | register >> 3, 0xb8 | register & 7, 0, 0, 0, 0, 0, 0, 0, 0];
            let new = pointer.load();
            let old = Decoder::new(64, &old, DecoderOptions::NONE).decode();
            let mut decoder = Decoder::new(64, &new, DecoderOptions::NONE);
            let load = decoder.decode();
            assert_eq!((load.op0_register(), load.mnemonic()), (old.op0_register(), Mnemonic::Mov));
            assert!(load.is_ip_rel_memory_operand());
            assert_eq!(pointer.field() + 4, load.next_ip());
            assert_eq!(decoder.decode().mnemonic(), Mnemonic::Nop);
            assert!(!decoder.can_decode());
        }
    }
}

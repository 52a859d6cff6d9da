//! Machine code and places in it, as objtool's tables and the checks of this crate need them.
//!
//! Code is decoded from each symbol of a section on, so that data or padding between functions does
//! not put the decoder out of step.

use std::collections::BTreeSet;

use iced_x86::Code as Opcode;
use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::FlowControl;
use iced_x86::Mnemonic;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags;

/// A place in the module: section and offset in bytes.
pub(crate) type Site = (SectionId, u64);

/// What an instruction does with the address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// `call` to a fixed target.
    Call,
    /// `jmp` or a conditional jump to a fixed target.
    Jump,
    /// Any other branch, or a no-op: takes no address of a function.
    OtherBranch,
    /// Everything else.
    Value,
}

/// One instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instruction {
    /// Offset in the section.
    pub(crate) offset: u64,
    /// Length in bytes.
    pub(crate) len: u64,
    /// What it does with an address.
    pub(crate) usage: Use,
}

/// The instructions of an executable section in order.
pub(crate) fn instructions(object: &ObjectFile, section: SectionId) -> Vec<Instruction> {
    let data = &object[section].data;
    let mut starts: BTreeSet<usize> = object
        .symbols
        .iter()
        .filter(|s| s.section() == Some(section))
        .map(|s| s.value as usize)
        .filter(|value| *value < data.len())
        .collect();
    starts.insert(0);
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let mut all = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends) {
        let options = DecoderOptions::NONE;
        let mut decoder = Decoder::with_ip(64, &data[start..end], start as u64, options);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            all.push(Instruction {
                offset: instruction.ip(),
                len: instruction.len() as u64,
                usage: usage(&instruction),
            });
        }
    }
    all
}

fn usage(instruction: &iced_x86::Instruction) -> Use {
    match instruction.flow_control() {
        FlowControl::Call if instruction.code() == Opcode::Call_rel32_64 => Use::Call,
        FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => Use::Jump,
        FlowControl::Call
        | FlowControl::IndirectBranch
        | FlowControl::IndirectCall
        | FlowControl::Return => Use::OtherBranch,
        _ if instruction.mnemonic() == Mnemonic::Nop => Use::OtherBranch,
        _ => Use::Value,
    }
}

/// Sections with code that is loaded.
pub(crate) fn code_sections(object: &ObjectFile) -> impl Iterator<Item = SectionId> {
    let flags = section_flags::ALLOC | section_flags::EXEC;
    object.sections_with_ids().filter(move |(_, s)| s.has(flags)).map(|(id, _)| id)
}

/// The place that a relocation value of `S + A + adjust` names, if it is in this module.
pub(crate) fn place(object: &ObjectFile, relocation: &Relocation, adjust: i64) -> Option<Site> {
    let symbol = &object[relocation.symbol];
    let section = symbol.section()?;
    let offset = symbol.value.checked_add_signed(relocation.addend.checked_add(adjust)?)?;
    Some((section, offset))
}

/// The places that the entries of one of objtool's tables name: the relocations of the first section
/// of that name whose offsets are multiples of `stride` from `field`.
pub(crate) fn table_sites<'a>(
    object: &'a ObjectFile,
    name: &str,
    stride: u64,
    field: u64,
) -> impl Iterator<Item = (u64, Site)> + 'a {
    let relocations = object
        .section_by_name(name)
        .map_or(&[][..], |id| object[id].relocations.as_slice())
        .iter()
        .filter(move |r| r.offset % stride == field);
    relocations.filter_map(move |r| Some((r.offset / stride, place(object, r, 0)?)))
}

/// The function that holds the place.
pub(crate) fn function_at(
    object: &ObjectFile,
    section: SectionId,
    offset: u64,
) -> Option<SymbolId> {
    object
        .symbols_with_ids()
        .find(|(_, s)| {
            s.kind == SymbolKind::Function
                && s.section() == Some(section)
                && offset.checked_sub(s.value).is_some_and(|o| o < s.size)
        })
        .map(|(id, _)| id)
}

/// The functions of loaded code with their symbols. Empty symbols (labels of assembly) are not.
pub(crate) fn functions(object: &ObjectFile) -> impl Iterator<Item = (SymbolId, Site)> {
    let flags = section_flags::ALLOC | section_flags::EXEC;
    object.symbols_with_ids().filter_map(move |(id, symbol)| {
        let section = symbol.section()?;
        let function = symbol.kind == SymbolKind::Function && symbol.size > 0;
        (function && object[section].has(flags)).then_some((id, (section, symbol.value)))
    })
}

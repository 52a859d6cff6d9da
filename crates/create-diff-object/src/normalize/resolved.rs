//! References without relocation: where functions share a section, the assembler resolves branches and
//! RIP-relative operands from one to the other by itself. Cut apart, they need relocations; so those
//! that leave their piece become references like all others, with nothing in their fields.
//!
//! A branch of one byte has no room for a relocation. It goes to a *stub* behind the function, a jump
//! that has.
//!
//! Which of them no relocation can take the place of, `check` says.

use std::collections::HashMap;

use iced_x86::ConstantOffsets;
use iced_x86::Instruction;
use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use rustc_hash::FxHashMap;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::Atoms;
use crate::normalize::references;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::side::Side;

/// `jmp rel32`, the field empty.
pub const JUMP: [u8; 5] = [0xe9, 0, 0, 0, 0];

/// How far a short branch reaches forward.
const SHORT_REACH: u64 = i8::MAX as u64;

/// A field of an instruction that the assembler filled without a relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// Offset of the field in its section.
    pub offset: u64,
    /// Bytes of the field.
    pub width: usize,
    /// End of the instruction.
    pub end: u64,
    /// What it means, in bytes from the start of the section.
    pub to: i64,
    /// Whether it is the target of a call or jump.
    pub branch: bool,
}

impl Resolved {
    /// The field of an instruction that is a near branch or has a RIP-relative operand.
    pub fn of(instruction: &Instruction, offsets: &ConstantOffsets) -> Self {
        let branch = references::is_near_branch(instruction);
        let (at, width, to) = match branch {
            true => (
                offsets.immediate_offset(),
                offsets.immediate_size(),
                instruction.near_branch_target(),
            ),
            false => (
                offsets.displacement_offset(),
                offsets.displacement_size(),
                instruction.ip_rel_memory_address(),
            ),
        };
        let offset = instruction.ip() + at as u64;
        Resolved { offset, width, end: instruction.next_ip(), to: to as i64, branch }
    }

    fn kind(&self) -> RelocationKind {
        match (self.branch, self.width) {
            (_, 1) => RelocationKind::PC8,
            (_, 2) => RelocationKind::PC16,
            (true, _) => RelocationKind::PLT32,
            (false, _) => RelocationKind::PC32,
        }
    }
}

/// Those of `resolved`, all of `section`, that leave the piece that they are in.
pub fn leaving(
    object: &ObjectFile,
    atoms: &Atoms,
    section: SectionId,
    resolved: &[Resolved],
) -> Vec<Reference> {
    if atoms.of_section(section).len() < 2 {
        return Vec::new();
    }
    resolved.iter().filter_map(|field| reference(object, atoms, section, field)).collect()
}

fn reference(
    object: &ObjectFile,
    atoms: &Atoms,
    section: SectionId,
    field: &Resolved,
) -> Option<Reference> {
    let own = &atoms[atoms.at(section, field.offset as i64)?];
    let place = u64::try_from(field.to).ok();
    if field.offset >= own.end || place.is_some_and(|to| (own.start..own.end).contains(&to)) {
        return None;
    }
    let target = atoms.at(section, field.to);
    let starts = |id| Some(atoms[id].origin) == place;
    // Compilers let a branch that is never taken go to the end of its function.
    if place == Some(own.end) && !target.is_some_and(starts) {
        return None;
    }
    let symbols = target.map_or(&[][..], |id| atoms[id].symbols.as_slice());
    let symbol = symbols.iter().find(|s| Some(object[**s].value) == place).or(symbols.first());
    Some(Reference {
        offset: field.offset,
        kind: field.kind(),
        target: target.map_or(Target::Section(section), Target::Atom),
        delta: field.to.wrapping_sub(target.map_or(0, |id| atoms[id].origin as i64)),
        bias: field.offset as i64 - field.end as i64,
        branch: field.branch,
        symbol: symbol.copied().unwrap_or(SymbolId::NULL),
    })
}

/// The content of sections that hold references without relocation, with the fields of all references
/// empty.
pub fn blank(
    object: &ObjectFile,
    references: &FxHashMap<SectionId, Vec<Reference>>,
) -> FxHashMap<SectionId, Vec<u8>> {
    let mut blanked = FxHashMap::default();
    for (id, section) in object.sections_with_ids() {
        let Some(references) = references.get(&id) else { continue };
        if references.len() == section.relocations.len() {
            continue;
        }
        let mut data = section.data.clone();
        for reference in references {
            let at = reference.offset as usize;
            if let Some(field) = data.get_mut(at..at.saturating_add(width(reference.kind))) {
                field.fill(0);
            }
        }
        blanked.insert(id, data);
    }
    blanked
}

fn width(kind: RelocationKind) -> usize {
    match kind {
        RelocationKind::PC8 => 1,
        RelocationKind::PC16 => 2,
        other => other.width().unwrap_or(0),
    }
}

/// A jump behind a function in the place of a short branch out of it.
#[derive(Debug)]
pub struct Stub<'a> {
    /// Where the jump is, in bytes from the function's first byte, call padding included.
    pub at: u64,
    /// The fields of the short branches to it, likewise.
    pub fields: Vec<u64>,
    /// Where they go.
    pub reference: &'a Reference,
}

impl Stub<'_> {
    /// What a field holds to lead to the stub, if it is in reach.
    pub fn displacement(&self, field: u64) -> Option<u8> {
        let distance = self.at.checked_sub(field + 1).filter(|bytes| *bytes <= SHORT_REACH)?;
        u8::try_from(distance).ok()
    }
}

/// The stubs that a piece needs, in the order in which they lie behind it.
pub fn stubs<'a>(side: &'a Side<'_>, atom: AtomId) -> Vec<Stub<'a>> {
    let mut stubs: Vec<Stub<'a>> = Vec::new();
    let mut by_target = HashMap::new();
    let &crate::normalize::atoms::Atom { start, end, .. } = &side.atoms[atom];
    for reference in side.references(atom).iter().filter(|r| r.kind == RelocationKind::PC8) {
        let next = stubs.len();
        let index = *by_target.entry((reference.target, reference.delta)).or_insert(next);
        if index == next {
            let at = end - start + (next * JUMP.len()) as u64;
            stubs.push(Stub { at, fields: Vec::new(), reference });
        }
        stubs[index].fields.push(reference.offset - start);
    }
    stubs
}

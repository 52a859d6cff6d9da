//! Lays the instructions of two pieces of code side by side, where their bytes are not equal: whether
//! they are the same but for the places of things, and which place of the one is which of the other.
//!
//! Not looked at here is what references mean; the walk needs no other piece than the two.
//! Bias: operands are equal bit by bit or different. Only what no compiler or assembler means anything
//! by is passed over: the size of a branch, and NOPs that do nothing but align what follows.

use std::collections::HashSet;

use iced_x86::Code;
use iced_x86::ConstantOffsets;
use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::FlowControl;
use iced_x86::Instruction;
use iced_x86::Mnemonic;

use super::What;

use crate::normalize::atoms::AtomId;
use crate::normalize::references;
use crate::normalize::sections::Policy;
use crate::normalize::side::Side;

/// The smallest alignment of a place inside a function that compilers ask for by NOPs.
const LEAST_ALIGNMENT: u64 = 8;

/// Which place of a piece of code is which of the other. Places are counted from the origin.
#[derive(Debug)]
pub(super) enum Alignment {
    /// Byte by byte.
    Identity,
    /// By instruction.
    Instructions { original: Layout, patched: Layout },
}

/// First bytes and ends of the instructions of a piece, padding left out.
#[derive(Debug)]
pub(super) struct Layout(Vec<(i64, i64)>);

/// A difference, as places in both pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) what: What,
    pub(super) original: i64,
    pub(super) patched: i64,
}

impl Alignment {
    /// Whether two places are the same one.
    pub(super) fn is_same_place(&self, original: i64, patched: i64) -> bool {
        match self {
            Alignment::Identity => original == patched,
            Alignment::Instructions { original: o, patched: p } => {
                match (o.place(original), p.place(patched)) {
                    (Some((o_at, 0)), Some((p_at, 0))) => o_at == p_at,
                    // Inside an instruction: only where both are of one form.
                    (Some(a), Some(b)) => a == b && o.length(a.0) == p.length(b.0),
                    _ => false,
                }
            }
        }
    }
}

impl Layout {
    /// The instruction that holds a place, and how far in it is. Padding is what follows it; there is no
    /// telling what a place amid padding is.
    fn place(&self, at: i64) -> Option<(usize, i64)> {
        let next = self.0.partition_point(|(start, _)| *start <= at);
        let Some(index) = next.checked_sub(1) else { return Some((0, 0)).filter(|_| at == 0) };
        let (start, end) = self.0[index];
        if at < end {
            return Some((index, at - start));
        }
        (at == end).then_some((next, 0))
    }

    fn length(&self, index: usize) -> Option<i64> {
        self.0.get(index).map(|(start, end)| end - start)
    }
}

/// An instruction of a piece.
pub(super) struct Step<'a> {
    pub(super) instruction: Instruction,
    /// First byte, from the start of the section.
    pub(super) start: u64,
    /// Behind the last byte.
    pub(super) end: u64,
    bytes: &'a [u8],
    fields: ConstantOffsets,
}

impl Step<'_> {
    /// Where a branch or an operand relative to the instruction leads, from the start of the section, if
    /// no relocation has a say in it.
    fn local_target(&self, side: &Side<'_>, atom: AtomId) -> Option<u64> {
        let (field, target) = if references::is_near_branch(&self.instruction) {
            (self.fields.immediate_offset(), self.instruction.near_branch_target())
        } else if self.instruction.is_ip_rel_memory_operand() {
            (self.fields.displacement_offset(), self.instruction.ip_rel_memory_address())
        } else {
            return None;
        };
        let field = self.start + field as u64;
        let section = side.atoms[atom].section;
        side.references_in(section, field..field + 1).is_empty().then_some(target)
    }

    /// The immediate operand and where its bytes are, unless it is a branch target.
    fn immediate(&self) -> Option<(std::ops::Range<usize>, u64)> {
        let range = self.fields.immediate_offset()
            ..self.fields.immediate_offset() + self.fields.immediate_size();
        if range.is_empty() || references::is_near_branch(&self.instruction) {
            return None;
        }
        let mut value = [0; 8];
        let bytes = self.bytes.get(range.clone())?;
        value.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some((range, u64::from_le_bytes(value)))
    }
}

/// A piece with its instructions, padding left out.
pub(super) struct Steps<'a> {
    pub(super) side: &'a Side<'a>,
    pub(super) atom: AtomId,
    pub(super) list: Vec<Step<'a>>,
}

impl<'a> Steps<'a> {
    /// Decodes a piece; `None` if something in it is no instruction.
    fn new(side: &'a Side<'a>, atom: AtomId) -> Option<Self> {
        let piece = &side.atoms[atom];
        let bytes = side.bytes(atom);
        let entry = usize::try_from(piece.origin.checked_sub(piece.start)?).ok()?;
        let (before, body) = (bytes.get(..entry)?, bytes.get(entry..)?);
        let mut list = decode(before, piece.start)?;
        // Call padding: nothing is ever executed there but what the kernel writes.
        list.retain(|step| step.instruction.mnemonic() != Mnemonic::Nop);
        let body = decode(body, piece.origin)?;
        list.extend(without_padding(side, atom, body));
        Some(Steps { side, atom, list })
    }

    fn layout(&self) -> Layout {
        let origin = self.side.atoms[self.atom].origin as i64;
        let offsets = |step: &Step<'_>| (step.start as i64 - origin, step.end as i64 - origin);
        Layout(self.list.iter().map(offsets).collect())
    }

    fn offset(&self, at: u64) -> i64 {
        at as i64 - self.side.atoms[self.atom].origin as i64
    }

    /// How far the instruction of that index is from the origin, or the end if there is none.
    fn place(&self, index: usize) -> i64 {
        let end = self.side.atoms[self.atom].end;
        self.offset(self.list.get(index).map_or(end, |step| step.start))
    }
}

fn decode(bytes: &[u8], at: u64) -> Option<Vec<Step<'_>>> {
    let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
    let mut steps = Vec::with_capacity(bytes.len() / 4);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        let (start, end) = (instruction.ip(), instruction.next_ip());
        let fields = decoder.get_constant_offsets(&instruction);
        let bytes = bytes.get((start - at) as usize..(end - at) as usize)?;
        steps.push(Step { instruction, start, end, bytes, fields });
    }
    Some(steps)
}

/// Takes out the runs of NOPs that are there for alignment. A NOP that an entry of a special section is
/// about is none of these: the kernel writes code there.
fn without_padding<'a>(side: &Side<'_>, atom: AtomId, steps: Vec<Step<'a>>) -> Vec<Step<'a>> {
    let is_nop = |step: &Step<'_>| step.instruction.mnemonic() == Mnemonic::Nop;
    if !steps.iter().any(is_nop) {
        return steps;
    }
    let piece = &side.atoms[atom];
    let targets: HashSet<u64> =
        steps.iter().filter_map(|step| step.local_target(side, atom)).collect();
    let entries = side.entries.of(atom).iter();
    let kept = entries
        .filter(|e| e.table.policy != Policy::Drop && !e.table.at_end && !e.table.follows_code);
    let pinned: HashSet<u64> = kept.map(|e| piece.origin.wrapping_add_signed(e.at)).collect();
    let align = side.section(atom).align.max(1);

    let mut result: Vec<Step<'a>> = Vec::with_capacity(steps.len());
    let mut run: Vec<Step<'a>> = Vec::new();
    let close = |run: &mut Vec<Step<'a>>, result: &mut Vec<Step<'a>>| {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        let (start, end) = (first.start, last.end);
        let is_pinned = run.iter().any(|step| pinned.contains(&step.start));
        let aligned = align.min(1 << end.trailing_zeros().min(63));
        let aligns = end - start < aligned && aligned >= LEAST_ALIGNMENT && targets.contains(&end);
        let is_reached = result.last().is_none_or(|step| goes_on(&step.instruction))
            || run.iter().any(|step| targets.contains(&step.start));
        let is_padding = !is_pinned && (aligns || !is_reached || end == piece.end);
        match is_padding {
            true => run.clear(),
            false => result.append(run),
        }
    };
    for step in steps {
        if is_nop(&step) {
            run.push(step);
        } else {
            close(&mut run, &mut result);
            result.push(step);
        }
    }
    close(&mut run, &mut result);
    result
}

fn goes_on(instruction: &Instruction) -> bool {
    !matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return
    )
}

/// Whether an immediate that differs does so for no other reason than where it stands in the source:
/// asked with both pieces and the index of the instruction in each, and both values.
pub(super) type IsLine<'a> = &'a dyn Fn((&Steps<'_>, u64), (&Steps<'_>, u64), usize) -> bool;

/// Lays two pieces of code side by side.
pub(super) fn align(
    (original, o): (&Side<'_>, AtomId),
    (patched, p): (&Side<'_>, AtomId),
    is_line: IsLine<'_>,
) -> Result<Alignment, Mismatch> {
    let whole = Mismatch { what: What::Instruction, original: 0, patched: 0 };
    let (Some(o), Some(p)) = (Steps::new(original, o), Steps::new(patched, p)) else {
        return Err(whole);
    };
    let mismatch = |index: usize, what| {
        Err(Mismatch { what, original: o.place(index), patched: p.place(index) })
    };
    for (index, (a, b)) in o.list.iter().zip(&p.list).enumerate() {
        let same = match difference(&o, a, &p, b) {
            None => true,
            Some(Other::Immediate(old, new)) => is_line((&o, old), (&p, new), index),
            Some(Other::Anything) => false,
        };
        if !same {
            return mismatch(index, What::Instruction);
        }
    }
    if o.list.len() != p.list.len() {
        return mismatch(o.list.len().min(p.list.len()), What::Size);
    }
    let alignment = Alignment::Instructions { original: o.layout(), patched: p.layout() };
    for (index, (a, b)) in o.list.iter().zip(&p.list).enumerate() {
        let inner = |steps: &Steps<'_>, step: &Step<'_>| {
            let target = step.local_target(steps.side, steps.atom);
            target.map(|target| steps.offset(target))
        };
        let same = match (inner(&o, a), inner(&p, b)) {
            (None, None) => true,
            (Some(a), Some(b)) => alignment.is_same_place(a, b),
            _ => false,
        };
        if !same {
            return mismatch(index, What::Instruction);
        }
    }
    Ok(alignment)
}

/// How two instructions differ, where they lead left aside.
enum Other {
    /// In one immediate operand of a move or push: of the original, of the patched.
    Immediate(u64, u64),
    /// In what they do.
    Anything,
}

fn difference(o: &Steps<'_>, a: &Step<'_>, p: &Steps<'_>, b: &Step<'_>) -> Option<Other> {
    let near = |step: &Step<'_>| -> (Code, bool) {
        let mut instruction = step.instruction;
        instruction.as_near_branch();
        (instruction.code(), references::is_near_branch(&instruction))
    };
    if near(a) == near(b) && near(a).1 {
        return (prefixes(&a.instruction) != prefixes(&b.instruction)).then_some(Other::Anything);
    }
    if a.bytes.len() != b.bytes.len() {
        return Some(Other::Anything);
    }
    let blanked = |steps: &Steps<'_>, step: &Step<'_>| {
        let mut bytes = step.bytes.to_vec();
        let section = steps.side.atoms[steps.atom].section;
        for reference in steps.side.references_in(section, step.start..step.end) {
            let at = (reference.offset - step.start) as usize;
            let width = reference.kind.width().unwrap_or(0);
            let end = (at + width).min(bytes.len());
            bytes.get_mut(at..end).into_iter().for_each(|field| field.fill(0));
        }
        if step.instruction.is_ip_rel_memory_operand()
            && step.local_target(steps.side, steps.atom).is_some()
        {
            let at = step.fields.displacement_offset();
            let field = bytes.get_mut(at..at + step.fields.displacement_size());
            field.into_iter().for_each(|field| field.fill(0));
        }
        bytes
    };
    let (mut old, mut new) = (blanked(o, a), blanked(p, b));
    if old == new {
        return None;
    }
    let moves = matches!(a.instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Push);
    if let (true, Some((range, x)), Some((other, y))) = (moves, a.immediate(), b.immediate()) {
        old.get_mut(range.clone()).into_iter().for_each(|field| field.fill(0));
        new.get_mut(range.clone()).into_iter().for_each(|field| field.fill(0));
        if range == other && x != y && old == new {
            return Some(Other::Immediate(x, y));
        }
    }
    Some(Other::Anything)
}

/// What a branch may have in front of its operation.
fn prefixes(instruction: &Instruction) -> (bool, bool, bool, iced_x86::Register) {
    (
        instruction.has_rep_prefix(),
        instruction.has_repne_prefix(),
        instruction.has_lock_prefix(),
        instruction.segment_prefix(),
    )
}

//! Instructions around a place, as kernel people read them: AT&T syntax, with the names that fields give.

use std::fmt::Write;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::Formatter;
use iced_x86::GasFormatter;
use iced_x86::Instruction;
use iced_x86::OpKind;
use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolKind;

use crate::difference::Difference;
use crate::running::Place;
use crate::running::Running;

/// Instructions shown before and behind the one that differs.
const BEFORE: usize = 2;
const BEHIND: usize = 2;

/// Both sides around a difference in code, a line for each instruction; empty for a difference in data.
pub fn both(object: &ObjectFile, difference: &Difference, running: &dyn Running) -> String {
    let Difference { section, ours, theirs, .. } = difference;
    let Some((start, name)) = function(object, *section, *ours) else { return String::new() };
    let code = object[*section].data.get(start as usize..).unwrap_or_default();
    let into = (*ours - start) as usize;
    let compiled = lines(code, into, &|instruction, at| {
        let from = start + at as u64;
        let fields = object[*section].relocations_in(from..from + instruction.len() as u64);
        fields.first().map(|field| field_name(object, field))
    });
    // The other side is in step with ours up to the difference, or its listing begins elsewhere.
    let begins = theirs.offset(-(into as i64));
    let code = running.bytes(begins).unwrap_or_default();
    let runs = lines(code, into, &|instruction, at| {
        let here = begins.offset(at as i64);
        target(instruction, here, running)
    });
    format!("  compiled, in {name}:\n{compiled}  running, at {}:\n{runs}", running.name_of(*theirs))
}

/// The function that a place is in: where it begins, and its name.
pub fn function(object: &ObjectFile, section: SectionId, at: u64) -> Option<(u64, &str)> {
    let symbols = object.symbols_by_section();
    let functions = symbols.of(section).iter().map(|id| &object[*id]);
    let mut functions = functions.filter(|s| s.kind == SymbolKind::Function && s.value <= at);
    functions.next_back().map(|symbol| (symbol.value, symbol.name.as_str()))
}

fn field_name(object: &ObjectFile, field: &kpatch_elf::Relocation) -> String {
    let symbol = &object[field.symbol];
    let name = match symbol.section().filter(|_| symbol.name.is_empty()) {
        Some(section) => &object[section].name,
        None => &symbol.name,
    };
    // Nearly all PC-relative fields end their instruction.
    let bias = if field.kind.is_pc_relative() { 4 } else { 0 };
    match field.addend + bias {
        0 => name.clone(),
        addend if addend < 0 => format!("{name}-{:#x}", addend.unsigned_abs()),
        addend => format!("{name}+{addend:#x}"),
    }
}

/// What an instruction that runs refers to, by name.
fn target(instruction: &Instruction, here: Place, running: &dyn Running) -> Option<String> {
    let end = here.offset(instruction.len() as i64);
    if let Place::Section(..) = here {
        let fields = (1..instruction.len() as i64).map(|at| here.offset(at));
        let kinds = [RelocationKind::PC32, RelocationKind::ABS32S, RelocationKind::ABS64];
        let mut found = fields.flat_map(|slot| {
            kinds.into_iter().filter_map(move |kind| {
                let bias = if kind.is_pc_relative() { -4 } else { 0 };
                running.symbol_of_slot(slot, kind, bias)
            })
        });
        return found.next().map(|place| running.name_of(place).into_owned());
    }
    let from = instruction.next_ip();
    let relative = |to: u64| end.offset(to.wrapping_sub(from) as i64);
    let place = if matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32) {
        relative(instruction.near_branch_target())
    } else if instruction.is_ip_rel_memory_operand() {
        relative(instruction.ip_rel_memory_address())
    } else {
        return None;
    };
    Some(running.name_of(place).into_owned())
}

/// The instructions around the one that holds byte `marked`, from the start of a function.
fn lines(
    code: &[u8],
    marked: usize,
    name: &dyn Fn(&Instruction, usize) -> Option<String>,
) -> String {
    let decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut shown: Vec<(usize, Instruction)> = Vec::new();
    let mut behind = 0;
    for instruction in decoder {
        let at = instruction.ip() as usize;
        shown.push((at, instruction));
        if at + instruction.len() > marked {
            behind += 1;
        }
        if behind > BEHIND {
            break;
        }
    }
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_first_operand_char_index(7);
    let first = shown.len().saturating_sub(BEFORE + BEHIND + 1);
    let mut text = String::new();
    for (at, instruction) in shown.iter().skip(first) {
        let mark = if (*at..at + instruction.len()).contains(&marked) { '>' } else { ' ' };
        let mut words = String::new();
        formatter.format(instruction, &mut words);
        let comment = name(instruction, *at).map(|name| format!("  # {name}")).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {mark} +{at:#x}\t{words}{comment}");
    }
    text
}

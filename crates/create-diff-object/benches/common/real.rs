//! Objects of a real kernel, from the cache that kpatch-build fills, and a way to change one
//! instruction of them.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use iced_x86::Code;
use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::Instruction;
use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;

/// Where kpatch-build and the scripts keep what is made once.
pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/kpatch");
    env::var_os("KPATCH_CACHE").map_or_else(home, PathBuf::from)
}

/// The objects of the cache, the biggest first.
pub(crate) fn objects() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&cache().join("objects"), &mut found);
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn collect(directory: &Path, found: &mut Vec<(u64, PathBuf)>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "o") {
            found.push((entry.metadata().map_or(0, |m| m.len()), path));
        }
    }
}

/// A copy in which one function does something else: a short conditional jump in it has the opposite
/// condition, or it sets a register to another constant. With the function's name; it is one that can be
/// patched, half way through the object.
pub(crate) fn changed(object: &ObjectFile) -> Option<(String, ObjectFile)> {
    let functions: Vec<_> =
        object.symbols.iter().filter(|s| s.is_defined_function() && s.size > 0).collect();
    let half = functions.len() / 2;
    let order = functions[half..].iter().chain(&functions[..half]);
    for symbol in order {
        let section = symbol.section()?;
        let plain = object[section].name == format!(".text.{}", symbol.name);
        if !plain || symbol.name.contains('.') || !calls_fentry(object, section, symbol.value) {
            continue;
        }
        let (start, end) = (symbol.value as usize, (symbol.value + symbol.size) as usize);
        let Some(at) = object[section].data.get(start..end).and_then(|code| {
            let relocated = |from: usize, to: usize| {
                let range = (start + from) as u64..(start + to) as u64;
                !object[section].relocations_in(range).is_empty()
            };
            what_to_change(code, relocated)
        }) else {
            continue;
        };
        let mut changed = object.clone();
        changed.sections[section.0 as usize].data[start + at] ^= 1;
        return Some((symbol.name.clone(), changed));
    }
    None
}

fn calls_fentry(object: &ObjectFile, section: SectionId, at: u64) -> bool {
    let first = object[section].relocations_in(at..at + 6).first();
    first.is_some_and(|relocation| object[relocation.symbol].name == "__fentry__")
}

/// The lowest byte of what can be changed.
fn what_to_change(code: &[u8], relocated: impl Fn(usize, usize) -> bool) -> Option<usize> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut constant = None;
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let (at, end) = (instruction.ip() as usize, instruction.next_ip() as usize);
        match instruction.code() {
            _ if instruction.is_jcc_short() && matches!(code[at], 0x70..=0x7f) => return Some(at),
            Code::Mov_r32_imm32 if !relocated(at, end) => constant = Some(end - 4),
            _ => {}
        }
    }
    constant
}

//! Objects of any number of functions, as gcc writes them for a kernel with `-ffunction-sections
//! -fdata-sections` and call padding: each function in a section of its own with a record of its
//! padding, a call, a string, a counter and a warning.

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::LINK_ORDER;
use kpatch_elf::section_flags::MERGE;
use kpatch_elf::section_flags::STRINGS;
use kpatch_elf::section_flags::WRITE;

/// Bytes of call padding before each function.
const PADDING: u64 = 16;
/// How many functions use the same counter.
const SHARED_BY: usize = 8;
/// Where the number that each function returns is in its code, behind the padding.
const RESULT: usize = 34;

/// The code of a function behind its padding.
#[rustfmt::skip]
const CODE: [u8; 43] = [
    0xe8, 0, 0, 0, 0,                 //  0 call __fentry__
    0x48, 0xc7, 0xc7, 0, 0, 0, 0,     //  5 mov $string,%rdi
    0xe8, 0, 0, 0, 0,                 // 12 call another
    0x48, 0xff, 0x05, 0, 0, 0, 0,     // 17 incq counter(%rip)
    0x85, 0xc0,                       // 24 test %eax,%eax
    0x74, 0x02,                       // 26 je 30
    0x0f, 0x0b,                       // 28 ud2
    0x90, 0x90, 0x90,                 // 30 nops
    0xb8, 0, 0, 0, 0,                 // 33 mov $result,%eax
    0xe9, 0, 0, 0, 0,                 // 38 jmp __x86_return_thunk
];

/// An object of `functions` functions.
pub(crate) fn object(functions: usize) -> ObjectFile {
    let mut object = ObjectFile::default();
    let strings = section(&mut object, ".rodata.str1.1", ALLOC | MERGE | STRINGS, 1, Vec::new());
    let bugs = section(&mut object, "__bug_table", ALLOC | WRITE, 1, Vec::new());
    object.sections[strings.id.0 as usize].entry_size = 1;
    let file = string(&mut object, strings.id, "drivers/synthetic/made.c");
    let fentry = object.add_symbol(Symbol::undefined("__fentry__", Binding::Global));
    let thunk = object.add_symbol(Symbol::undefined("__x86_return_thunk", Binding::Global));

    // Symbols first: a function may call one that comes after it.
    let mut counters = Vec::new();
    for number in 0..functions.div_ceil(SHARED_BY) {
        let name = format!("counter{number}");
        let place = section(&mut object, &format!(".data.{name}"), ALLOC | WRITE, 8, vec![0; 8]);
        counters.push(object.add_symbol(Symbol {
            size: 8,
            kind: SymbolKind::Object,
            definition: Definition::Section(place.id),
            ..Symbol::undefined(name, Binding::Local)
        }));
    }
    let mut placed = Vec::with_capacity(functions);
    for number in 0..functions {
        let mut code = vec![0x90; PADDING as usize];
        code.extend_from_slice(&CODE);
        let name = format!("function{number}");
        let text = section(&mut object, &format!(".text.{name}"), ALLOC | EXEC, 16, code);
        let binding = if number % 2 == 0 { Binding::Local } else { Binding::Global };
        let symbol = object.add_symbol(Symbol {
            value: PADDING,
            size: CODE.len() as u64,
            kind: SymbolKind::Function,
            definition: Definition::Section(text.id),
            ..Symbol::undefined(name, binding)
        });
        placed.push((text, symbol));
    }

    for (number, (text, _)) in placed.iter().enumerate() {
        let said = string(&mut object, strings.id, &format!("function number {number} was called"));
        let callee = placed[(number * 7 + 1) % functions].1;
        let code = &mut object.sections[text.id.0 as usize];
        code.data[PADDING as usize + RESULT..][..4].copy_from_slice(&(number as u32).to_le_bytes());
        code.relocations = [
            (1, RelocationKind::PLT32, fentry, -4),
            (8, RelocationKind::ABS32S, strings.symbol, said as i64),
            (13, RelocationKind::PLT32, callee, -4),
            (20, RelocationKind::PC32, counters[number / SHARED_BY], -4),
            (39, RelocationKind::PLT32, thunk, -4),
        ]
        .map(|(at, kind, symbol, addend)| Relocation { offset: PADDING + at, kind, symbol, addend })
        .to_vec();

        let warning = &mut object.sections[bugs.id.0 as usize];
        let at = warning.size;
        let pointer = |offset, symbol, addend| Relocation {
            offset,
            kind: RelocationKind::PC32,
            symbol,
            addend,
        };
        warning.relocations.push(pointer(at, text.symbol, PADDING as i64 + 28));
        warning.relocations.push(pointer(at + 4, strings.symbol, file as i64));
        warning.data.extend_from_slice(&[0; 8]);
        warning.data.extend_from_slice(&(number as u16).to_le_bytes());
        warning.data.extend_from_slice(&[1, 9]);
        warning.size += 12;

        let flags = ALLOC | WRITE | LINK_ORDER;
        let record = section(&mut object, "__patchable_function_entries", flags, 8, vec![0; 8]);
        let record = &mut object.sections[record.id.0 as usize];
        record.link = Some(text.id);
        record.relocations.push(Relocation {
            offset: 0,
            kind: RelocationKind::ABS64,
            symbol: text.symbol,
            addend: 0,
        });
    }
    object
}

/// A copy in which function `number` returns another number.
pub(crate) fn changed(object: &ObjectFile, number: usize) -> ObjectFile {
    let mut changed = object.clone();
    let name = format!(".text.function{number}");
    if let Some(id) = object.section_by_name(&name) {
        changed.sections[id.0 as usize].data[PADDING as usize + RESULT + 3] ^= 0x40;
    }
    changed
}

#[derive(Clone, Copy)]
struct Placed {
    id: SectionId,
    symbol: SymbolId,
}

fn section(object: &mut ObjectFile, name: &str, flags: u64, align: u64, data: Vec<u8>) -> Placed {
    let mut section = Section::progbits(name, flags, align);
    section.data = data;
    let id = object.add_section(section);
    let symbol = object.add_symbol(Symbol {
        kind: SymbolKind::Section,
        definition: Definition::Section(id),
        ..Symbol::undefined("", Binding::Local)
    });
    Placed { id, symbol }
}

fn string(object: &mut ObjectFile, section: SectionId, text: &str) -> u64 {
    let section = &mut object.sections[section.0 as usize];
    let at = section.size;
    section.data.extend_from_slice(text.as_bytes());
    section.data.push(0);
    section.size = section.data.len() as u64;
    at
}

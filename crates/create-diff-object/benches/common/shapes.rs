//! Objects in which one thing is there without number: what is linear over functions in sections of their
//! own may not be over these.

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;

use crate::common::synthetic;

/// Makes a pair of objects of so many things.
type Make = fn(usize) -> [ObjectFile; 2];

/// The pairs by what is there without number.
pub(crate) const SHAPES: [(&str, Make); 5] = [
    ("functions in one section", |number| one_section(number)),
    ("nameless data", |number| nameless_data(number)),
    ("nameless data, not changed", |number| {
        let [object, _] = nameless_data(number);
        [object.clone(), object]
    }),
    ("static variables of one name", |number| one_name(number)),
    ("changed functions", |number| all_changed(number)),
];

/// Every function calls the next, without relocation, as the assembler does it.
fn one_section(number: usize) -> [ObjectFile; 2] {
    let mut object = ObjectFile::default();
    let fentry = object.add_symbol(Symbol::undefined("__fentry__", Binding::Global));
    let mut text = Section::progbits(".sched.text", ALLOC | EXEC, 16);
    for index in 0..number {
        let at = text.data.len() as u64;
        let next: i32 = if index + 1 < number { 16 - 10 } else { -10 - 16 };
        text.data.extend_from_slice(&[0xe8, 0, 0, 0, 0, 0xe8]);
        text.data.extend_from_slice(&next.to_le_bytes());
        text.data.extend_from_slice(&[0x31, 0xc0, 0xc3, 0xcc, 0xcc, 0xcc]);
        let (kind, addend) = (RelocationKind::PLT32, -4);
        text.relocations.push(Relocation { offset: at + 1, kind, symbol: fentry, addend });
        object.add_symbol(Symbol {
            value: at,
            size: 13,
            kind: SymbolKind::Function,
            definition: Definition::Section(kpatch_elf::SectionId(0)),
            ..Symbol::undefined(format!("function{index}"), Binding::Global)
        });
    }
    let id = object.add_section(text);
    let mut patched = object.clone();
    // sub in place of xor
    patched.sections[id.0 as usize].data[number / 2 * 16 + 10] = 0x29;
    [object, patched]
}

/// One function refers to all places of one section of read-only data, and does so with another constant.
fn nameless_data(number: usize) -> [ObjectFile; 2] {
    let mut object = synthetic::object(8);
    let mut data = Section::progbits(".rodata", ALLOC, 8);
    for index in 0..number {
        data.data.extend_from_slice(&(index as u64 + 1).to_le_bytes());
    }
    let id = object.add_section(data);
    let base = object.add_symbol(Symbol {
        kind: SymbolKind::Section,
        definition: Definition::Section(id),
        ..Symbol::undefined("", Binding::Local)
    });
    let function = object.section_by_name(".text.function3").expect("it is made");
    let code = &mut object.sections[function.0 as usize];
    for index in 0..number {
        // mov place,%rax
        code.data.extend_from_slice(&[0x48, 0xc7, 0xc0, 0, 0, 0, 0]);
        code.relocations.push(Relocation {
            offset: code.data.len() as u64 - 4,
            kind: RelocationKind::ABS32S,
            symbol: base,
            addend: 8 * index as i64,
        });
    }
    code.size = code.data.len() as u64;
    let size = code.size - 16;
    for symbol in object.symbols.iter_mut().filter(|s| s.name == "function3") {
        symbol.size = size;
    }
    let mut patched = object.clone();
    patched.sections[id.0 as usize].data[8 * (number / 2)] ^= 0x40;
    [object, patched]
}

/// Static variables of as many functions, all called the same but for their numbers, which are others on
/// the patched side.
fn one_name(number: usize) -> [ObjectFile; 2] {
    let mut object = synthetic::object(number);
    let rename = |object: &mut ObjectFile, first: usize| {
        let variables = object.symbols.iter_mut().filter(|s| s.kind == SymbolKind::Object);
        for (number, symbol) in (first..).zip(variables) {
            symbol.name = format!("state.{number}");
        }
    };
    rename(&mut object, 1);
    let mut patched = synthetic::changed(&object, number / 2);
    rename(&mut patched, 1000);
    [object, patched]
}

/// Every function returns another number.
fn all_changed(number: usize) -> [ObjectFile; 2] {
    let object = synthetic::object(number);
    let mut patched = object.clone();
    for section in patched.sections.iter_mut().filter(|s| s.name.starts_with(".text.")) {
        section.data[16 + 34 + 3] ^= 0x40;
    }
    [object, patched]
}

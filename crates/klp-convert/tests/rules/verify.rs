//! Each rule of the finished module, broken once, behind the converter's back.

use crate::fixture::assemble;
use crate::fixture::intermediate;
use crate::fixture::refused;
use klp_convert::convert;
use klp_convert::verify;
use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::write;
use kpatch_refusal::Code;

fn finished() -> ObjectFile {
    convert(&intermediate(&[])).unwrap()
}

/// Verifies the finished module after a change to the model.
#[track_caller]
fn breaks(code: Code, fragment: &str, change: impl FnOnce(&mut ObjectFile)) {
    let mut module = finished();
    change(&mut module);
    refused(verify(&write(&module).unwrap()), code, fragment);
}

fn livepatch<'a>(
    module: &'a mut ObjectFile,
    name: &str,
) -> &'a mut kpatch_elf::LivepatchRelocations {
    module.livepatch.iter_mut().find(|l| l.name == name).unwrap()
}

fn symbol(module: &ObjectFile, name: &str) -> SymbolId {
    module.symbols_with_ids().find(|(_, s)| s.name == name).unwrap().0
}

const SAVED: &str = ".klp.sym.vmlinux.saved_command_line,0";
const HOOK: &str = ".klp.sym.nf_tables.nft_hook.isra.0,3";
const TEXT: &str = ".klp.rela.vmlinux..text";
const MODULE_TEXT: &str = ".klp.rela.nf_tables..text";

#[test]
fn the_report_says_what_is_in_the_module() {
    let report = verify(&write(&finished()).unwrap()).unwrap();
    assert_eq!(report.name, "probe");
    assert_eq!(report.functions.len(), 2);
    assert_eq!(report.symbols.len(), 4);
    assert_eq!(report.applied_with["nf_tables"].relocations, 2);
    assert_eq!(report.applied_with["vmlinux"].sections, 2);
    assert!(report.to_string().contains(SAVED));
}

#[test]
fn modinfo() {
    let cases = [
        ("livepatch=Y", "live=Y", Code::ModuleMalformed, "livepatch module"),
        ("license=GPL", "license=MIT", Code::ModuleMalformed, "licence"),
        ("license=GPL", "author=GPL", Code::ModuleMalformed, "licence"),
        ("vermagic=", "magic=", Code::ModuleMalformed, "which kernel"),
        ("name=probe", "name=vmlinux", Code::ModuleMalformed, "named"),
        ("name=probe", "alias=probe", Code::ModuleMalformed, "name the module"),
        ("section .modinfo", "section .modinfo2", Code::ModuleMalformed, "0 sections"),
        (".gnu.linkonce.this_module", ".gnu.other", Code::ModuleMalformed, "0 sections"),
    ];
    for (from, to, code, fragment) in cases {
        let module = convert(&intermediate(&[(from, to)])).unwrap();
        refused(verify(&write(&module).unwrap()), code, fragment);
    }
    let long = format!("name={}", "n".repeat(56));
    let module = convert(&intermediate(&[("name=probe", &long)])).unwrap();
    refused(verify(&write(&module).unwrap()), Code::NameTooLong, "55");
}

#[test]
fn livepatch_section_headers() {
    let bad = Code::ModuleMalformed;
    breaks(bad, "lacks SHF_ALLOC", |m| livepatch(m, TEXT).flags &= !2);
    breaks(bad, "lacks SHF_ALLOC", |m| livepatch(m, TEXT).flags &= !0x40);
    breaks(bad, "do not agree", |m| livepatch(m, TEXT).name = ".rela.x".into());
    breaks(bad, "name does not say", |m| livepatch(m, TEXT).name = ".klp.rela.vmlinux.x".into());
    breaks(bad, "not a livepatch name", |m| livepatch(m, TEXT).name = ".klp.rela.vmlinux".into());
    let long = format!(".klp.rela.{}..text", "m".repeat(56));
    breaks(Code::NameTooLong, "longer", |m| livepatch(m, TEXT).name = long);
    breaks(bad, "no loaded bytes", |m| {
        let target = m.section_by_name(".debug_info").unwrap();
        let relas = livepatch(m, TEXT);
        relas.target = target;
        relas.name = ".klp.rela.vmlinux..debug_info".into();
    });
    breaks(bad, "never apply", |m| {
        livepatch(m, MODULE_TEXT).name = ".klp.rela.other..text".into();
    });
    breaks(Code::UnsupportedSection, "is loaded, but", |m| {
        let target = m.section_by_name("__jump_table").unwrap();
        let relas = livepatch(m, MODULE_TEXT);
        relas.target = target;
        relas.name = ".klp.rela.nf_tables.__jump_table".into();
    });
}

#[test]
fn livepatch_relocations() {
    let bad = Code::ModuleMalformed;
    breaks(bad, "not SHN_LIVEPATCH", |m| {
        let puts = symbol(m, "seq_puts");
        livepatch(m, TEXT).relocations[0].symbol = puts;
    });
    breaks(bad, "not SHN_LIVEPATCH", |m| {
        livepatch(m, TEXT).relocations[0].symbol = SymbolId::NULL;
    });
    breaks(bad, "without effect", |m| {
        livepatch(m, TEXT).relocations[0].kind = RelocationKind::NONE;
    });
    breaks(Code::UnsupportedRelocation, "type 42", |m| {
        livepatch(m, TEXT).relocations[0].kind = RelocationKind(42);
    });
    breaks(bad, "outside", |m| livepatch(m, TEXT).relocations[0].offset = 1 << 40);
    breaks(bad, "not zero", |m| livepatch(m, TEXT).relocations[0].offset -= 1);
    breaks(bad, "overlap", |m| {
        let first = livepatch(m, TEXT).relocations[0];
        livepatch(m, TEXT).relocations.push(first);
    });
    breaks(bad, "forbids", |m| {
        let saved = symbol(m, SAVED);
        livepatch(m, MODULE_TEXT).relocations[0].symbol = saved;
    });
    breaks(Code::ModuleDependency, "may not be loaded", |m| {
        let hook = symbol(m, HOOK);
        livepatch(m, TEXT).relocations[0].symbol = hook;
    });
}

#[test]
fn ordinary_relocations() {
    breaks(Code::ModuleMalformed, "its value is 0", |m| {
        let saved = symbol(m, SAVED);
        let data = m.section_by_name(".data").unwrap();
        m.sections[data.0 as usize].relocations[0].symbol = saved;
    });
    breaks(Code::UnsupportedRelocation, "type 9", |m| {
        let data = m.section_by_name(".data").unwrap();
        m.sections[data.0 as usize].relocations[0].kind = RelocationKind(9);
    });
    breaks(Code::ModuleMalformed, "overlap", |m| {
        let data = m.section_by_name(".data").unwrap();
        let place = &mut m.sections[data.0 as usize].relocations;
        let near = Relocation { offset: 4, kind: RelocationKind::ABS32, ..place[0] };
        place.push(near);
    });
}

#[test]
fn symbols() {
    let bad = Code::ModuleMalformed;
    let rename = |old: &'static str, new: &'static str| {
        move |m: &mut ObjectFile| {
            let id = symbol(m, old);
            m.symbols[id.0 as usize].name = new.into();
        }
    };
    breaks(bad, "not a livepatch name", rename(SAVED, ".klp.sym.vmlinux.x"));
    breaks(bad, "not a livepatch name", rename(SAVED, "x"));
    breaks(bad, "not SHN_LIVEPATCH", rename("seq_puts", ".klp.sym.vmlinux.seq_puts,0"));
    breaks(bad, "intermediate", rename("seq_puts", ".kpatch.placeholder.a.b.c.0"));
    breaks(Code::WeakUndefinedLeft, "address 0", |m| {
        m.add_symbol(Symbol::undefined("stray", Binding::Weak));
    });
    breaks(bad, "common", |m| {
        let id = symbol(m, "seq_puts");
        m.symbols[id.0 as usize].definition = Definition::Common;
    });
    breaks(bad, "is local", |m| {
        let id = symbol(m, SAVED);
        m.symbols[id.0 as usize].binding = Binding::Local;
    });
}

#[test]
fn sections_and_code() {
    breaks(Code::ModuleMalformed, "left of the intermediate", |m| {
        m.add_section(Section::progbits(".kpatch.placeholders", 2, 8));
    });
    breaks(Code::RuntimeConst, "only boot code", |m| {
        m.add_section(Section::progbits("runtime_ptr_dentry_hashtable", 2, 1));
    });
    let dummy = ("    xorl %eax, %eax\n", "    movabsq $0x0123456789abcdef, %r9\n");
    let module = convert(&intermediate(&[dummy])).unwrap();
    refused(verify(&write(&module).unwrap()), Code::RuntimeConst, "dummy");
}

#[test]
fn table_of_functions() {
    let cases = [
        (".quad new_static, old_static", ".quad new_static + 1, old_static", "names no function"),
        (".quad new_static, old_static", ".quad 0, old_static", "names no function"),
        (".quad new_static, old_static", ".quad new_static, 0", "no name to patch"),
        ("old_static, patched_module, 1", "old_static, patched_module", "sequence of records"),
        ("old_static, patched_module, 1", "old_static, 0, 1", "never apply"),
        ("old_static, patched_module, 1", "old_static, seq_puts, 1", "no object name"),
    ];
    for (from, to, fragment) in cases {
        let module = convert(&intermediate(&[(from, to)])).unwrap();
        refused(verify(&write(&module).unwrap()), Code::ModuleMalformed, fragment);
    }
}

#[test]
fn table_of_callbacks() {
    let old = "    .section .kpatch.placeholder_strings,\"a\",@progbits\n";
    let with = |record: &str| {
        let table = format!("    .section .kpatch.callbacks,\"a\",@progbits\n{record}\n{old}");
        let module = convert(&intermediate(&[(old, &table)])).unwrap();
        verify(&write(&module).unwrap())
    };
    with(".quad new_show, patched_module, 3").unwrap();
    let cases = [
        (".quad new_show + 1, patched_module, 0", "names no function"),
        (".quad 0, patched_module, 0", "names no function"),
        (".quad new_show, seq_puts, 0", "no object name"),
        (".quad new_show, patched_module, 4", "no kind of callback"),
        (".quad new_show, patched_module", "sequence of records"),
    ];
    for (record, fragment) in cases {
        refused(with(record), Code::ModuleMalformed, fragment);
    }
}

#[test]
fn an_object_with_callbacks_only_has_its_relocations_applied() {
    let callback =
        "    .section .kpatch.callbacks,\"a\",@progbits\n    .quad new_show, patched_module, 0\n";
    let function = ".quad new_static, old_static, patched_module, 1\n";
    let without = ".quad new_static, old_static, 0, 1\n";
    let module = convert(&intermediate(&[(function, without)])).unwrap();
    refused(verify(&write(&module).unwrap()), Code::ModuleMalformed, "never apply");
    let module = convert(&intermediate(&[(function, &format!("{without}{callback}"))])).unwrap();
    verify(&write(&module).unwrap()).unwrap();
}

/// Changes a field of the header of the section with that name: offset in `Elf64_Shdr`.
fn with_header_field(name: &str, field: usize, value: u32) -> Vec<u8> {
    let mut bytes = write(&finished()).unwrap();
    let number = |b: &[u8], at: usize, len: usize| {
        b[at..at + len].iter().rev().fold(0usize, |n, byte| (n << 8) | usize::from(*byte))
    };
    let table = number(&bytes, 40, 8);
    let names = number(&bytes, table + 64 * number(&bytes, 62, 2) + 24, 8);
    let header = (0..number(&bytes, 60, 2))
        .map(|index| table + 64 * index)
        .find(|at| {
            let start = names + number(&bytes, *at, 4);
            bytes[start..].starts_with(&[name.as_bytes(), b"\0"].concat())
        })
        .unwrap();
    bytes[header + field..header + field + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn what_the_model_cannot_express() {
    let bad = Code::ModuleMalformed;
    let (kind, link, info, entsize) = (4, 40, 44, 56);
    refused(verify(&with_header_field(TEXT, kind, 1)), bad, "not a relocation section");
    refused(verify(&with_header_field(TEXT, link, 1)), bad, "linked to the symbol table");
    refused(verify(&with_header_field(TEXT, info, 999)), bad, "has no target");
    refused(verify(&with_header_field(TEXT, entsize, 16)), bad, "not a table of relocations");
    refused(verify(&with_header_field(".rela.data", kind, 9)), bad, "without addend");
    refused(verify(&with_header_field(".symtab", kind, 1)), bad, "exactly one symbol table");
    refused(verify(&with_header_field(".symtab", info, 1)), bad, "local symbols");
    let mut foreign = write(&finished()).unwrap();
    foreign[18] = 40;
    refused(verify(&foreign), bad, "not an x86-64 module");
    refused(verify(b"\x7fELF"), bad, "not readable");
    refused(verify(b""), bad, "not readable");
    // A symbol in a section that does not exist.
    let mut bytes = write(&finished()).unwrap();
    let shndx = 0xff20u16.to_le_bytes();
    let global = [0x10, 0, shndx[0], shndx[1]];
    let at = bytes.windows(4).position(|w| w == global).unwrap();
    bytes[at + 2..at + 4].copy_from_slice(&0xfe00u16.to_le_bytes());
    refused(verify(&bytes), bad, "section 0xfe00");
}

#[test]
fn an_intermediate_module_is_no_livepatch_module() {
    refused(verify(&assemble(&[])), Code::WeakUndefinedLeft, "address 0");
}

use super::*;
use crate::decompress::tests::compress;
use crate::testing::Mutations;

const MODINFO: &[u8] = b"license=GPL\0depends=a-b,c\0name=test_module\0vermagic=6.12.1-test SMP \0";

/// The file of a module with these symbols (name, section; an empty section is undefined). Each
/// section appears once, in order of its first use, behind `.modinfo`.
pub(crate) fn module_file(symbols: &[(&str, &str)]) -> Vec<u8> {
    let mut names = vec!["", ".modinfo"];
    for (_, section) in symbols {
        if !names.contains(section) {
            names.push(section);
        }
    }
    let (symtab_index, strtab_index) = (names.len(), names.len() + 1);
    names.extend([".symtab", ".strtab"]);

    let mut strings = vec![0];
    let mut string = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.bytes());
        strings.push(0);
        at.to_le_bytes()
    };
    let mut symtab = vec![0; 24];
    for (name, section) in symbols {
        let index = names.iter().position(|known| known == section).unwrap() as u16;
        symtab.extend(string(name));
        // A local function.
        symtab.extend([2, 0]);
        symtab.extend(index.to_le_bytes());
        symtab.extend(16_u64.to_le_bytes());
        symtab.extend(8_u64.to_le_bytes());
    }
    let name_offsets: Vec<_> = names.iter().map(|name| string(name)).collect();

    let modinfo_at = 64;
    let symtab_at = (modinfo_at + MODINFO.len()).next_multiple_of(8);
    let strings_at = symtab_at + symtab.len();
    let headers_at = (strings_at + strings.len()).next_multiple_of(8);

    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    file.resize(16, 0);
    file.extend([1, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([0; 16]);
    file.extend((headers_at as u64).to_le_bytes());
    file.extend([0; 4]);
    for half in [64, 0, 0, 64, names.len(), strtab_index] {
        file.extend((half as u16).to_le_bytes());
    }
    file.extend(MODINFO);
    file.resize(symtab_at, 0);
    file.extend(&symtab);
    file.extend(&strings);
    file.resize(headers_at, 0);
    for (index, name) in name_offsets.iter().enumerate() {
        let (kind, flags, at, len, link, info, entry) = match index {
            0 => (0_u32, 0_u64, 0, 0, 0, 0_u32, 0),
            1 => (1, 2, modinfo_at, MODINFO.len(), 0, 0, 0),
            index if index == symtab_index => {
                (2, 0, symtab_at, symtab.len(), strtab_index, symbols.len() as u32 + 1, 24_u64)
            }
            index if index == strtab_index => (3, 0, strings_at, strings.len(), 0, 0, 0),
            _ => (8, 2, symtab_at, 64, 0, 0, 0),
        };
        file.extend(name);
        file.extend(kind.to_le_bytes());
        for word in [flags, 0, at as u64, len as u64] {
            file.extend(word.to_le_bytes());
        }
        file.extend((link as u32).to_le_bytes());
        file.extend(info.to_le_bytes());
        file.extend(1_u64.to_le_bytes());
        file.extend(entry.to_le_bytes());
    }
    file
}

pub(crate) fn module(symbols: &[(&str, &str)]) -> Module {
    Module::parse("test-module.ko", module_file(symbols)).unwrap()
}

#[test]
fn reads_symbols_in_the_order_of_the_table() {
    let module = module(&[("b", ".text"), ("a", ".init.text"), ("b", ""), ("m", ".modinfo")]);
    let names: Vec<&str> = module.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
    assert_eq!(names, ["", "b", "a", "b", "m"]);
    let sections: Vec<_> =
        module.symbols.iter().map(|symbol| module.section_name(symbol)).collect();
    assert_eq!(sections, [None, Some(".text"), Some(".init.text"), None, Some(".modinfo")]);
    let core: Vec<bool> = module.symbols.iter().map(|symbol| module.is_core(symbol)).collect();
    assert_eq!(core, [false, true, false, false, false]);
    let first = &module.symbols[1];
    assert_eq!((first.value, first.size), (16, 8));
    assert_eq!((first.kind, first.binding), (SymbolKind::Function, Binding::Local));
    assert_eq!(module.symbols[3].section, SymbolSection::Undefined);
}

#[test]
fn reads_what_a_module_says_of_itself() {
    let module = module(&[("a", ".text")]);
    assert_eq!(module.name, "test_module");
    assert_eq!(module.depends, ["a_b", "c"]);
    assert_eq!(module.vermagic, "6.12.1-test SMP ");
    assert_eq!(module.build_id, None);
}

#[test]
fn finds_and_reads_every_compression() {
    let tree = tempfile::tempdir().unwrap();
    let directory = tree.path().join("kernel/drivers/x");
    fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink(tree.path(), tree.path().join("build")).unwrap();
    let plain = module_file(&[("a", ".text")]);
    for (file, compression) in [
        ("one-module.ko", None),
        ("two_module.ko.xz", Some(Compression::Xz)),
        ("three-module.ko.zst", Some(Compression::Zstd)),
        ("four-module.ko.gz", Some(Compression::Gzip)),
    ] {
        let data = compression.map_or(plain.clone(), |kind| compress(kind, &plain));
        fs::write(directory.join(file), data).unwrap();
    }
    for name in ["one_module", "two-module", "three-module", "four_module"] {
        let path = find_module(tree.path(), name).unwrap();
        assert_eq!(Module::read(&path).unwrap().elf, plain, "{name}");
    }
}

#[test]
fn says_why_a_module_is_not_found() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("modules.builtin"), "kernel/fs/ext-x.ko\n").unwrap();
    let message = |name: &str| {
        let Refusals(all) = find_module(tree.path(), name).unwrap_err();
        assert_eq!(all[0].code, Code::TargetIncomplete);
        all[0].message.clone()
    };
    assert!(message("ext_x").contains("built into"));
    assert!(message("absent").contains("not among"));
    for directory in ["kernel", "updates"] {
        fs::create_dir(tree.path().join(directory)).unwrap();
        fs::write(tree.path().join(directory).join("twin.ko"), "").unwrap();
    }
    assert!(message("twin").contains("twice"));
    assert!(Module::read(&tree.path().join("kernel/twin.ko")).is_err());
    assert!(find_module(&tree.path().join("nowhere"), "x").is_err());
}

/// A modules directory with these files, and `modules.dep` if `list` says what is in it.
fn modules_directory(files: &[&str], list: Option<&str>) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for file in files {
        let path = tree.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    if let Some(list) = list {
        fs::write(tree.path().join("modules.dep"), list).unwrap();
    }
    tree
}

#[test]
fn modules_dep_decides() {
    let files = ["kernel/a-b.ko.xz", "updates/a_b.ko", "kernel/c.ko", "kernel/a-b-c.ko"];
    let list = "kernel/a-b-c.ko: kernel/a-b.ko.xz kernel/c.ko\nupdates/a_b.ko: kernel/c.ko\n";
    let tree = modules_directory(&files, Some(list));
    let found = |name: &str| find_module(tree.path(), name).unwrap();
    assert_eq!(found("a_b"), tree.path().join("updates/a_b.ko"));
    assert_eq!(found("a-b-c"), tree.path().join("kernel/a-b-c.ko"));
    assert_eq!(found("c"), tree.path().join("kernel/c.ko"), "not listed, but there");
    let absolute = format!("{}:\n", tree.path().join("kernel/a-b.ko.xz").display());
    fs::write(tree.path().join("modules.dep"), absolute).unwrap();
    assert_eq!(found("a_b"), tree.path().join("kernel/a-b.ko.xz"));
    // Without the list nothing says which of the two it is.
    fs::remove_file(tree.path().join("modules.dep")).unwrap();
    assert!(find_module(tree.path(), "a_b").unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_modules_dep_that_is_not_true_is_refused() {
    let refusal = |list: &str| {
        let tree = modules_directory(&["kernel/x.ko", "updates/x.ko"], Some(list));
        let Refusals(all) = find_module(tree.path(), "x").unwrap_err();
        assert_eq!(all[0].code, Code::TargetIncomplete);
        (all[0].message.clone(), all[0].place.line, all[0].hint.clone())
    };
    let (message, line, hint) = refusal("kernel/y.ko:\nkernel/x.ko.xz: kernel/y.ko\n");
    assert!(message.contains("`kernel/x.ko.xz`") && message.contains("not there"), "{message}");
    assert_eq!(line, Some(2));
    assert!(hint.contains("depmod"), "{hint}");
    let (message, line, _) = refusal("kernel/x.ko:\nupdates/x.ko:\n");
    assert!(message.contains("twice"), "{message}");
    assert_eq!(line, Some(2));
    assert!(refusal("kernel/x.ko\n").0.contains("is not a line"));
}

#[test]
fn damaged_modules_never_panic() {
    let plain = module_file(&[("a", ".text"), ("b", ".init.text"), ("c", "")]);
    let mut refused = 0;
    for data in Mutations::of(&plain, 400) {
        match Module::parse("x.ko", data) {
            Ok(module) => {
                for index in 0..module.symbols.len() {
                    module.section_name(&module.symbols[index]);
                    crate::symbols::module_position(&module, index);
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100, "{refused} of 400 damaged modules were refused");
}

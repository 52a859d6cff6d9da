//! Whatever model can be written reads back as it was: models that no compiler makes, and all objects
//! that are at hand.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::Group;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::read;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::LINK_ORDER;
use kpatch_elf::section_flags::WRITE;
use kpatch_elf::write;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[._a-zA-Z][._a-zA-Z0-9]{0,12}", "\\.text\\.[a-z]{1,6}", "[^\0]{1,8}"]
}

fn kind() -> impl Strategy<Value = SectionKind> {
    prop_oneof![
        4 => Just(SectionKind::Progbits),
        1 => Just(SectionKind::Nobits),
        1 => Just(SectionKind::Note),
        1 => Just(SectionKind::Group),
        1 => prop_oneof![Just(14u32), Just(0x7000_0001)].prop_map(SectionKind::Other),
    ]
}

fn section() -> impl Strategy<Value = Section> {
    let flags = prop_oneof![Just(0), Just(ALLOC), Just(ALLOC | WRITE), Just(ALLOC | EXEC)];
    let align = prop_oneof![Just(0u64), (0u32..13).prop_map(|bits| 1 << bits)];
    (name(), kind(), flags, align, 0u64..64, vec(any::<u8>(), 0..80)).prop_map(
        |(name, kind, flags, align, entry_size, data)| {
            let bytes = data.len() as u64;
            let (size, data) = match kind {
                SectionKind::Group => (0, Vec::new()),
                SectionKind::Nobits => (bytes << 20, Vec::new()),
                _ => (bytes, data),
            };
            let mut section = Section::progbits(name, flags, align);
            (section.kind, section.entry_size) = (kind, entry_size);
            (section.size, section.data) = (size, data);
            section
        },
    )
}

fn symbol() -> impl Strategy<Value = (Symbol, Index)> {
    let binding = prop_oneof![Just(Binding::Local), Just(Binding::Global), Just(Binding::Weak)];
    let kind = prop_oneof![
        Just(SymbolKind::None),
        Just(SymbolKind::Object),
        Just(SymbolKind::Function),
        Just(SymbolKind::Section),
        Just(SymbolKind::File),
        Just(SymbolKind::Other(6)),
    ];
    let definition = prop_oneof![
        1 => Just(Definition::Undefined),
        1 => Just(Definition::Absolute),
        1 => Just(Definition::Common),
        1 => Just(Definition::Livepatch),
        4 => Just(Definition::Section(SectionId(0))),
    ];
    let names = prop_oneof![Just(String::new()), name()];
    let numbers = (any::<u64>(), any::<u64>(), any::<u8>());
    (names, numbers, binding, kind, definition, any::<Index>()).prop_map(
        |(name, (value, size, other), binding, kind, definition, section)| {
            (Symbol { name, value, size, binding, kind, other, definition }, section)
        },
    )
}

/// A relocation before it is known what there is: its section, its offset, its symbol.
type Draft = (Index, Index, RelocationKind, Index, i64);

fn relocation() -> impl Strategy<Value = Draft> {
    let kind = (0u32..44).prop_map(RelocationKind);
    (any::<Index>(), any::<Index>(), kind, any::<Index>(), any::<i64>())
}

prop_compose! {
    fn model()(
        sections in vec(section(), 0..12),
        symbols in vec(symbol(), 0..16),
        drafts in vec(relocation(), 0..40),
        links in vec((any::<Index>(), any::<Index>()), 0..4),
        header_flags in any::<u32>(),
    ) -> ObjectFile {
        let mut object = ObjectFile { header_flags, ..ObjectFile::default() };
        object.sections = sections;
        let count = object.sections.len();
        object.symbols.extend(symbols.into_iter().map(|(mut symbol, section)| {
            if symbol.section().is_some() {
                symbol.definition = match count {
                    0 => Definition::Undefined,
                    _ => Definition::Section(SectionId(section.index(count) as u32)),
                };
            }
            symbol
        }));
        // The order that ELF demands; the writer would make it so.
        object.symbols[1..].sort_by_key(|symbol| symbol.binding != Binding::Local);
        let symbols = object.symbols.len();
        for (section, offset, kind, symbol, addend) in drafts {
            let Some(section) = pick(&mut object.sections, section) else { continue };
            let width = kind.width().unwrap_or(0) as u64;
            if section.kind == SectionKind::Group || section.size < width {
                continue;
            }
            let offset = offset.index((section.size - width + 1) as usize) as u64;
            let symbol = SymbolId(symbol.index(symbols) as u32);
            section.relocations.push(Relocation { offset, kind, symbol, addend });
        }
        for section in &mut object.sections {
            section.relocations.sort_by_key(|relocation| relocation.offset);
        }
        for (from, to) in links {
            let to = (count > 0).then(|| SectionId(to.index(count) as u32));
            let Some(section) = pick(&mut object.sections, from) else { continue };
            section.flags |= LINK_ORDER;
            section.link = to;
        }
        for index in 0..count {
            if object.sections[index].kind == SectionKind::Group {
                let members = (0..index as u32).map(SectionId).collect();
                let signature = SymbolId(index as u32 % symbols as u32);
                object.sections[index].group = Some(Group { flags: 1, signature, members });
                // What a group's header links to is the symbol table.
                object.sections[index].link = None;
                object.sections[index].flags &= !LINK_ORDER;
            }
        }
        object
    }
}

fn pick(sections: &mut [Section], index: Index) -> Option<&mut Section> {
    let count = sections.len();
    (count > 0).then(|| &mut sections[index.index(count)])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_model_reads_back(object in model()) {
        let bytes = write(&object).unwrap();
        prop_assert_eq!(read(&bytes).unwrap(), object);
    }
}

/// Objects of the cache that kpatch-build fills, and the pairs beside the project.
fn objects_at_hand() -> Vec<PathBuf> {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/kpatch");
    let cache = env::var_os("KPATCH_CACHE").map_or_else(home, PathBuf::from);
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/unit-objs");
    let mut found = Vec::new();
    collect(&cache.join("objects"), &mut found);
    collect(&shared, &mut found);
    found.sort();
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "o") {
            found.push(path);
        }
    }
}

#[test]
fn real_objects_read_back() {
    let objects = objects_at_hand();
    if objects.is_empty() {
        eprintln!("SKIPPED: no object in the cache");
    }
    for path in objects {
        let object = read(&fs::read(&path).unwrap()).unwrap();
        let again = read(&write(&object).unwrap()).unwrap();
        // Not assert_eq!: nobody wants to read two whole objects.
        assert!(again == object, "{} does not read back", path.display());
    }
}

#[test]
fn more_sections_than_a_symbol_can_number_read_back() {
    let mut object = ObjectFile::default();
    for number in 0..70_000u32 {
        let id = object.add_section(Section::progbits(format!(".text.f{number}"), ALLOC, 1));
        object.add_symbol(Symbol {
            definition: Definition::Section(id),
            ..Symbol::undefined(format!("f{number}"), Binding::Global)
        });
    }
    assert!(read(&write(&object).unwrap()).unwrap() == object);
}

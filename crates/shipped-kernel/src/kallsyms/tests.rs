use super::*;
use crate::testing::Mutations;
use crate::testing::elf_image;
use crate::testing::kernel::BASE;
use crate::testing::table::Listed;
use crate::testing::table::Rule;
use crate::testing::table::TABLE;
use crate::testing::table::encode;
use crate::testing::table::encode_with;
use crate::testing::with_symbol_table;

const BANNER: &str = "Linux version 6.12.1-test (a@b) (gcc-12 (x) 12.2.0, GNU ld 2.40) #1 SMP";

/// `count` symbols after some fixed ones, with duplicates, aliases and a name of two length bytes.
fn symbols(rule: Rule, count: usize) -> Vec<Listed> {
    let mut symbols = Vec::new();
    if rule == Rule::AbsolutePercpu {
        symbols.push((0, 'A', "fixed_percpu_data".to_string()));
        symbols.push((0x1000, 'A', "per_cpu__x".to_string()));
    }
    symbols.push((BASE, 'T', "_text".to_string()));
    symbols.push((BASE + 8, 'D', "linux_banner".to_string()));
    symbols.push((BASE + 0x200, 't', "x".repeat(200)));
    for index in 0..count as u64 {
        let name = match index % 5 {
            0 => "show".to_string(),
            1 => format!("sys_{index}"),
            _ => format!("__name{index}_init"),
        };
        symbols.push((
            BASE + 0x1000 + index / 2 * 16,
            if index % 5 == 1 { 'T' } else { 't' },
            name,
        ));
    }
    symbols
}

/// A table alone.
fn decode(table: &[u8]) -> Result<Kallsyms, String> {
    Kallsyms::decode(table, &|offset| Some(TABLE + offset as u64))
}

/// A decoded table, for other modules' tests: with per-CPU symbols counted from 0, or without.
pub(crate) fn decoded(absolute_percpu: bool) -> Kallsyms {
    let rule = if absolute_percpu { Rule::AbsolutePercpu } else { Rule::Relative };
    let symbols = symbols(rule, 300);
    decode(&encode(Layout::OffsetsBehindTokens, rule, &symbols).unwrap()).unwrap()
}

const FORMS: [(Layout, Rule); 5] = [
    (Layout::PlaceRelative, Rule::Relative),
    (Layout::OffsetsBehindTokens, Rule::Relative),
    (Layout::OffsetsBehindTokens, Rule::AbsolutePercpu),
    (Layout::OffsetsBeforeNames, Rule::Relative),
    (Layout::OffsetsBeforeNames, Rule::AbsolutePercpu),
];

/// A kernel with banner and table in one segment.
fn kernel(table: &[u8]) -> Vec<u8> {
    let mut content = format!("01234567{BANNER}\n\0").into_bytes();
    content.resize((TABLE - BASE) as usize, 0x90);
    content.extend(table);
    content.extend([0x90; 600]);
    elf_image(BASE, &content, &[7; 20])
}

#[test]
fn decodes_what_an_independent_encoder_wrote() {
    for (layout, rule) in FORMS {
        // Around the steps of the markers, and odd and even numbers of them.
        for count in [0, 1, 252, 253, 254, 255, 509, 510, 3000] {
            let symbols = symbols(rule, count);
            let elf = kernel(&encode(layout, rule, &symbols).unwrap());
            let image = Image::parse("vmlinux", elf).unwrap();
            let kallsyms = Kallsyms::read(&image).unwrap();
            assert_eq!(kallsyms.layout(), layout);
            let addressing = match (layout, rule) {
                (Layout::PlaceRelative, _) => Addressing::PlaceRelative,
                (_, Rule::Relative) => Addressing::Relative,
                (_, Rule::AbsolutePercpu) => Addressing::AbsolutePercpu,
            };
            assert_eq!(kallsyms.addressing(), addressing);
            assert_eq!(kallsyms.len(), symbols.len());
            for (symbol, (address, kind, name)) in kallsyms.iter().zip(&symbols) {
                assert_eq!(symbol, Symbol { address: *address, kind: *kind, name });
            }
        }
    }
}

/// A `vmlinux` may come with a symbol table; what the kernel looks names up in is still kallsyms.
#[test]
fn a_symbol_table_beside_it_changes_nothing() {
    let symbols = symbols(Rule::Relative, 20);
    let elf = kernel(&encode(Layout::OffsetsBehindTokens, Rule::Relative, &symbols).unwrap());
    let with_table = with_symbol_table(elf.clone(), &[("sys_1", BASE + 0x77), ("other", BASE)]);
    let header = object::File::parse(with_table.as_slice()).unwrap();
    assert_eq!(object::Object::symbols(&header).count(), 2, "it is a symbol table");
    let read = |elf: Vec<u8>| {
        let image = Image::parse("vmlinux", elf).unwrap();
        assert_eq!((image.compression(), image.build_id.clone()), (None, Some(vec![7; 20])));
        let kallsyms = Kallsyms::read(&image).unwrap();
        kallsyms.iter().map(|symbol| format!("{symbol:?}")).collect::<Vec<_>>()
    };
    assert_eq!(read(with_table), read(elf));
}

#[test]
fn decodes_the_older_layout_with_an_order_by_name() {
    for rule in [Rule::Relative, Rule::AbsolutePercpu] {
        for count in [0, 1, 2, 3, 252, 253, 254, 3000] {
            let symbols = symbols(rule, count);
            let table = encode_with(Layout::OffsetsBeforeNames, true, rule, &symbols).unwrap();
            let kallsyms = decode(&table).unwrap();
            assert_eq!(kallsyms.layout(), Layout::OffsetsBeforeNames);
            let names: Vec<&str> = kallsyms.iter().map(|symbol| symbol.name).collect();
            assert!(names.iter().eq(symbols.iter().map(|(_, _, name)| name)));
        }
    }
}

/// A length of 0x80 and more takes two bytes; the longest name has 511.
#[test]
fn long_names_are_whole() {
    for (layout, rule) in FORMS {
        let mut symbols = symbols(rule, 10);
        for len in [125, 126, 127, 128, 255, 256, 511] {
            symbols.push((BASE + 0x9000, 't', "y".repeat(len)));
        }
        let kallsyms = decode(&encode(layout, rule, &symbols).unwrap()).unwrap();
        let names: Vec<&str> = kallsyms.iter().map(|symbol| symbol.name).collect();
        assert!(names.iter().eq(symbols.iter().map(|(_, _, name)| name)), "{layout:?} {rule:?}");
    }
}

#[test]
fn positions_are_in_table_order() {
    for (layout, rule) in FORMS {
        let symbols = symbols(rule, 1000);
        let kallsyms = decode(&encode(layout, rule, &symbols).unwrap()).unwrap();
        for name in ["show", "_text", "sys_1", "absent", "", "zzz"] {
            let expected: Vec<usize> =
                (0..symbols.len()).filter(|&index| symbols[index].2 == name).collect();
            assert_eq!(kallsyms.positions(name), expected, "{name}");
        }
    }
}

#[test]
fn aliases_share_address_and_size() {
    let symbols = symbols(Rule::Relative, 10);
    let table = encode(Layout::OffsetsBehindTokens, Rule::Relative, &symbols).unwrap();
    let kallsyms = decode(&table).unwrap();
    assert_eq!(kallsyms.at(BASE + 0x1000), 3..5);
    assert_eq!(kallsyms.at(BASE + 0x1001), 5..5);
    assert_eq!((kallsyms.size(3), kallsyms.size(4)), (Some(16), Some(16)));
    assert_eq!(kallsyms.size(kallsyms.len() - 1), None);
    assert_eq!(kallsyms.size(kallsyms.len()), None);
}

#[test]
fn an_address_belongs_to_the_symbol_before_it() {
    let kallsyms = decoded(true);
    let name = |address| kallsyms.get(kallsyms.containing(address)?).map(|symbol| symbol.name);
    assert_eq!(name(0xfff), Some("fixed_percpu_data"));
    assert_eq!(name(0x1000), Some("per_cpu__x"));
    assert_eq!(name(0x1001), None, "behind the per-CPU symbols");
    assert_eq!(name(BASE - 1), None);
    assert_eq!(name(BASE + 7), Some("_text"));
    assert_eq!(name(BASE + 8), Some("linux_banner"));
    assert_eq!(name(BASE + 0x1000 + 4), Some("show"), "the first of two aliases");
    let last = kallsyms.get(kallsyms.len() - 1).unwrap().address;
    assert!(name(last).is_some());
    assert_eq!(name(last + 1), None);
    assert_eq!(decoded(false).containing(0), None);
}

#[test]
fn a_table_that_contradicts_itself_is_refused() {
    let changed = |layout, change: &dyn Fn(&mut Vec<Listed>)| {
        let mut symbols = symbols(Rule::Relative, 600);
        change(&mut symbols);
        decode(&encode(layout, Rule::Relative, &symbols).unwrap()).map(|_| ())
    };
    for (layout, _) in FORMS {
        assert_eq!(changed(layout, &|_| ()), Ok(()));
        let unsorted = changed(layout, &|symbols| symbols.swap(10, 400)).unwrap_err();
        assert!(unsorted.contains("ascend"), "{unsorted}");
    }
    let table =
        encode(Layout::OffsetsBehindTokens, Rule::Relative, &symbols(Rule::Relative, 600)).unwrap();
    let twice = [table.as_slice(), &vec![0; (8 - table.len() % 8) % 8], &table].concat();
    assert!(decode(&twice).unwrap_err().contains("two"));
    // The last three bytes name the last symbol by name; the first three another one.
    let mut disordered = table.clone();
    let len = disordered.len();
    for byte in 0..3 {
        disordered.swap(len - 3 + byte, len - 6 + byte);
    }
    assert!(decode(&disordered).unwrap_err().contains("order by name"));
}

/// A table that is loaded nowhere has no addresses, in the layout whose offsets count from their place.
#[test]
fn a_table_that_is_not_loaded_is_refused() {
    let symbols = symbols(Rule::Relative, 20);
    let table = encode(Layout::PlaceRelative, Rule::Relative, &symbols).unwrap();
    let message = Kallsyms::decode(&table, &|_| None).unwrap_err();
    assert!(message.contains("not loaded"), "{message}");
    // And elsewhere the banner would be elsewhere, too.
    let moved = Kallsyms::decode(&table, &|offset| Some(TABLE + 16 + offset as u64)).unwrap();
    assert_eq!(moved.get(0).unwrap().address, BASE + 16);
}

#[test]
fn a_banner_elsewhere_is_refused() {
    let mut symbols = symbols(Rule::Relative, 20);
    symbols[1].0 += 1;
    let elf = kernel(&encode(Layout::OffsetsBehindTokens, Rule::Relative, &symbols).unwrap());
    let image = Image::parse("vmlinux", elf).unwrap();
    let Refusals(all) = Kallsyms::read(&image).unwrap_err();
    assert!(all[0].message.contains("linux_banner"));
}

#[test]
fn damaged_tables_never_panic() {
    for (layout, rule) in FORMS {
        let symbols = symbols(rule, 300);
        let table = encode(layout, rule, &symbols).unwrap();
        let mut refused = 0;
        for data in Mutations::of(&table, 300) {
            match decode(&data) {
                Ok(kallsyms) => assert_eq!(kallsyms.iter().count(), kallsyms.len()),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100, "{refused} of 300 damaged tables were refused");
    }
}

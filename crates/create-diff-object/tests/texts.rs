//! Texts that others write: a table of symbols, `Module.symvers`. Whatever they hold is an answer or an
//! error, and what is sound in them is found.

use std::collections::HashSet;

use create_diff_object::kernel::parent::listing::Listing;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::rela_section_object;
use proptest::collection::vec;
use proptest::prelude::*;
use shipped_kernel::symvers;

const LISTING: &str = "
Symbol table '.symtab' contains 6 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND 
     1: 0000000000000000     0 FILE    LOCAL  DEFAULT  ABS one.c
     2: ffffffff81000010    16 FUNC    LOCAL  DEFAULT    1 show
     3: ffffffff82000010     4 OBJECT  LOCAL  DEFAULT    2 count.1
     4: ffffffff81000020    16 FUNC    GLOBAL DEFAULT [<other>: 88]     1 show
     5: 0000000000000000     0 NOTYPE  GLOBAL DEFAULT  UND needed
";

const SYMVERS: &str = "0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n\
    0x12345678\tnf_hook\tnet/netfilter/nf\tEXPORT_SYMBOL_GPL\tNF\n";

/// A text with some bytes changed, lines among them doubled or cut off.
fn damaged(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0u8..4);
    vec(change, 0..6).prop_map(move |changes| {
        let mut bytes = text.as_bytes().to_vec();
        for (index, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] = b" \t\n0[]:,."[usize::from(byte) % 9],
                2 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    })
}

fn name() -> impl Strategy<Value = String> {
    "[_a-z][_a-z0-9.]{0,12}"
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_damaged_listing_is_read_or_refused(text in damaged(LISTING)) {
        let names = HashSet::from(["show", "needed"]);
        if let Ok(listing) = Listing::parse(&text, &names, &HashSet::from(["one.c"])) {
            // No more is found than there are lines.
            let lines = text.split(|byte| *byte == b'\n').count();
            prop_assert!(listing.named("show").len() + listing.named("needed").len() <= lines);
            prop_assert!(listing.files().len() <= lines);
        }
    }

    #[test]
    fn any_bytes_are_a_listing_or_not(text in vec(any::<u8>(), 0..200)) {
        let _ = Listing::parse(&text, &HashSet::new(), &HashSet::new());
    }

    #[test]
    fn every_symbol_that_is_asked_for_is_found(names in vec(name(), 1..40)) {
        let mut text = String::new();
        for (number, name) in names.iter().enumerate() {
            let address = 0xffff_ffff_8100_0000_u64 + number as u64;
            text += &format!("{number:>6}: {address:016x}    16 FUNC    GLOBAL DEFAULT    1 {name}\n");
        }
        let asked: HashSet<&str> = names.iter().map(String::as_str).collect();
        let listing = Listing::parse(text.as_bytes(), &asked, &HashSet::new());
        let listing = listing.map_err(|error| TestCaseError::fail(error.to_string()))?;
        for name in &asked {
            let number = names.iter().filter(|other| other == name).count();
            prop_assert_eq!(listing.named(name).len(), number);
        }
    }

    #[test]
    fn damaged_symvers_are_read_or_refused(text in damaged(SYMVERS)) {
        let text = String::from_utf8_lossy(&text);
        let _ = symvers::parse("Module.symvers", &text);
    }

    #[test]
    fn livepatch_names_read_back_or_are_refused(
        object in name(),
        name in name(),
        position in any::<u32>(),
        other in "[.,_a-z0-9]{0,40}",
    ) {
        let symbol = LivepatchSymbol { object, name, position };
        if symbol.check().is_ok() {
            prop_assert_eq!(LivepatchSymbol::parse(&symbol.to_string()), Ok(symbol));
        }
        let text = format!(".klp.sym.{other}");
        if let Ok(symbol) = LivepatchSymbol::parse(&text) {
            prop_assert!(symbol.check().is_ok());
        }
        let _ = rela_section_object(&format!(".klp.rela.{other}"));
    }
}

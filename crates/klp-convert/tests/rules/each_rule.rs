//! The rules of `docs/verify.md`, each broken once: it is found, and nothing else.

mod cases;

use std::collections::BTreeSet;

use crate::fixture::intermediate;
use crate::kernel::Spec;
use cases::Breakage;
use cases::cases;
use klp_convert::Report;
use klp_convert::convert;
use klp_convert::verify;
use kpatch_elf::ObjectFile;
use kpatch_elf::write;
use kpatch_refusal::Refusals;

const DOCUMENT: &str = include_str!("../../../../docs/verify.md");

fn finished(changes: &[(&str, &str)]) -> ObjectFile {
    convert(&intermediate(changes)).unwrap()
}

fn result(breakage: &Breakage) -> Result<Report, Refusals> {
    match breakage {
        Breakage::Source(changes) => verify(&write(&finished(changes)).unwrap()),
        Breakage::Model(change) => {
            let mut module = finished(&[]);
            change(&mut module);
            verify(&write(&module).unwrap())
        }
        Breakage::Bytes(change) => {
            let mut bytes = write(&finished(&[])).unwrap();
            change(&mut bytes);
            verify(&bytes)
        }
        Breakage::Kernel(change) => {
            let mut spec = Spec::default();
            change(&mut spec);
            spec.verify(&write(&finished(&[])).unwrap())
        }
        Breakage::ForKernel(changes) => Spec::default().verify(&write(&finished(changes)).unwrap()),
    }
}

#[test]
fn each_breakage_is_found_and_nothing_else() {
    let mut wrong = Vec::new();
    for (rule, code, fragment, breakage) in cases() {
        match result(&breakage) {
            Ok(_) => wrong.push(format!("{rule}: not found")),
            Err(Refusals(all)) => {
                let others = all.iter().filter(|r| r.code != code || !r.message.contains(fragment));
                wrong.extend(others.map(|other| format!("{rule}: {other}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_document_lists_the_rules_that_are_tested() {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let (listed, cases) = (rows.collect::<Vec<_>>(), cases());
    let tested: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let (rules, tests) = (BTreeSet::from_iter(&listed), BTreeSet::from_iter(&tested));
    assert_eq!(rules, tests);
    assert_eq!((rules.len(), tests.len()), (listed.len(), tested.len()), "one row, one test");
    for (rule, code, ..) in &cases {
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `{rule}` ")));
        assert!(row.unwrap().contains(&code.number().to_string()), "{rule}");
    }
}

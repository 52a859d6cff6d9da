//! `--explain` and `--format json`.

use create_diff_object::explain::report::Class;
use create_diff_object::explain::report::Outcome;
use create_diff_object::explain::report::Report;
use create_diff_object::explain::report::SCHEMA_VERSION;

use crate::bench::Bench;
use crate::bench::MAIN;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &["-DPATCHED"]);
    bench.link_kernel(&["orig/core.o"]);
    bench
}

fn parse(text: &str) -> Report {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn explanations_come_behind_the_lines() {
    let bench = bench();
    let run = bench.run(&["--explain"], "vmlinux", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut lines = run.stdout.lines();
    assert_eq!(lines.next(), Some("core.o: changed function: change"));
    assert_eq!(lines.next(), Some("core.o: new function: added"));
    assert_eq!(lines.next(), Some("core.o: why function change is changed: instruction"));
    let rest: Vec<&str> = lines.collect();
    for text in ["original: change", "core.c:27", "patched: change", "core.c:22", "call   show"] {
        assert!(rest.iter().any(|line| line.contains(text)), "{text}: {}", run.stdout);
    }
    // Without a question there is no answer.
    assert!(!bench.run(&[], "vmlinux", "/dev/null").stdout.contains("why"));
}

#[test]
fn json_is_all_of_standard_output() {
    let bench = bench();
    let run = bench.run(&["-d", "--format", "json"], "some-module", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("core.o: change in .text.change differs"), "{}", run.stderr);
    let report = parse(&run.stdout);
    assert_eq!((report.schema_version, report.outcome), (SCHEMA_VERSION, Outcome::Changed));
    assert_eq!(report.output.as_deref(), Some("out.o"));
    assert!(report.refusals.is_empty() && report.notices.is_empty() && report.pins.is_empty());
    let [object] = report.objects.as_slice() else { panic!("{report:#?}") };
    assert_eq!(
        (object.object.as_str(), object.patches.as_deref()),
        ("core.o", Some("some_module"))
    );
    let [change] = object.changed.as_slice() else { panic!("{object:#?}") };
    assert_eq!((change.name.as_str(), change.class), ("change", Class::Instruction));
    let excerpt = change.patched.as_ref().unwrap();
    assert!(excerpt.code.iter().any(|code| code.text == "call   show"), "{excerpt:#?}");
    assert!(excerpt.source.as_ref().unwrap().file.ends_with("core.c"));
    assert_eq!(object.new[0].name, "added");
    assert_eq!(object.new[0].source.as_ref().unwrap().line, 16);
    let again = bench.run(&["--format", "json"], "some-module", "/dev/null");
    assert_eq!(again.stdout, run.stdout);
}

#[test]
fn refusals_are_explained_and_part_of_the_document() {
    let bench = bench();
    let source = MAIN.replace("int shown;", "int shown = 5;");
    bench.compile("orig/core.o", &source, &[]);
    bench.compile("patched/core.o", &source.replace("= 5", "= 6"), &[]);
    let run = bench.run(&["--format=json"], "vmlinux", "/dev/null");
    assert_eq!((run.code, run.stderr.as_str()), (2, ""));
    let report = parse(&run.stdout);
    assert_eq!((report.outcome, &report.output), (Outcome::Refused, &None));
    let refusal = &report.refusals[0];
    assert_eq!(refusal.code, "KPB0402");
    assert_eq!(refusal.place.symbol.as_deref(), Some("shown"));
    assert_eq!(refusal.place.line, Some(2));
    assert!(!refusal.hint.is_empty() && !refusal.summary.is_empty());
    let change = &report.objects[0].changed_data[0];
    assert_eq!((change.name.as_str(), change.class), ("shown", Class::Data));
    assert_eq!(change.original.as_ref().unwrap().bytes, "05 00 00 00");
    assert_eq!(change.patched.as_ref().unwrap().bytes, "06 00 00 00");

    let run = bench.run(&["--explain"], "vmlinux", "/dev/null");
    assert_eq!(run.code, 2);
    assert!(run.stdout.starts_with("core.o: why data shown is changed: data\n"), "{}", run.stdout);
    assert!(run.stderr.contains("KPB0402"));
}

#[test]
fn no_change_is_a_document_too() {
    let bench = bench();
    let run = bench.call(&["--format=json", "orig/core.o", "orig/core.o"]);
    assert_eq!(run.code, 3);
    assert_eq!(parse(&run.stdout), Report::new(Outcome::Unchanged));
}

/// All keys of a document.
fn keys(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            into.extend(map.keys().cloned());
            map.values().for_each(|value| keys(value, into));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let bench = bench();
    let changed = bench.run(&["--format=json"], "vmlinux", "/dev/null").stdout;
    bench.compile("patched/core.o", &MAIN.replace("int shown;", "int shown = 5;"), &[]);
    let refused = bench.run(&["--format=json"], "vmlinux", "/dev/null").stdout;
    let mut found = std::collections::BTreeSet::new();
    for text in [changed, refused] {
        keys(&serde_json::from_str(&text).unwrap(), &mut found);
    }
    assert!(found.contains("hint") && found.contains("differs"), "{found:?}");
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/report.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    for key in found {
        assert!(manual.contains(&format!("`{key}`")), "`{key}` is not in docs/report.md");
    }
}

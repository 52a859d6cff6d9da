//! How symbols of the parent are found and numbered.

use std::fs;

use crate::bench::Bench;
use crate::bench::MAIN;

/// Other code with a static `show`, so that the name is not unique.
const OTHER: &str = "\
static __attribute__((noinline)) int show(int x) { return x * 9 + 1; }
static int hidden;
int other(int x) { return hidden += show(x); }
";

/// A global of that name.
const GLOBAL: &str = "int show(int x) { return x - 4; }\n";

/// Code with the same local names as [`MAIN`].
const TWIN: &str = "\
static __attribute__((noinline)) int show(int x) { return x * 2 + 1; }
int twin(int x) { return show(x) + 6; }
";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.compile("global.o", GLOBAL, &[]);
    bench.compile("other/core.o", OTHER, &[]);
    bench.compile("twin/core.o", TWIN, &[]);
    bench.compile("renamed/twin.o", TWIN, &[]);
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &["-DPATCHED"]);
    bench
}

#[test]
fn the_kernel_counts_local_and_global_symbols_by_address() {
    let bench = bench();
    // A global one at a lower address counts; the file of the same name is told by its symbols.
    bench.link_kernel(&["global.o", "other/core.o", "orig/core.o", "renamed/twin.o"]);
    let run = bench.run(&[], "vmlinux", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.placeholders(), ["vmlinux.show.3"]);
    assert_eq!(run.functions(), [("change".to_owned(), 0)]);

    bench.link_kernel(&["orig/core.o", "other/core.o", "global.o"]);
    assert_eq!(bench.run(&[], "vmlinux", "/dev/null").placeholders(), ["vmlinux.show.1"]);
}

#[test]
fn a_module_counts_in_the_order_of_its_table() {
    let bench = bench();
    // Local symbols come first there, wherever they are.
    bench.link_module(&["global.o", "other/core.o", "orig/core.o"]);
    let run = bench.run(&[], "some-module", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.placeholders(), ["some_module.show.2"]);
}

#[test]
fn twins_are_refused_only_where_it_matters() {
    let bench = bench();
    bench.link_kernel(&["twin/core.o", "orig/core.o"]);
    let run = bench.run(&[], "vmlinux", "/dev/null");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("KPB0501"), "{}", run.stderr);
    assert!(run.stderr.contains("2 files of that name"), "{}", run.stderr);
    assert!(run.stderr.contains("(local), 0xffffffff81"), "{}", run.stderr);
    assert!(run.output.is_none());

    // A change that needs no local symbol goes through.
    let source = MAIN.replace("x * 5", "x * 5 + 1").replace("show(x) * 5", "x * 6");
    bench.compile("patched/core.o", &source, &[]);
    let run = bench.run(&[], "vmlinux", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.functions(), [("unchanged".to_owned(), 0)]);

    fs::copy(bench.path("orig/core.o"), bench.path("patched/core.o")).unwrap();
    assert_eq!(bench.run(&[], "vmlinux", "/dev/null").code, 3);
}

#[test]
fn a_parent_of_other_sources_is_refused() {
    let bench = bench();
    bench.link_kernel(&["other/core.o", "global.o"]);
    let run = bench.run(&[], "vmlinux", "/dev/null");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("KPB0501"), "{}", run.stderr);
    assert!(run.stderr.contains("no file of that name"), "{}", run.stderr);
    assert!(run.stderr.contains("KPB0502: `change`"), "{}", run.stderr);
}

#[test]
fn a_changed_static_function_has_its_own_number() {
    let bench = bench();
    bench.link_kernel(&["other/core.o", "orig/core.o"]);
    let source = MAIN.replace("shown = x;", "shown = x + 1;");
    bench.compile("patched/core.o", &source, &[]);
    let run = bench.run(&[], "vmlinux", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout, "core.o: changed function: show\n");
    assert_eq!(run.functions(), [("show".to_owned(), 2)]);
}

#[test]
fn exports_stay_ordinary_references() {
    let bench = bench();
    bench.link_kernel(&["orig/core.o"]);
    let source = MAIN.replace("x * 7", "outside(x) * shown");
    bench.compile("patched/core.o", &source, &["-DPATCHED"]);
    // `outside` is nowhere: it is another object's of the patch, for all that is known here.
    let run = bench.run(&[], "vmlinux", "/dev/null");
    assert_eq!(run.placeholders(), ["vmlinux.show.0", "vmlinux.shown.0"]);

    for (line, placeholders) in [
        ("0x1\tshown\tvmlinux\tEXPORT_SYMBOL\t\n", &["vmlinux.show.0"][..]),
        ("0x1\tshown\tvmlinux\tEXPORT_SYMBOL\n", &["vmlinux.show.0"]),
        ("0x1\tshown\t\tvmlinux\tEXPORT_SYMBOL_GPL\n", &["vmlinux.show.0"]),
        // The patch does not import the namespace.
        ("0x1\tshown\tvmlinux\tEXPORT_SYMBOL\tSPACE\n", &["vmlinux.show.0", "vmlinux.shown.0"]),
    ] {
        fs::write(bench.path("Module.symvers"), line).unwrap();
        let run = bench.run(&[], "vmlinux", "Module.symvers");
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(run.placeholders(), placeholders, "{line}");
    }
}

#[test]
fn exports_of_modules_need_a_dependency() {
    let bench = bench();
    bench.link_module(&["orig/core.o"]);
    let export = "0x1\toutside\tdrivers/base-lib\tEXPORT_SYMBOL\t\n";
    fs::write(bench.path("Module.symvers"), export).unwrap();
    // The module uses it already, so it cannot be loaded without `base_lib`.
    let source = MAIN.replace("x * 7", "outside(x) * 7");
    bench.compile("patched/core.o", &source, &["-DPATCHED"]);
    let run = bench.run(&[], "m", "Module.symvers");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.placeholders(), ["base_lib.outside.0", "m.show.0"]);

    let source =
        MAIN.replace("x * 7", "foreign(x) * 7").replace("extern", "int foreign(int);\nextern");
    bench.compile("patched/core.o", &source, &["-DPATCHED"]);
    let export = "0x1\tforeign\tdrivers/base-lib\tEXPORT_SYMBOL\t\n";
    fs::write(bench.path("Module.symvers"), export).unwrap();
    let run = bench.run(&[], "m", "Module.symvers");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("KPB0504"), "{}", run.stderr);
}

#[test]
fn what_initialisation_code_shares_has_no_number() {
    let bench = bench();
    const INIT: &str = "\
#define INIT __attribute__((section(\".init.text\")))
static INIT __attribute__((noipa)) int show(int x) { return x * 3; }
INIT int init_module(void) { return show(2); }
";
    bench.compile("init.o", INIT, &[]);
    bench.link_module(&["init.o", "orig/core.o"]);
    let run = bench.run(&[], "m", "/dev/null");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("initialisation code"), "{}", run.stderr);
}

//! The program `create-diff-object`, as kpatch's build script calls its own: with objects and parents
//! that the compiler and the linker make.

mod bench;
mod explain;
mod parent;

use std::fs;

use bench::Bench;
use bench::MAIN;

#[test]
fn says_what_changed_and_writes_the_object() {
    let bench = Bench::new();
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &["-DPATCHED"]);
    bench.link_kernel(&["orig/core.o"]);
    let run = bench.run(&["-d"], "vmlinux", "/dev/null");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines.contains(&"core.o: changed function: change"), "{lines:?}");
    assert!(lines.contains(&"core.o: new function: added"), "{lines:?}");
    let found = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(found("core.o: change in .text.change differs: "), "{lines:?}");
    assert!(found("core.o: takes new function added (global): "), "{lines:?}");
    let resolved = "core.o: symbol show resolved by livepatch: `show` of `vmlinux`, the only one";
    assert!(found(resolved), "{lines:?}");
    assert!(found("core.o: function change replaces `change` of `vmlinux`"), "{lines:?}");
    assert_eq!(run.functions(), [("change".to_owned(), 0)]);
    assert_eq!(run.placeholders(), ["vmlinux.show.0"]);

    let quiet = bench.run(&[], "vmlinux", "/dev/null");
    let expected = "core.o: changed function: change\ncore.o: new function: added\n";
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), (expected, ""));
    assert_eq!(quiet.output, run.output);
}

#[test]
fn two_arguments_compare_only() {
    let bench = Bench::new();
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &["-DPATCHED"]);
    let run = bench.call(&["orig/core.o", "patched/core.o"]);
    assert_eq!(run.code, 0);
    assert_eq!(run.stdout, "core.o: changed function: change\ncore.o: new function: added\n");
    assert_eq!(bench.call(&["orig/core.o", "orig/core.o"]).code, 3);
}

#[test]
fn wrong_command_lines() {
    let bench = Bench::new();
    bench.compile("core.o", MAIN, &[]);
    for args in [&[][..], &["core.o"], &["core.o", "core.o", "vmlinux"], &["--what"]] {
        let run = bench.call(args);
        assert_eq!(run.code, 64, "{args:?}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{args:?}");
    }
    let help = bench.call(&["--help"]);
    assert_eq!(help.code, 0);
    for word in ["OUT.o", "PARENT-SYMTAB", "--debug", "JUMP_STRUCT_SIZE", "Exit codes"] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert_eq!(bench.call(&["--version"]).code, 0);
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let bench = Bench::new();
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &["-DPATCHED"]);
    bench.link_kernel(&["orig/core.o"]);
    let full = |original: &str, symbols: &str, exports: &str, output: &str| {
        bench.call(&[original, "patched/core.o", "vmlinux", symbols, exports, "m", output])
    };
    for run in [
        full("absent.o", "symtab", "/dev/null", "out.o"),
        full("symtab", "symtab", "/dev/null", "out.o"),
        full("orig/core.o", "absent", "/dev/null", "out.o"),
        full("orig/core.o", "/dev/null", "/dev/null", "out.o"),
        full("orig/core.o", "core.c", "/dev/null", "out.o"),
        full("orig/core.o", "symtab", "absent", "out.o"),
        full("orig/core.o", "symtab", "symtab", "out.o"),
        full("orig/core.o", "symtab", "/dev/null", "absent/out.o"),
    ] {
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains("cannot "), "{}", run.stderr);
        assert!(run.output.is_none());
        assert!(run.stdout.is_empty(), "{}", run.stdout);
    }
}

#[test]
fn an_output_that_is_there_is_replaced_as_a_whole_or_left() {
    let bench = Bench::new();
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &["-DPATCHED"]);
    bench.link_kernel(&["orig/core.o"]);
    fs::write(bench.path("out.o"), "older").unwrap();
    let refused = bench.run(&[], "another", "/dev/null");
    assert_eq!((refused.code, refused.output.as_deref()), (0, refused.output.as_deref()));
    fs::write(bench.path("out.o"), "older").unwrap();
    fs::write(bench.path("empty"), "     0: 0 0 NOTYPE LOCAL DEFAULT UND \n").unwrap();
    let args = ["orig/core.o", "patched/core.o", "vmlinux", "empty", "/dev/null", "m", "out.o"];
    let refused = bench.call(&args);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("KPB0502"), "{}", refused.stderr);
    assert_eq!(refused.output.unwrap(), b"older");
    assert!(bench.run(&[], "vmlinux", "/dev/null").output.unwrap().starts_with(b"\x7fELF"));
    let left = fs::read_dir(bench.path(".")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with(".tmp")), "{left:?}");
}

#[test]
fn an_object_without_change_asks_nothing_of_the_parent() {
    let bench = Bench::new();
    bench.compile("orig/core.o", MAIN, &[]);
    bench.compile("patched/core.o", MAIN, &[]);
    let args = ["orig/core.o", "patched/core.o", "vmlinux", "absent", "absent", "m", "out.o"];
    let run = bench.call(&args);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (3, "", ""));
    assert!(run.output.is_none());
}

#[test]
fn bitcode_is_refused_by_name() {
    let bench = Bench::new();
    fs::write(bench.path("bitcode.o"), b"BC\xc0\xde rest").unwrap();
    let run = bench.call(&["bitcode.o", "bitcode.o"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("KPB0303") && run.stderr.contains("bitcode"), "{}", run.stderr);
}

//! Source lines of compiled objects, for every form of debug information that the compilers write.

use std::fs;
use std::process::Command;

use create_diff_object::lines::RowAt;
use create_diff_object::lines::Rows;
use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolKind;

const SOURCE: &str = "\
extern int sink(int);
#include \"helper.h\"
#ifndef ONE
int first(int x)
{
\treturn sink(x) + 1;
}
#endif

int second(int x)
{
\tx = helped(x);
\treturn sink(x) + 2;
}
";

const HELPER: &str = "\
static inline __attribute__((always_inline)) int helped(int x)
{
\treturn x ? sink(x * 77) : 3;
}
";

fn compile(compiler: &str, options: &[&str]) -> ObjectFile {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    fs::create_dir(directory.path().join("include")).unwrap();
    write("source.c", SOURCE);
    write("include/helper.h", HELPER);
    let status = Command::new(compiler)
        .args(["-O2", "-ffunction-sections", "-Iinclude", "-c", "./source.c", "-o", "out.o"])
        .args(options)
        .current_dir(directory.path())
        .status();
    assert!(status.unwrap().success(), "{compiler} {options:?}");
    kpatch_elf::read(&fs::read(directory.path().join("out.o")).unwrap()).unwrap()
}

/// The lines of a function's code, each once, in order of appearance.
fn lines_of(object: &ObjectFile, rows: &Rows, function: &str) -> Vec<(String, u32)> {
    let symbol = object.symbols.iter();
    let symbol = symbol.filter(|s| s.kind == SymbolKind::Function).find(|s| s.name == function);
    let symbol = symbol.unwrap();
    let mut lines = Vec::new();
    for offset in symbol.value..symbol.value + symbol.size {
        if let Some(RowAt { file, line }) = rows.at(symbol.section().unwrap(), offset) {
            let file = file.to_owned();
            if !lines.contains(&(file.clone(), line)) {
                lines.push((file, line));
            }
        }
    }
    lines
}

fn check(compiler: &str, options: &[&str]) {
    let object = compile(compiler, options);
    let rows = Rows::read(&object);
    let first = lines_of(&object, &rows, "first");
    let at = |file: &str, line| (file.to_owned(), line);
    assert!(first.contains(&at("source.c", 6)), "{options:?}: {first:?}");
    assert!(first.iter().all(|(file, line)| file == "source.c" && (5..=7).contains(line)));
    let second = lines_of(&object, &rows, "second");
    assert!(second.contains(&at("source.c", 13)), "{options:?}: {second:?}");
    assert!(second.contains(&at("include/helper.h", 3)), "{options:?}: {second:?}");
    let symbol = object.symbols.iter().find(|s| s.name == "second").unwrap();
    let section = symbol.section().unwrap();
    assert!(rows.at(section, object[section].size).is_none(), "behind the end");
}

#[test]
fn dwarf_4_and_5() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        check("gcc-12", &[version]);
        // All functions in one section, so in one sequence.
        check("gcc-12", &[version, "-fno-function-sections"]);
    }
}

#[test]
fn clang_if_it_is_there() {
    let clang = ["clang", "clang-22", "clang-19", "clang-16", "clang-14"];
    let works = |clang: &&str| Command::new(clang).arg("--version").output().is_ok();
    let Some(clang) = clang.into_iter().find(works) else { return };
    check(clang, &["-gdwarf-4"]);
    check(clang, &["-gdwarf-5"]);
    // A unit of one function has its address in `.debug_addr`.
    let object = compile(clang, &["-gdwarf-5", "-DONE"]);
    let rows = Rows::read(&object);
    assert!(lines_of(&object, &rows, "second").contains(&("source.c".to_owned(), 13)));
}

#[test]
fn compressed_debug_sections() {
    check("gcc-12", &["-g", "-gz=zlib"]);
    check("gcc-12", &["-g", "-Wa,--compress-debug-sections=zstd"]);
}

#[test]
fn no_debug_information_no_lines() {
    let object = compile("gcc-12", &["-g0"]);
    assert!(Rows::read(&object).is_empty());
}

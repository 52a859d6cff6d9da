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

/// A file whose structures, unions and enumerations are as `change` makes them.
fn types(change: (&str, &str), options: &[&str]) -> ObjectFile {
    let text = "\
struct inner { int a; };
struct s { char tag; struct { long x, y; } pair; struct inner in; union { int i; char c[4]; }; int bits : 3, rest : 5; int *list[2]; };
union u { int a; long b; };
enum e { FIRST, SECOND };
struct untouched { long a; };
int f(struct s *s, union u *u, enum e e, struct untouched *t)
{ return s->tag + s->pair.x + u->a + (e == SECOND) + s->in.a + s->bits + (int)t->a; }
";
    assert!(text.contains(change.0), "{change:?}");
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("types.c");
    std::fs::write(&source, text.replacen(change.0, change.1, 1)).unwrap();
    let object = dir.path().join("types.o");
    let mut command = std::process::Command::new("gcc");
    let status = command.args(["-c", "-O2", "-o"]).arg(&object).args(options).arg(&source).status();
    assert!(status.unwrap().success());
    kpatch_elf::read(&std::fs::read(&object).unwrap()).unwrap()
}

#[test]
fn types_that_are_laid_out_differently() {
    for options in [&["-gdwarf-5"][..], &["-gdwarf-4", "-gz"]] {
        let original = types(("", ""), options);
        for (old, new, expected) in [
            ("int i; char", "int j; char", &[][..]),
            ("int *list", "unsigned *list", &[]),
            ("enum e { FIRST, SECOND }", "enum e { FIRST, SECOND, THIRD }", &[]),
            ("struct inner {", "struct fresh { int a; }; struct inner {", &[]),
            ("char tag;", "char tag, more;", &["struct s"]),
            ("long x, y;", "int x; long y;", &["struct s"]),
            ("char c[4]", "char c[2]", &["struct s"]),
            ("int bits : 3, rest : 5", "int bits : 4, rest : 4", &["struct s"]),
            ("*list[2]", "*list[3]", &["struct s"]),
            ("{ int a; };\nstruct s", "{ short a; };\nstruct s", &["struct inner", "struct s"]),
            ("long x, y;", "long y, x;", &["struct s"]),
            ("long b; };", "long b, c[2]; };", &["union u"]),
            ("FIRST, SECOND", "ZEROTH, FIRST, SECOND", &["enumerator FIRST", "enumerator SECOND"]),
        ] {
            let patched = types((old, new), options);
            let found = create_diff_object::lines::layouts::relaid(&original, &patched);
            let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(names, expected, "{new}: {found:?}");
        }
        let patched = types(("char tag;", "char tag, more;"), options);
        let found = create_diff_object::lines::layouts::relaid(&original, &patched);
        assert_eq!(found[0].place.as_ref().unwrap().1, 2);
        assert_eq!(found[0].what, "`more` (1 bytes) at offset 1 was `x` (8 bytes) at offset 8");
    }
}

#[test]
fn static_variables_have_the_function_that_declares_them() {
    let text = "\
static int f(int x) { static int count[4]; return count[x]++; }
static int g(int x) { { static int count[2]; return count[x]++; } }
int file_wide;
int both(int x) { static int own; return f(x) + g(x) + own++ + file_wide; }
";
    for options in [["-gdwarf-5", "-O2"], ["-gdwarf-4", "-O2"], ["-gdwarf-5", "-Og"]] {
        let dir = tempfile::tempdir().unwrap();
        let (source, object) = (dir.path().join("statics.c"), dir.path().join("statics.o"));
        fs::write(&source, text).unwrap();
        let mut command = Command::new("gcc-12");
        let status = command.args(options).arg("-c").arg(&source).arg("-o").arg(&object).status();
        assert!(status.unwrap().success());
        let object = kpatch_elf::read(&fs::read(&object).unwrap()).unwrap();
        let scopes = create_diff_object::lines::Scopes::read(&object);
        let of_size = |size: u64| {
            let data = object.symbols.iter().filter(|s| s.kind == SymbolKind::Object);
            let symbol = data.into_iter().find(|s| s.size == size && s.name.contains('.'));
            let symbol = symbol.unwrap();
            scopes.of(symbol.section().unwrap(), symbol.value)
        };
        assert_eq!([of_size(16), of_size(8), of_size(4)], [Some("f"), Some("g"), Some("both")]);
        let wide = object.symbols.iter().find(|s| s.name == "file_wide").unwrap();
        assert_eq!(wide.section().and_then(|section| scopes.of(section, wide.value)), None);
    }
    let object = compile("gcc-12", &["-g0"]);
    let scopes = create_diff_object::lines::Scopes::read(&object);
    let places = object.symbols.iter().filter_map(|s| Some((s.section()?, s.value)));
    assert!(places.into_iter().all(|(section, at)| scopes.of(section, at).is_none()));
}

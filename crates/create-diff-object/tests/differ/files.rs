//! Files that are no object of a kernel: the program says by name what each is, whichever side it is
//! given for, and ends as for every refusal.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use kpatch_refusal::Code;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::compile::run;
use crate::compilers;

const SOURCE: &str = "int g(int x); int f(int x) { return g(x) + 1; }\n";

/// Who makes a file.
#[derive(Debug, Clone, Copy)]
enum Maker {
    Gcc,
    Clang,
    /// A program that takes the output, then an ordinary object.
    Tool(&'static str),
}

/// Name, maker, its options, and what the refusal says.
const FILES: &[(&str, Maker, &[&str], &str)] = &[
    ("lto_gcc", Maker::Gcc, &["-flto"], "gcc's GIMPLE"),
    ("lto_gcc_fat", Maker::Gcc, &["-flto", "-ffat-lto-objects"], "section `.gnu.lto_"),
    ("lto_clang", Maker::Clang, &["-flto"], "LLVM bitcode"),
    ("lto_clang_thin", Maker::Clang, &["-flto=thin", "-fsplit-lto-unit"], "LLVM bitcode"),
    ("lto_clang_fat", Maker::Clang, &["-flto", "-ffat-lto-objects"], "section `.llvm.lto`"),
    ("embedded_bitcode", Maker::Clang, &["-fembed-bitcode=all"], "section `.llvm"),
    ("i386", Maker::Gcc, &["-m32"], "for i386, 32-bit"),
    ("x32", Maker::Gcc, &["-mx32"], "32-bit"),
    ("aarch64", Maker::Clang, &["--target=aarch64-linux-gnu"], "for AArch64"),
    ("s390", Maker::Clang, &["--target=s390x-linux-gnu"], "for s390, big-endian"),
    ("powerpc", Maker::Clang, &["--target=powerpc64le-linux-gnu"], "for PowerPC64"),
    ("executable", Maker::Tool("ld"), &["-e", "0", "--defsym=g=0", "-o"], "an executable"),
    ("shared_object", Maker::Tool("ld"), &["-shared", "-o"], "a shared object"),
    ("archive", Maker::Tool("ar"), &["rcs"], "an archive"),
    ("thin_archive", Maker::Tool("ar"), &["rcsT"], "a thin archive"),
];

/// One test for each file, left out where its maker is not installed.
pub(crate) fn trials() -> Vec<Trial> {
    let clang = compilers::newest("clang");
    let trial = |(name, maker, options, says): &(&str, Maker, &'static [&str], &'static str)| {
        let (maker, options, says) = (*maker, *options, *says);
        let program = match maker {
            Maker::Gcc => Some(compilers::gcc().to_owned()),
            Maker::Clang => clang.clone(),
            Maker::Tool(tool) => Some(tool.to_owned()),
        };
        let missing = program.is_none();
        let is_tool = matches!(maker, Maker::Tool(_));
        let test = move || refused(&program.unwrap_or_default(), is_tool, options, says);
        Trial::test(format!("file::{name}"), test).with_ignored_flag(missing)
    };
    FILES.iter().map(trial).collect()
}

fn refused(program: &str, is_tool: bool, options: &[&str], says: &str) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let at = |name: &str| directory.path().join(name);
    fs::write(at("source.c"), SOURCE)?;
    let compile = |compiler: &str, options: &[&str], output: &Path| {
        let mut command = Command::new(compiler);
        command.args(["-O2", "-fno-pic", "-w"]).args(options);
        run(command.arg("-c").arg(at("source.c")).arg("-o").arg(output))
    };
    let (good, bad) = (at("good.o"), at("bad.o"));
    compile(compilers::gcc(), &[], &good)?;
    match is_tool {
        true => run(Command::new(program).args(options).args([&bad, &good]))?,
        false => compile(program, options, &bad)?,
    };
    answer(&good, &good, 3, "")?;
    for (original, patched) in [(&good, &bad), (&bad, &good)] {
        answer(original, patched, 2, &format!("{}: ", Code::NotMachineCode))?;
        answer(original, patched, 2, says)?;
    }
    Ok(())
}

fn answer(original: &PathBuf, patched: &PathBuf, code: i32, says: &str) -> Result<(), Failed> {
    let mut differ = Command::new(env!("CARGO_BIN_EXE_create-diff-object"));
    let output = differ.args([original, patched]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(code) || !said.contains(says) {
        return Err(format!("{}, expected {code} and `{says}`:\n{said}", output.status).into());
    }
    Ok(())
}

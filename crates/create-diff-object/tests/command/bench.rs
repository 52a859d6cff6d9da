//! A directory with a compiler, a linker and the program under test.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use kpatch_elf::livepatch;
use tempfile::TempDir;

/// A source file with a changed function, which calls a static one that is not inlined, and a new one.
pub(crate) const MAIN: &str = "\
extern int outside(int);
int shown;
struct none { };
static struct none key;
void *lock = &key;
static __attribute__((noinline)) int show(int x)
{
\tshown = x;
\treturn outside(x);
}
int unchanged(int x)
{
\treturn show(x) * 5;
}
#ifdef PATCHED
int added(int x)
{
\treturn x * 7;
}
int change(int x)
{
\treturn show(x + 1) + 3;
}
#else
int change(int x)
{
\treturn show(x) + 3;
}
#endif
";

const FLAGS: &[&str] = &[
    "-O2",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-pg",
    "-mfentry",
    "-fno-asynchronous-unwind-tables",
    "-ffreestanding",
    "-c",
];

pub(crate) struct Bench(TempDir);

/// What a run of the program left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) output: Option<Vec<u8>>,
}

impl Run {
    /// The names and positions of the function table.
    pub(crate) fn functions(&self) -> Vec<(String, u64)> {
        let object = kpatch_elf::read(self.output.as_ref().expect("an output")).unwrap();
        let table = &object[object.section_by_name(livepatch::FUNCTIONS).unwrap()];
        let strings = &object[object.section_by_name(livepatch::FUNCTION_STRINGS).unwrap()];
        let records = table.data.chunks(livepatch::FUNCTION_RECORD).enumerate();
        let record = |(index, record): (usize, &[u8])| {
            let at = (index * livepatch::FUNCTION_RECORD + 8) as u64;
            let name = table.relocations_in(at..at + 8)[0].addend as usize;
            let name = strings.data[name..].split(|byte| *byte == 0).next().unwrap();
            let position = u64::from_le_bytes(*record[24..].first_chunk().unwrap());
            (String::from_utf8(name.to_vec()).unwrap(), position)
        };
        records.map(record).collect()
    }

    /// What the placeholders stand for, `<object>.<name>.<position>`, sorted.
    pub(crate) fn placeholders(&self) -> Vec<String> {
        let object = kpatch_elf::read(self.output.as_ref().expect("an output")).unwrap();
        let names = object.symbols.iter().filter_map(|symbol| {
            let rest = symbol.name.strip_prefix(".kpatch.placeholder.")?;
            Some(rest.split_once('.')?.1.to_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Bench(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn tool(&self, program: &str, args: &[&str]) -> Vec<u8> {
        let output = Command::new(program).args(args).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {text}");
        output.stdout
    }

    /// Compiles `source`; its file is called as the object is.
    pub(crate) fn compile(&self, object: &str, source: &str, options: &[&str]) {
        let file = Path::new(object).with_extension("c");
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::create_dir_all(self.path(object).parent().unwrap()).unwrap();
        fs::write(self.path(name), source).unwrap();
        self.tool("gcc", &[FLAGS, options, &[name, "-o", object]].concat());
    }

    /// Links a kernel, which only has to have symbols, and lists them.
    pub(crate) fn link_kernel(&self, objects: &[&str]) {
        let flags = [
            "-static",
            "--unresolved-symbols=ignore-all",
            "-Ttext=0xffffffff81000000",
            "-Tdata=0xffffffff82000000",
            "-Tbss=0xffffffff83000000",
            "--entry=0",
            "-o",
            "parent",
        ];
        self.tool("ld", &[&flags, objects].concat());
        self.list("parent");
    }

    /// Links a module and lists its symbols.
    pub(crate) fn link_module(&self, objects: &[&str]) {
        self.tool("ld", &[&["-r", "-o", "parent"], objects].concat());
        self.list("parent");
    }

    pub(crate) fn list(&self, file: &str) {
        let text = self.tool("readelf", &["-s", "--wide", file]);
        fs::write(self.path("symtab"), text).unwrap();
    }

    /// Compares `core.o` of both trees with the parent that was linked.
    pub(crate) fn run(&self, options: &[&str], parent: &str, exports: &str) -> Run {
        let args = ["orig/core.o", "patched/core.o", parent, "symtab", exports, "patch", "out.o"];
        self.call(&[options, &args].concat())
    }

    pub(crate) fn call(&self, args: &[&str]) -> Run {
        let program = env!("CARGO_BIN_EXE_create-diff-object");
        let output = Command::new(program).args(args).current_dir(self.0.path()).output().unwrap();
        Run {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            output: fs::read(self.path("out.o")).ok(),
        }
    }
}

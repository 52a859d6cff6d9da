//! The compilers that are here, and how each is told to compile as the kernel does.

use std::collections::BTreeMap;
use std::env;
use std::process::Command;
use std::sync::OnceLock;

/// Which options a compiler understands, and what its objects look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Gcc,
    Clang,
}

impl Family {
    /// The compiler that a directive means.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Family::Gcc, Family::Clang].into_iter().find(|family| family.name() == name)
    }

    /// What directives call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Gcc => "gcc",
            Family::Clang => "clang",
        }
    }

    /// What `scripts/Makefile.*` and `arch/x86/Makefile` pass, as far as it shapes an object.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Family::Gcc => GCC,
            Family::Clang => CLANG,
        }
    }
}

/// A way to compile.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    compiler: String,
    flags: &'static [&'static str],
}

impl Way {
    /// The compiler with its options, before those of a case.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.compiler);
        command.args(COMMON).args(self.family.flags()).args(self.flags);
        command
    }
}

const PADDED: &[&str] = &["-fpatchable-function-entry=16,16", "-fno-jump-tables"];
const PLAIN: &[&str] = &["-fno-jump-tables"];
const SWITCH: &[&str] = &["-fjump-tables", "-fcf-protection=none"];
/// clang takes a retpoline for an order to do without jump tables.
const CLANG_SWITCH: &[&str] = &["-fjump-tables", "-fcf-protection=none", "-mno-retpoline"];

const COMMON: &[&str] = &[
    "-std=gnu11",
    "-O2",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-mno-sse",
    "-mno-80387",
    "-mskip-rax-setup",
    "-fcf-protection=branch",
    "-mindirect-branch-cs-prefix",
    "-mfunction-return=thunk-extern",
    "-pg",
    "-mfentry",
    "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
    "-fno-strict-aliasing",
    "-fno-common",
    "-fno-delete-null-pointer-checks",
    "-fshort-wchar",
    "-ffreestanding",
    "-Wno-attributes",
    // The macros for patch authors, with the kernel's headers that they include in `tests/cases/`.
    concat!("-I", env!("CARGO_MANIFEST_DIR"), "/tests/cases/include"),
    concat!("-I", env!("CARGO_MANIFEST_DIR"), "/../../kmod/include"),
];

const GCC: &[&str] =
    &["-mindirect-branch=thunk-extern", "-mindirect-branch-register", "-mrecord-mcount"];

/// The integrated assembler; `__mcount_loc` is objtool's work on such kernels.
const CLANG: &[&str] = &["-mretpoline-external-thunk", "-mstack-alignment=8", "-w"];

/// All ways that the compilers here allow, the kernel's own first.
pub(crate) fn ways() -> &'static [Way] {
    static FOUND: OnceLock<Vec<Way>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let way = |name, family, compiler: &str, flags| Way {
            name,
            family,
            compiler: compiler.to_owned(),
            flags,
        };
        let mut ways = vec![
            way("padded", Family::Gcc, gcc(), PADDED),
            way("plain", Family::Gcc, gcc(), PLAIN),
            way("switch", Family::Gcc, gcc(), SWITCH),
        ];
        match newest("gcc") {
            Some(newest) if version(&newest) != version(gcc()) => {
                ways.push(way("newest_gcc_padded", Family::Gcc, &newest, PADDED));
                ways.push(way("newest_gcc_switch", Family::Gcc, &newest, SWITCH));
            }
            _ => eprintln!("left out: newest_gcc: no newer gcc than {}", gcc()),
        }
        match newest("clang") {
            Some(clang) => {
                ways.push(way("clang_padded", Family::Clang, &clang, PADDED));
                ways.push(way("clang_plain", Family::Clang, &clang, PLAIN));
                ways.push(way("clang_switch", Family::Clang, &clang, CLANG_SWITCH));
            }
            None => eprintln!("left out: clang: none is installed (scripts/setup.sh)"),
        }
        ways
    })
}

/// The compiler of the kernel that the project is for if it is there, else the system's.
pub(crate) fn gcc() -> &'static str {
    static GCC: OnceLock<&str> = OnceLock::new();
    GCC.get_or_init(|| {
        let works = |name: &&str| version(name).is_some();
        ["gcc-12", "gcc"].into_iter().find(works).unwrap_or("gcc")
    })
}

/// The newest installed `<name>` or `<name>-<number>`.
pub(crate) fn newest(name: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let files = env::split_paths(&path).filter_map(|directory| directory.read_dir().ok()).flatten();
    let names = files.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_one = |file: &String| {
        let number = file.strip_prefix(name).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let found: BTreeMap<u32, String> =
        names.filter(is_one).filter_map(|file| Some((version(&file)?, file))).collect();
    found.into_values().next_back()
}

/// The major version.
fn version(compiler: &str) -> Option<u32> {
    let output = Command::new(compiler).arg("-dumpversion").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().split('.').next()?.parse().ok()
}

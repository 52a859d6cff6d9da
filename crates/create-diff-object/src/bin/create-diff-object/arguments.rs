//! The command line: kpatch's, and a short form that only compares.

use std::path::PathBuf;

use clap::Parser;

/// Compares the same source compiled without and with a patch, and writes what a livepatch module needs
/// of it.
///
/// With two arguments it only says what is different. With all seven it takes the place of kpatch's tool
/// of this name: it also resolves what the patch needs of the running kernel, and writes OUT.o.
/// Functions are told on standard output, one per line: `X.o: changed function: f`,
/// `X.o: new function: f`. Warnings and refusals go to standard error; in JSON they are part of the
/// document on standard output.
#[derive(Debug, Parser)]
#[command(name = "create-diff-object", version, after_help = NOTES, override_usage = USAGE)]
pub(crate) struct Arguments {
    /// Say more on standard output: why pairs differ, what goes into OUT.o, how symbols are resolved
    #[arg(short, long)]
    pub(crate) debug: bool,

    /// Say why each changed function is that: the first difference, both sides disassembled around it,
    /// and where it is in the source
    #[arg(long)]
    pub(crate) explain: bool,

    /// How to say it: as lines, or as one JSON document with all explanations and refusals
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// The object compiled without the patch, with -ffunction-sections -fdata-sections; before objtool
    /// or after it
    #[arg(value_name = "ORIG.o")]
    pub(crate) original: PathBuf,

    /// The object compiled with the patch and the same options
    #[arg(value_name = "PATCHED.o")]
    pub(crate) patched: PathBuf,

    /// What the object is linked into: `vmlinux` or the name of a module
    #[arg(value_name = "PARENT-NAME", requires = "output")]
    pub(crate) parent: Option<String>,

    /// What `readelf -s --wide` prints of the unpatched vmlinux or of the module's .ko
    #[arg(value_name = "PARENT-SYMTAB")]
    pub(crate) symbols: Option<PathBuf>,

    /// The kernel's Module.symvers; /dev/null if nothing is exported
    #[arg(value_name = "Module.symvers")]
    pub(crate) exports: Option<PathBuf>,

    /// The name of the patch module; kpatch's tool takes it, and neither uses it
    #[arg(value_name = "PATCH-MOD-NAME")]
    pub(crate) module: Option<String>,

    /// The object to write; written whole or, when the exit code is not 0, not at all
    #[arg(value_name = "OUT.o")]
    pub(crate) output: Option<PathBuf>,
}

/// How the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines for people, and for kpatch's scripts.
    Text,
    /// The schema of `create_diff_object::explain::report`.
    Json,
}

const USAGE: &str = "create-diff-object [OPTIONS] ORIG.o PATCHED.o
       create-diff-object [OPTIONS] ORIG.o PATCHED.o PARENT-NAME PARENT-SYMTAB \
    Module.symvers PATCH-MOD-NAME OUT.o";

const NOTES: &str = "\
Environment:
  ALT_STRUCT_SIZE, BUG_STRUCT_SIZE, EX_STRUCT_SIZE, JUMP_STRUCT_SIZE, ORC_STRUCT_SIZE,
  PARA_STRUCT_SIZE, STATIC_CALL_STRUCT_SIZE, PRINTK_INDEX_STRUCT_SIZE, FIXUP_STRUCT_SIZE
      the sizes of the records of special sections in bytes, as kpatch-build sets them; without
      them the sizes are found in the objects

Exit codes:
  0   something changed; OUT.o is written
  1   an error: a file cannot be read, used or written
  2   refused: it cannot be patched safely (KPBnnnn says why)
  3   no functional change
  64  the command line is wrong";

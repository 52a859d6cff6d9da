//! The command line of `kpatch-build image`.

use std::path::PathBuf;

use clap::Args;

/// Says what is in a kernel's image or in a module, as far as livepatching is concerned.
///
/// Everything is read from the file itself: no debug information, no other tool.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXIT_CODES)]
pub struct ImageArguments {
    /// The image (`vmlinuz`, `vmlinux`), or a module (`.ko`, compressed or not)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// List all symbols in the order in which the kernel counts them: address, type, name
    #[arg(long)]
    pub symbols: bool,

    /// Show all symbols of this name: the position by which livepatch tells them apart, address, size,
    /// bytes, and code with what it refers to; repeatable
    #[arg(long = "function", value_name = "NAME")]
    pub functions: Vec<String>,

    /// Check that the image is the kernel that runs here, by all of its symbols (as root), or the one
    /// that a copy of `/proc/kallsyms` is from
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/proc/kallsyms"
    )]
    pub running: Option<PathBuf>,

    /// Print one JSON document (docs/image.md)
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it is as shown
  2  the command line is wrong
  3  refused: the file cannot be read for what it is, has no such symbol, or is not the kernel that
     runs (KPBnnnn says why)";

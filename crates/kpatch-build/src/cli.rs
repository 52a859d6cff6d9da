//! The command line. Every option that names a part of the target kernel has the place where a
//! distribution puts that part as its default.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;
use patch_module::Template;

use crate::authored::RustArguments;
use crate::image_report::ImageArguments;
use crate::match_report::MatchArguments;
use crate::settings::Settings;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum CommandLine {
    /// To build a module: the flat command line, without a subcommand.
    Build(Box<Cli>),
    /// Something else.
    Command(Command),
}

/// What the tool does besides building modules.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Say what is in a kernel's image or in a module
    Image(ImageArguments),
    /// Say whether source files compile to what a kernel runs
    Match(Box<MatchArguments>),
    /// Build a livepatch module from a livepatch that is written in Rust
    Rust(Box<RustArguments>),
}

impl CommandLine {
    /// Takes a command line apart, the program's name included. Beside a subcommand nothing of the flat
    /// form is taken or demanded, whatever the environment says.
    ///
    /// # Errors
    /// What clap says of it, help and version included.
    pub fn parse_from<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::definition();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let parsed = if matches.subcommand_name().is_some() {
            Command::from_arg_matches(&matches).map(CommandLine::Command)
        } else {
            Cli::from_arg_matches(&matches).map(|cli| CommandLine::Build(Box::new(cli)))
        };
        parsed.map_err(|error| error.format(&mut command))
    }

    fn definition() -> clap::Command {
        // The flat form comes last: what it says of itself is the tool's description.
        Cli::augment_args(Command::augment_subcommands(clap::Command::new("kpatch-build")))
            .subcommand_required(false)
            .arg_required_else_help(false)
            .disable_help_subcommand(true)
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
    }
}

/// Builds a livepatch module from a source patch, for a kernel as the distribution ships it or as you built
/// it.
///
/// Only what the patch touches is compiled. The source tree and the kernel's build are never written to;
/// everything else comes from that build, or from the kernel's own packages: its headers, its image, its
/// modules.
#[derive(Debug, Clone, Parser)]
#[command(name = "kpatch-build", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Patches to build in, applied in this order as `patch -p1` would
    #[arg(required = true, value_name = "PATCH")]
    pub patches: Vec<PathBuf>,

    /// The kernel, and how the run is made
    #[command(flatten)]
    pub settings: Settings,

    /// Name of the module, and of the patch in /sys/kernel/livepatch
    /// [default: livepatch-NAME-OF-THE-FIRST-PATCH]
    #[arg(short, long, value_name = "NAME", value_parser = module_name)]
    pub name: Option<String>,

    /// Directory for the finished module
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,

    /// Stack the patch upon those that are loaded, instead of replacing them all
    #[arg(short = 'R', long)]
    pub no_replace: bool,

    /// Build a patch that may be enabled on any kernel and module, whatever their build-ids; for kernels
    /// that have none, and at your own risk elsewhere
    #[arg(long)]
    pub no_build_id_check: bool,

    /// What compiles the Rust parts of the module: kbuild (`rust-for-linux`), which needs a kernel with
    /// CONFIG_RUST that was built here, or rustc by itself (`freestanding`); `auto` takes the first where it can
    #[arg(long, value_name = "TEMPLATE", default_value = "auto")]
    pub template: Template,

    /// How many objects a patch to headers may make it compile
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_objects: u32,

    /// Say why each changed function is that: the first difference, both sides disassembled around it,
    /// and where it is in the source
    #[arg(long)]
    pub explain: bool,

    /// How to say what came of it on standard output: as lines, or as one JSON document with all
    /// explanations and refusals
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// The schema of [`create_diff_object::explain::report`]; docs/report.md describes it.
    Json,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  the module is built
  1  a tool failed
  2  the command line is wrong
  3  refused: this patch cannot be built for this kernel (KPBnnnn says why)
  4  nothing that runs is changed by the patch

Examples:
  kpatch-build -s linux-source-6.12 -k 6.12.117+deb12-cloud-amd64 fix.patch
  kpatch-build -s linux fix.patch              (a kernel that was built there)
  kpatch-build -s linux -O build fix.patch     (a kernel that was built in `build`)";

impl Cli {
    /// The name of the module: as given, or made from the first patch's file name.
    ///
    /// # Errors
    /// When the patch's file name gives no module name.
    pub fn module_name(&self) -> Result<String, String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let stem = self.patches.first().and_then(|patch| patch.file_stem()?.to_str());
        let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let stem: String = stem.unwrap_or_default().chars().map(fit).collect();
        let name = format!("livepatch-{}", stem.trim_matches('-'));
        module_name(&name).map_err(|error| format!("{error}; name it with `-n`"))
    }
}

/// The kernel's limit is `MODULE_NAME_LEN` (include/linux/moduleparam.h): 64 less a pointer's
/// size, with the final NUL.
const LONGEST_NAME: usize = 64 - 8 - 1;

pub(crate) fn module_name(name: &str) -> Result<String, String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if name.is_empty() || !plain || name.starts_with('-') {
        return Err(format!("`{name}` is no module name: letters, digits, `-`, `_`"));
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("`{name}` is longer than the {LONGEST_NAME} bytes of a module name"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["kpatch-build"], args].concat())
    }

    #[test]
    fn the_definition_is_sound() {
        CommandLine::definition().debug_assert();
    }

    fn command_line(args: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::parse_from([&["kpatch-build"], args].concat())
    }

    #[test]
    fn a_subcommand_stands_alone() {
        let image = |args: &[&str]| match command_line(args) {
            Ok(CommandLine::Command(Command::Image(arguments))) => arguments,
            other => panic!("{other:?}"),
        };
        let arguments = image(&["image", "vmlinuz", "--function", "a", "--function", "b"]);
        assert_eq!(arguments.functions, ["a", "b"]);
        assert_eq!((arguments.running, arguments.symbols, arguments.json), (None, false, false));
        let running = image(&["image", "--running", "vmlinuz"]).running;
        assert_eq!(running, Some(PathBuf::from("/proc/kallsyms")));
        assert_eq!(image(&["image", "--running=k", "v"]).running, Some(PathBuf::from("k")));
        let rust = ["rust", "-s", "linux", "--module", "a.ko", "--module", "b.ko", "x.rs"];
        match command_line(&rust) {
            Ok(CommandLine::Command(Command::Rust(arguments))) => {
                assert_eq!(arguments.livepatch, PathBuf::from("x.rs"));
                assert_eq!(arguments.other_modules.len(), 2);
            }
            other => panic!("{other:?}"),
        }
        assert!(command_line(&["rust", "x.rs"]).is_err(), "without a kernel");
        assert!(command_line(&["image"]).is_err());
        assert!(command_line(&["image", "vmlinuz", "a.patch"]).is_err());
        // The flat form is as it was; a patch may have the name of a subcommand.
        for patch in ["a.patch", "image"] {
            match command_line(&["-s", "linux", patch]).unwrap() {
                CommandLine::Build(cli) => assert_eq!(cli.patches, [PathBuf::from(patch)]),
                CommandLine::Command(command) => panic!("{command:?}"),
            }
        }
        assert!(command_line(&["a.patch"]).is_err());
        assert!(command_line(&[]).is_err());
        let help = command_line(&["--help"]).unwrap_err().to_string();
        for text in ["Builds a livepatch module from", "  image ", "Exit codes:", "--source"] {
            assert!(help.contains(text), "`{text}` is not in:\n{help}");
        }
        let version = command_line(&["--version"]).unwrap_err().to_string();
        assert_eq!(version, format!("kpatch-build {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn takes_several_patches_in_order() {
        let cli = parse(&["-s", "linux", "-R", "-j3", "b.patch", "a.patch"]).unwrap();
        assert_eq!(cli.patches, [PathBuf::from("b.patch"), PathBuf::from("a.patch")]);
        assert!(cli.no_replace && cli.settings.jobs() == 3);
        assert!(!cli.no_build_id_check, "build-ids are checked unless the user insists");
        assert_eq!(cli.module_name().unwrap(), "livepatch-b");
    }

    #[test]
    fn refuses_what_is_no_command_line() {
        assert!(parse(&["-s", "linux"]).is_err());
        assert!(parse(&["a.patch"]).is_err());
        assert!(parse(&["-s", "linux", "-j0", "a.patch"]).is_err());
        assert!(parse(&["-s", "linux", "-n", "a/b", "a.patch"]).is_err());
        assert!(parse(&["-s", "linux", "-n", &"x".repeat(56), "a.patch"]).is_err());
    }

    #[test]
    fn makes_a_module_name_of_a_file_name() {
        let cli = parse(&["-s", "linux", "fixes/0001-proc: a fix.patch"]).unwrap();
        assert_eq!(cli.module_name().unwrap(), "livepatch-0001-proc--a-fix");
    }
}

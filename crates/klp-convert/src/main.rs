//! Command line of the converter.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;
use kpatch_refusal::Refusals;

/// Turns an intermediate module into a livepatch module, and verifies one.
///
/// Exit codes: 0 done, 1 failure of the tool, 2 usage, 3 refused.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The module that kbuild made, with placeholders.
    #[arg(required = true, value_name = "IN.ko")]
    input: Option<PathBuf>,
    /// The livepatch module to write: as a whole, or not at all.
    #[arg(required = true, value_name = "OUT.ko")]
    output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a finished livepatch module against the kernel's contract.
    Verify {
        /// The module.
        #[arg(value_name = "FILE.ko")]
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match (arguments.command, arguments.input, arguments.output) {
        (Some(Command::Verify { file }), _, _) => klp_convert::verify_file(&file),
        (None, Some(input), Some(output)) => klp_convert::convert_file(&input, &output),
        // The parser demands both.
        (None, _, _) => return ExitCode::from(2),
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => match error.downcast::<Refusals>() {
            Ok(refusals) => {
                eprintln!("{refusals}");
                ExitCode::from(3)
            }
            Err(error) => {
                eprintln!("klp-convert: {error:#}");
                ExitCode::from(1)
            }
        },
    }
}

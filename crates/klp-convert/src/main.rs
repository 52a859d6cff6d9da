//! Command line of the converter.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;
use klp_convert::KernelFiles;
use klp_convert::Target;
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
        /// The image of the kernel that it is for: looks up every symbol and function.
        #[arg(long, value_name = "VMLINUZ")]
        image: Option<PathBuf>,
        /// The modules of that kernel (`/lib/modules/RELEASE`).
        #[arg(long, value_name = "DIR")]
        modules: Option<PathBuf>,
        /// The `Module.symvers` of that kernel; without it image and modules tell the exports.
        #[arg(long, value_name = "FILE")]
        symvers: Option<PathBuf>,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut as_json = false;
    let result = match (arguments.command, arguments.input, arguments.output) {
        (Some(Command::Verify { file, image, modules, symvers, json }), _, _) => {
            as_json = json;
            klp_convert::verify_file(&file, &KernelFiles { image, modules, symvers })
        }
        (None, Some(input), Some(output)) => {
            klp_convert::convert_file(&input, &output, &Target::default())
        }
        // The parser demands both.
        (None, _, _) => return ExitCode::from(2),
    };
    let result = result.and_then(|report| match as_json {
        true => Ok(serde_json::to_string_pretty(&report)?),
        false => Ok(report.to_string()),
    });
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

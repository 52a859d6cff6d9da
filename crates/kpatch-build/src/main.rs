//! `kpatch-build`: the command line around the library.

use std::process::ExitCode;

use clap::Parser;
use create_diff_object::explain::report::Outcome;
use create_diff_object::explain::report::Report;
use kpatch_build::cli::Cli;
use kpatch_build::cli::Format;
use kpatch_build::outcome;
use kpatch_build::report;
use kpatch_build::run;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut report = Report::new(Outcome::Unchanged);
    let result = run::run(&cli, &mut report);
    match cli.format {
        Format::Text => {
            if let Err(error) = &result {
                eprintln!("{}", outcome::message(error));
            }
        }
        // A document says all but what no program can act on.
        Format::Json => match report::document(report, &result) {
            Ok(document) => print!("{}", document.to_json()),
            Err(error) => eprintln!("{}", outcome::message(error)),
        },
    }
    ExitCode::from(outcome::exit_code(&result))
}

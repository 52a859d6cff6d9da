//! `kpatch-build`: the command line around the library.

use std::process::ExitCode;

use create_diff_object::explain::report::Outcome;
use create_diff_object::explain::report::Report;
use kpatch_build::authored;
use kpatch_build::cli::Cli;
use kpatch_build::cli::Command;
use kpatch_build::cli::CommandLine;
use kpatch_build::cli::Format;
use kpatch_build::image_report;
use kpatch_build::match_report;
use kpatch_build::outcome;
use kpatch_build::report;
use kpatch_build::run;

fn main() -> ExitCode {
    match CommandLine::parse_from(std::env::args_os()) {
        Ok(CommandLine::Build(cli)) => build(&cli),
        Ok(CommandLine::Command(command)) => other(&command),
        Err(error) => error.exit(),
    }
}

fn other(command: &Command) -> ExitCode {
    let result = match command {
        Command::Image(arguments) => image_report::run(arguments, std::io::stdout().lock()),
        Command::Rust(arguments) => authored::run(arguments, std::io::stdout().lock()),
        Command::Match(arguments) => match_report::run(arguments, std::io::stdout().lock()),
    };
    if let Err(error) = &result {
        eprintln!("{}", outcome::message(error));
    }
    ExitCode::from(outcome::exit_code(&result))
}

fn build(cli: &Cli) -> ExitCode {
    let mut report = Report::new(Outcome::Unchanged);
    let result = run::run(cli, &mut report);
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

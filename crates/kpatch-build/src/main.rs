//! `kpatch-build`: the command line around the library.

use std::process::ExitCode;

use clap::Parser;
use kpatch_build::cli::Cli;
use kpatch_build::outcome;
use kpatch_build::run;

fn main() -> ExitCode {
    let result = run::run(&Cli::parse());
    if let Err(error) = &result {
        eprintln!("{}", outcome::message(error));
    }
    ExitCode::from(outcome::exit_code(&result))
}

//! Compares many objects of the stock kernel with themselves, compiled as they are and with all lines
//! moved, and lists every one in which the differ sees a change.
//!
//! usage: self-diff NUMBER [CONFIG]
//!
//! CONFIG is a complete configuration for the same source; without it, it is the shipped one. Exit
//! code 1 when an object differs.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use integration::kernel;
use integration::self_diff::Answer;
use integration::self_diff::Ground;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (number, config) = match &arguments[..] {
        [number] => (number, None),
        [number, config] => (number, Some(Path::new(config))),
        _ => anyhow::bail!("usage: self-diff NUMBER [CONFIG]"),
    };
    let number = number.parse().context("the first argument is not a number")?;
    let cache = kernel::cache_dir();
    let kernel = kernel::find(&cache)?.context("no kernel (scripts/fetch-kernel.sh gets one)")?;
    let dir = tempfile::tempdir()?;
    let started = Instant::now();
    let ground = Ground::of(&kernel, config, &cache, dir.path())?;
    let units = ground.sample(number)?;
    let (mut same, mut not_compiled, mut differ) = (0, 0, 0);
    // In parts, so that what is found is seen early.
    for part in units.chunks(100) {
        for (object, answer) in ground.compare(part)? {
            match answer {
                Answer::Same => same += 1,
                Answer::NotCompiled(message) => {
                    not_compiled += 1;
                    println!("not compiled: {object}: {}", first_line(&message));
                }
                Answer::Differs(text) => {
                    differ += 1;
                    println!("differs: {object}: {text}");
                }
            }
        }
    }
    println!(
        "{} objects: {same} no change, {differ} differ, {not_compiled} not compiled ({:.0} s)",
        units.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(if differ == 0 && same > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn first_line(text: &str) -> &str {
    let errors = text.lines().find(|line| line.contains("error:"));
    errors.or(text.lines().next()).unwrap_or_default()
}

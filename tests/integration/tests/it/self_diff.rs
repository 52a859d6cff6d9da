//! A sample of the kernel against itself, and one real change among moved lines.

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::kernel;
use integration::self_diff::Answer;
use integration::self_diff::Ground;

use crate::Test;
use crate::suite::Suite;
use crate::tool::failed;

/// How many objects are compared.
const SAMPLE: usize = 60;

/// The tests.
pub(crate) fn tests() -> Vec<Test> {
    vec![test("self_diff::sample", sample), test("self_diff::one_instruction", one_instruction)]
}

fn test(name: &str, run: fn(&Ground) -> Result<()>) -> Test {
    let run = move |suite: &Suite| {
        let ground = || {
            let kernel = &suite.target()?.kernel;
            Ground::of(kernel, None, &kernel::cache_dir(), &suite.folder("self_diff")?)
        };
        ground().and_then(|ground| run(&ground)).map_err(failed)
    };
    Test { name: name.to_owned(), boots: false, absent: None, run: Box::new(run) }
}

fn sample(ground: &Ground) -> Result<()> {
    let units = ground.sample(SAMPLE)?;
    ensure!(units.len() == SAMPLE, "only {} units", units.len());
    let answers = ground.compare(&units)?;
    let same = answers.iter().filter(|(_, answer)| *answer == Answer::Same).count();
    let others: Vec<String> = answers
        .iter()
        .filter_map(|(object, answer)| match answer {
            Answer::Differs(text) => Some(format!("{object}: {text}")),
            _ => None,
        })
        .collect();
    ensure!(others.is_empty(), "{} of {SAMPLE} differ:\n{}", others.len(), others.join("\n"));
    // A few need headers that only a whole build generates.
    ensure!(same >= SAMPLE - 5, "only {same} of {SAMPLE} compile: {answers:?}");
    Ok(())
}

/// A single other instruction is seen, though all lines have moved as well.
fn one_instruction(ground: &Ground) -> Result<()> {
    let units = ground.sample(SAMPLE)?;
    let unit = units.iter().find(|unit| unit.source == "fs/proc/cmdline.c");
    let unit = unit.context("`fs/proc/cmdline.c` is not in the sample")?;
    let changed = ground.changed(unit, r"seq_putc(m, '\n')", r"seq_putc(m, '\t')")?;
    ensure!(changed == ["cmdline_proc_show"], "changed: {changed:?}");
    Ok(())
}

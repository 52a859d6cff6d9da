//! The tests on a real kernel, one named test per case:
//!
//! - `vm::<cpu>::<case>`: before / loaded / disabled / unloaded on the stock kernel in QEMU;
//! - `vm::control::…`: the harness itself must see what goes wrong in a guest;
//! - `fixes::<patch>`: real changes of the stable series, on the kernel that they are for;
//! - `refuse::<case>`, `build::<case>`: the tool's answer, without a boot;
//! - `self_diff::…`: the differ on a sample of the kernel against itself, with all lines moved;
//! - `kallsyms::…`: the image's symbol table against the one of the kernel that it boots;
//! - `matching::…`: compiled files against the code of the stock kernel;
//! - `tree::…`: kernels that were built here, with nothing named but the tree and the patch;
//! - `trap::…`: what must not happen to the user's source tree.
//!
//! Builds and boots that the chosen tests need run first, two at a time; the tests then look at
//! what came out. Without a kernel in the cache or without QEMU the tests that need them are left
//! out, loudly; with `KPATCH_REQUIRE_VM=1` they fail instead.

mod control;
mod fixes;
mod kallsyms;
mod matching;
mod self_diff;
mod setup;
mod suite;
mod tool;
mod traps;
mod trees;
mod two_modules;
mod vm;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;

use crate::suite::Suite;

/// What a test does with what all tests share.
pub(crate) type Run = Box<dyn FnOnce(&Suite) -> Result<(), Failed> + Send>;

/// A test: its name, what it needs beforehand, and itself.
pub(crate) struct Test {
    pub(crate) name: String,
    /// Whether it needs QEMU besides a kernel set.
    pub(crate) boots: bool,
    /// Why it is left out wherever it runs: what it is about is not to be had any more.
    pub(crate) absent: Option<String>,
    pub(crate) run: Run,
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    let tests = match all_tests() {
        Ok(tests) => tests,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    // The tools under test run several processes each; two cores are all that is assumed.
    args.test_threads = args.test_threads.or(Some(2));
    let chosen = |name: &str| is_chosen(&args, name);
    let none_run = args.list || !tests.iter().any(|test| chosen(&test.name));
    let suite = if none_run { Ok(None) } else { Suite::prepare().map(Some) };
    let suite = match suite {
        Ok(suite) => suite.map(Arc::new),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(suite) = &suite {
        let names: Vec<&str> =
            tests.iter().map(|test| test.name.as_str()).filter(|name| chosen(name)).collect();
        vm::run_ahead(suite, &names);
        fixes::run_ahead(suite, &names);
        trees::run_ahead(suite, &names);
    }
    let trials = tests.into_iter().map(|test| trial(test, suite.clone())).collect();
    libtest_mimic::run(&args, trials).exit_code()
}

fn all_tests() -> anyhow::Result<Vec<Test>> {
    let mut tests = vm::tests()?;
    tests.extend(control::tests());
    tests.extend(kallsyms::tests());
    tests.extend(matching::tests());
    tests.extend(tool::tests("build")?);
    tests.extend(tool::tests("refuse")?);
    tests.extend(traps::tests());
    tests.extend(self_diff::tests());
    tests.extend(fixes::tests()?);
    tests.extend(trees::tests());
    Ok(tests)
}

fn trial(test: Test, suite: Option<Arc<Suite>>) -> Trial {
    let missing = suite.as_ref().and_then(|suite| suite.missing(test.boots));
    let skipped = test.absent.is_some() || missing.is_some() && !suite::must_run();
    let missing = test.absent.or(missing);
    Trial::test(test.name, move || match (suite, missing) {
        (_, Some(missing)) => Err(format!("cannot run here: {missing}").into()),
        (Some(suite), None) => (test.run)(&suite),
        (None, None) => Err("nothing was prepared for this test".into()),
    })
    .with_ignored_flag(skipped)
}

/// As libtest-mimic chooses, which does not tell.
fn is_chosen(args: &Arguments, name: &str) -> bool {
    let matches = |pattern: &str| {
        if args.exact { name == pattern } else { name.contains(pattern) }
    };
    args.filter.as_deref().is_none_or(matches) && !args.skip.iter().any(|skip| matches(skip))
}

//! The differ on small C sources that gcc and clang compile with the kernel's flags, and on damaged
//! objects.
//!
//! A case is a file `tests/cases/<name>.c`, compiled twice: as it is (the running kernel), and with
//! `-DPATCHED`. What is expected stands in comments of the source, one directive per line:
//!
//! - `//@ changed: f g` – the functions that replace one of the kernel, all of them, without the
//!   numbers that compilers append, and static variables without the function that clang puts before
//!   them. No directive: none.
//! - `//@ new: f g` – likewise for the functions that the kernel does not have.
//! - `//@ same` – nothing at all goes into the patch. A case says this, or `changed`, `new`,
//!   `new-globals` or `refuse`.
//! - `//@ new-globals: a b` – what the object offers to others of the same patch.
//! - `//@ refuse: KPB0402 symbol` – a reason against the patch; all of them have to be listed. `*` as
//!   symbol stands for code without a name.
//! - `//@ exported: a b` – names that the kernel exports; every other reference must become a
//!   placeholder for the livepatch core.
//! - `//@ module: m a b` – names that module `m` defines.
//! - `//@ placeholders: a b` – the placeholders of the emitted object, all of them.
//! - `//@ refers: f -> g` – the code or data of `f` in the emitted object has a reference to the
//!   emitted `g`; `-> klp g` to the placeholder of `g`, `-> plain g` to an undefined symbol;
//!   `refers-not` says that it has none.
//! - `//@ holds: section 24` – the emitted object has that many bytes in sections of this name, and
//!   `//@ lacks: section` that it has none. `*` as number: any but none.
//! - `//@ text: words` – the emitted object holds that string, and `//@ no-text: words` does not.
//! - `//@ warns: words` – a warning says so. If a case has any such directive, it lists all warnings.
//! - `//@ run: f(1, 2) = 3` – the new `f`, linked with the original object as its kernel and called,
//!   returns that.
//! - `//@ outlives: f -> g` – `f` leads to `g` (a new function, a cold part), which may still run when the
//!   patch is disabled; all of them have to be listed, or `none`. `*` stands for data without a name.
//! - `//@ new-elsewhere: a b` – functions that another object of the patch defines.
//! - `//@ explains: f: words` – the explanation of the changed function or variable `f` has a line with
//!   these words; the first line of it is `class: summary`.
//! - `//@ flags: -f…` – more options for the compiler. `//@ patched-flags: …` – for the patched side only.
//! - `//@ only: padded gcc` – do not compile in other ways or with other compilers.
//! - `//@ clang-changed: f`, `//@ gcc-refers: …` – any directive with the name of a compiler before it
//!   holds for that one alone. What such directives answer, or list as placeholders, replaces what is
//!   said for all. Beside them stands why the compilers differ.
//!
//! Every case is compiled with call padding (`padded`), without it (`plain`), and without it but with
//! jump tables (`switch`): by the gcc of the kernel that the project is for, then by clang, and by the
//! newest gcc if that is another (`compilers.rs`). What is not installed is said to be left out.
//! Whatever is emitted is also checked for itself: see `emitted.rs`.

mod case;
mod compile;
mod compilers;
mod emitted;
mod expect;
mod explained;
mod files;
mod fuzz;
mod kernel;
mod pairs;
mod real;
mod run;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;

use crate::case::Case;
use crate::compilers::Family;
use crate::compilers::Way;
use crate::compilers::ways;

fn main() -> ExitCode {
    if let Some(code) = fuzz::child() {
        return code;
    }
    let args = Arguments::from_args();
    let (gcc, clang) = match (case::read_all(Family::Gcc), case::read_all(Family::Clang)) {
        (Ok(gcc), Ok(clang)) => (gcc, clang),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for way in ways() {
        let cases = if way.family == Family::Gcc { &gcc } else { &clang };
        for case in cases.iter().filter(|case| case.is_for(way)) {
            let case = case.clone();
            let name = format!("{}::{}", way.name, case.name);
            trials.push(Trial::test(name, move || whole_case(&case, way)));
        }
    }
    let padded = &ways()[0];
    let cases: Vec<_> = gcc.into_iter().filter(|case| case.is_for(padded)).collect();
    trials.extend(fuzz::trials(&cases, padded));
    trials.push(Trial::test("readme::cases", || Ok(case::those_in_the_readme_exist()?)));
    trials.extend(files::trials());
    trials.extend(real::trials());
    trials.extend(pairs::trials(&real::shared()));
    libtest_mimic::run(&args, trials).exit_code()
}

fn whole_case(case: &Case, way: &Way) -> Result<(), Failed> {
    let pair = compile::pair(case, way)?;
    expect::no_change_to_itself(&pair)?;
    expect::answer(case, &pair)
}

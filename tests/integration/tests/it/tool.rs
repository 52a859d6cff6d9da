//! The tool's answer to one patch, without a boot: refusals with code, place and hint, and builds
//! whose output says enough.

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::build;
use integration::build::Ran;
use integration::case;
use integration::case::ToolCase;
use kpatch_refusal::Code;
use libtest_mimic::Failed;
use object::Object;
use object::ObjectSection;

use crate::Test;
use crate::setup;
use crate::suite::Suite;
use crate::suite::here;

/// One test for each folder in `kind` (`refuse` or `build`), and for those of kpatch's cases.
pub(crate) fn tests(kind: &'static str) -> Result<Vec<Test>> {
    let mut cases = case::tool_cases(&here().join(kind))?;
    for case in case::tool_cases(&here().join("kpatch").join(kind))? {
        cases.push(ToolCase { name: format!("kpatch-{}", case.name), ..case });
    }
    let test = |case: ToolCase| Test {
        name: format!("{kind}::{}", case.name),
        boots: false,
        absent: None,
        run: Box::new(move |suite: &Suite| run(suite, kind, &case).map_err(failed)),
    };
    Ok(cases.into_iter().map(test).collect())
}

/// An error with all its causes, as the report shows it.
pub(crate) fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}

fn run(suite: &Suite, kind: &str, case: &ToolCase) -> Result<()> {
    let dir = suite.folder(&format!("{kind}/{}", case.name))?;
    let target = suite.target()?;
    let target = setup::for_build(&case.build, target, &dir)?;
    let name = format!("kt_{kind}_{}", case.name).replace('-', "_");
    let ran = build::run(&target, &case.build, &name, &dir.join("out"))?;
    check(case, &ran).with_context(|| format!("the tool said:\n{}\nand", ran.all()))
}

fn check(case: &ToolCase, ran: &Ran) -> Result<()> {
    ensure!(ran.code == Some(case.exit), "exit code {:?} is not {}", ran.code, case.exit);
    let said = if case.exit == 0 { ran.all() } else { ran.stderr.clone() };
    if let Some(code) = &case.code {
        ensure!(
            Code::ALL.iter().any(|known| known.to_string() == *code),
            "`{code}` is not in the table of codes"
        );
        ensure!(said.contains(&format!("{code}: ")), "standard error does not name {code}");
    }
    for text in &case.says {
        ensure!(said.contains(text), "it does not say `{text}`");
    }
    for text in &case.silent {
        ensure!(!said.contains(text), "it says `{text}`");
    }
    ensure!(
        ran.module.is_some() == (case.exit == 0),
        "exit code {} and module {:?} do not fit together",
        case.exit,
        ran.module
    );
    if let Some(module) = &ran.module {
        let bytes = std::fs::read(module)?;
        let file = object::File::parse(&*bytes)?;
        let sections: Vec<&str> = file.sections().filter_map(|s| s.name().ok()).collect();
        for wanted in &case.sections {
            ensure!(
                sections.iter().any(|section| section.starts_with(wanted.as_str())),
                "no section of the module starts with `{wanted}`: {sections:?}"
            );
        }
    }
    Ok(())
}

//! One object that kbuild links into two modules (`drivers/net/ethernet/ti/Makefile`): both are patched, each with
//! what its own code refers to, and what is new is there twice, or the patch is refused.

use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use integration::build;
use integration::build::Ran;
use integration::built;
use integration::built::BuiltTree;
use integration::case::Build;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;

use crate::suite::Suite;
use crate::suite::here;
use crate::traps;
use crate::trees;

const MODULES: [&str; 2] = ["ti_cpsw", "ti_davinci_emac"];

/// Runs the tool on `tree` with both patches.
pub(crate) fn check(suite: &Suite, tree: &BuiltTree, out: &Path) -> Result<()> {
    let ran = run(suite, tree, "object-of-two-modules.patch", &out.join("apart"))?;
    ensure!(ran.code == Some(0), "exit code {:?}:\n{}", ran.code, ran.all());
    let line = "drivers/net/ethernet/ti/davinci_cpdma.o: changed function: cpdma_ctlr_destroy";
    ensure!(ran.all().matches(line).count() == MODULES.len(), "not for both:\n{}", ran.all());
    let bytes = std::fs::read(ran.module.as_ref().context("no module")?)?;
    let file = object::File::parse(&*bytes)?;
    let sections: Vec<&str> = file.sections().filter_map(|section| section.name().ok()).collect();
    for module in MODULES {
        let wanted = format!(".klp.rela.{module}..text.cpdma_ctlr_destroy");
        ensure!(sections.contains(&&*wanted), "no `{wanted}` in {sections:?}");
    }
    // Either module counts by itself, as it would if it had been built with the patch.
    for (name, times) in [("kpatch_count", 2), ("cpdma_ctlr_destroy", 2)] {
        let named = file.symbols().filter(|symbol| symbol.name() == Ok(name));
        let local = named.filter(|symbol| symbol.is_local() && symbol.is_definition()).count();
        ensure!(local == times, "`{name}` is there {local} times");
    }

    let ran = run(suite, tree, "object-of-two-modules-by-name.patch", &out.join("by-name"))?;
    trees::refused(&ran, "KPB0408")?;
    for text in MODULES.iter().copied().chain(["kpatch_count", "make it static"]) {
        ensure!(ran.stderr.contains(text), "it does not say `{text}`:\n{}", ran.all());
    }
    Ok(())
}

fn run(suite: &Suite, tree: &BuiltTree, patch: &str, out: &Path) -> Result<Ran> {
    std::fs::create_dir_all(out)?;
    let patches = vec![here().join("trees").join(patch)];
    let build = Build { patches, ..traps::small() };
    let mut command = built::command(&suite.target()?.tool, tree, &build, out)?;
    build::run_command(&mut command, out)
}

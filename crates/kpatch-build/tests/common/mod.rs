//! The real kernel that the tests of this crate work on: what `scripts/` put into the cache.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use kpatch_build::cache::Cache;
use kpatch_build::front;
use kpatch_build::front::Context;
use kpatch_build::front::Front;
use kpatch_build::prepare::Origin;
use kpatch_build::prepare::Shipped;
use kpatch_build::progress::Progress;
use kpatch_build::source_tree;
use tool_run::ToolLog;

/// A kernel in the cache.
pub(crate) struct Kernel {
    pub(crate) cache: PathBuf,
    pub(crate) source: PathBuf,
    pub(crate) shipped: Shipped,
}

/// The kernel in the cache; says so, loudly, if there is none.
pub(crate) fn kernel() -> Option<Kernel> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/kpatch"));
    let cache = std::env::var_os("KPATCH_CACHE").map(PathBuf::from).or_else(home)?;
    let file = cache.join("kernels/current/kernel.env");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: no kernel in the cache (`{}`): run `make test`", file.display());
        return None;
    };
    let values: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim_matches(['"', '\''])))
        .collect();
    let headers = Path::new(values["HEADERS"]);
    let shipped = Shipped {
        config: headers.join(".config"),
        symvers: headers.join("Module.symvers"),
        release: values["RELEASE"].to_owned(),
    };
    Some(Kernel { cache, source: PathBuf::from(values["SOURCE"]), shipped })
}

impl Kernel {
    /// Runs the front half for patches with these texts; objects go to `work`.
    pub(crate) fn front(&self, work: &Path, patches: &[&str]) -> Result<Front> {
        let mut files = Vec::new();
        for (number, text) in patches.iter().enumerate() {
            let file = work.join(format!("{number}.patch"));
            std::fs::write(&file, text)?;
            files.push(file);
        }
        let cache = Cache::open(&self.cache)?;
        let log = ToolLog::open(&work.join("log"))?;
        let progress = Progress::new(true);
        let context = Context { cache: &cache, work, jobs: 2, log: &log, progress: &progress };
        let tree = progress.step("read the source tree", || source_tree::read(&self.source))?;
        front::run(
            &context,
            &tree,
            &Origin::Shipped(self.shipped.clone()),
            &front::read_patches(&files)?,
            200,
        )
    }

    /// A patch that replaces the line `line` of `file` (the line number is looked up) by `new`.
    pub(crate) fn replace(&self, file: &str, line: &str, new: &[&str]) -> String {
        let text = std::fs::read_to_string(self.source.join(file)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let found = lines.iter().position(|candidate| *candidate == line);
        let at = found.unwrap_or_else(|| panic!("`{file}` has no line `{line}`"));
        let context = |line: &str| format!(" {line}\n");
        let before: String = lines[at.saturating_sub(3)..at].iter().map(|l| context(l)).collect();
        let after: String =
            lines[at + 1..lines.len().min(at + 4)].iter().map(|l| context(l)).collect();
        let (above, below) = (before.lines().count(), after.lines().count());
        let added: String = new.iter().map(|line| format!("+{line}\n")).collect();
        format!(
            "--- a/{file}\n+++ b/{file}\n@@ -{start},{old} +{start},{count} @@\n\
             {before}-{line}\n{added}{after}",
            start = at + 1 - above,
            old = above + 1 + below,
            count = above + new.len() + below,
        )
    }
}

//! One run from the command line to the module.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use create_diff_object::explain::report::Report;
use kpatch_refusal::Refusal;
use tool_run::ToolLog;

use crate::cache::Cache;
use crate::cli::Cli;
use crate::cli::Format;
use crate::diff;
use crate::front;
use crate::front::Context;
use crate::link;
use crate::link::Wish;
use crate::outcome::Usage;
use crate::progress::Progress;
use crate::progress::seconds;
use crate::report;
use crate::source_tree;
use crate::target;

/// Builds the module that `cli` asks for and returns where it is; `report` gets what is known of the
/// patch, also when it is refused.
///
/// # Errors
/// [`Usage`], refusals, [`crate::outcome::NothingChanged`] and tool failures, all to be told apart by
/// [`crate::outcome::exit_code`].
pub fn run(cli: &Cli, report: &mut Report) -> Result<PathBuf> {
    let progress = Progress::new(cli.verbose);
    let name = cli.module_name().map_err(Usage)?;
    let jobs = cli.jobs();
    rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global().ok();

    let patches = front::read_patches(&cli.patches)?;
    let parts = target::locate(cli)?;
    let cache = Cache::open(&cli.cache().map_err(Usage)?)?;
    let work = WorkDir::open(cli, &cache)?;
    let log = ToolLog::open(&work.path.join("log"))?;
    progress.detail(&format!("work directory: {}", work.path.display()));

    let tree = progress.step("read the source tree", || source_tree::read(&cli.source))?;
    let target = progress.step("read the kernel's image and symbols", || {
        target::open(parts, &tree.root, &tree.version)
    })?;
    let only_on = match cli.no_build_id_check {
        true => None,
        false => Some(target.identity.as_ref().map_err(Refusal::clone)?),
    };
    let context = Context { cache: &cache, work: &work.path, jobs, log: &log, progress: &progress };
    let front = front::run(&context, &tree, &target.shipped(), &patches)?;
    let is_text = cli.format == Format::Text;
    let explained = (cli.explain || !is_text).then_some(&mut report.objects);
    let objects = progress.step("diff", || {
        let directory = work.path.join("diff");
        diff::diff(&front.pairs, &target, &tree.root, &directory, explained)
    });
    if is_text {
        report::lines(objects.as_deref().unwrap_or_default());
        report::explanations(&report.objects);
    }
    let objects = objects?;
    report::add(report, &objects);
    if is_text {
        for notice in objects.iter().flat_map(|object| &object.notices) {
            progress.warning(&notice.to_string());
        }
    }
    if only_on.is_none() {
        progress.warning(
            "the patch does not check build-ids: it may be enabled on what it was not built for",
        );
    }
    let wish = Wish { name: &name, replace: !cli.no_replace, only_on };
    let prepared = &front.prepared;
    let intermediate = progress.step("link the module", || {
        link::link(&objects, wish, &target, prepared, (&work.path, cache.root()), jobs, &log)
    })?;
    let module = progress.step("convert and verify", || {
        link::convert(&intermediate, &objects, &target, &cli.output, &name)
    })?;
    progress.detail(&format!("compilers: {}", seconds(front.compiler_time)));
    progress.detail(&format!("total: {}", seconds(progress.elapsed())));
    if is_text {
        println!("{}", module.display());
    }
    work.done(cli.keep, &progress)?;
    Ok(module)
}

/// Work directories of failed runs are kept this long.
const KEEP_FAILED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The directory for a run's objects and logs. One that the tool made goes when all went well, unless
/// it is to be kept; after a failure it stays, with the log, for a week.
struct WorkDir {
    path: PathBuf,
    own: bool,
}

impl WorkDir {
    fn open(cli: &Cli, cache: &Cache) -> Result<Self> {
        if let Some(path) = &cli.work_dir {
            let absolute = fs::create_dir_all(path).and_then(|()| path.canonicalize());
            let path = absolute
                .map_err(|error| Usage(format!("cannot create `{}`: {error}", path.display())))?;
            return Ok(WorkDir { path, own: false });
        }
        let all = cache.root().join("work");
        fs::create_dir_all(&all).with_context(|| format!("cannot create `{}`", all.display()))?;
        for entry in fs::read_dir(&all)?.flatten() {
            let age = entry.metadata().and_then(|m| m.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > KEEP_FAILED) {
                // Another run may be at it, too; what stays goes next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = tempfile::Builder::new().prefix("run-").tempdir_in(&all)?.keep();
        Ok(WorkDir { path, own: true })
    }

    /// After success.
    fn done(self, keep: bool, progress: &Progress) -> Result<()> {
        if self.own && !keep {
            return fs::remove_dir_all(&self.path)
                .with_context(|| format!("cannot remove `{}`", self.path.display()));
        }
        progress.note(&format!("work directory: {}", self.path.display()));
        Ok(())
    }
}

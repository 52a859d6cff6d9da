//! What every command that works on a kernel begins with: the kernel's parts, the source tree, the cache,
//! a work directory and its log.

use anyhow::Result;
use tool_run::ToolLog;

use crate::cache::Cache;
use crate::farm::Farms;
use crate::front::Context;
use crate::outcome::Usage;
use crate::prepare;
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::source_tree::SourceTree;
use crate::target;
use crate::target::Target;
use crate::work_dir::WorkDir;

/// All of it, open.
#[derive(Debug)]
pub struct Session {
    /// What the user sees.
    pub progress: Progress,
    /// How many compilers may run at once.
    pub jobs: usize,
    /// The cache.
    pub cache: Cache,
    /// The work directory of this run.
    pub work: WorkDir,
    /// The log of all commands.
    pub log: ToolLog,
    /// The source tree.
    pub tree: SourceTree,
    /// The kernel.
    pub target: Target,
}

/// Opens what `settings` name, and holds the parts of the kernel against each other.
///
/// # Errors
/// [`Usage`] when something is not named, refusals for parts that cannot be read or do not belong together.
pub fn open(settings: &Settings) -> Result<Session> {
    let progress = Progress::new(settings.verbose);
    let jobs = settings.jobs();
    rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global().ok();
    let parts = target::locate(settings)?;
    let cache = Cache::open(&settings.cache().map_err(Usage)?)?;
    let work = WorkDir::open(settings, &cache)?;
    let log = ToolLog::open(&work.path.join("log"))?;
    progress.detail(&format!("work directory: {}", work.path.display()));
    let tree = progress.step("read the source tree", || parts.read_source(&settings.source))?;
    let target = progress.step("read the kernel's image and symbols", || {
        target::open(parts, &tree.root, &tree.version)
    })?;
    Ok(Session { progress, jobs, cache, work, log, tree, target })
}

impl Session {
    /// What the first half of a build works with.
    pub fn context(&self) -> Context<'_> {
        Context {
            cache: &self.cache,
            work: &self.work.path,
            jobs: self.jobs,
            log: &self.log,
            progress: &self.progress,
        }
    }

    /// An object directory of the kernel in which things can be compiled.
    ///
    /// # Errors
    /// As [`prepare::open`].
    pub fn prepare(&self) -> Result<Prepared> {
        let Self { progress, jobs, cache, log, tree, target, .. } = self;
        let farms = progress.step("link the source tree", || Farms::open(cache, tree))?;
        prepare::open(cache, tree, &farms.base(), &target.origin(), *jobs, log, progress)
    }
}

//! What all that compiles parts of a kernel is told alike: which kernel, where its parts are, and how the
//! run is made.

use std::path::PathBuf;

use clap::Args;

/// The kernel, and how the run is made.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Kernel source of exactly the kernel's version; may be read-only, configured or not. If a kernel was
    /// built in it, that is the one to patch, unless another is named
    #[arg(short, long, value_name = "DIR")]
    pub source: PathBuf,

    /// Directory that the kernel was built in, if not in its source (`make O=DIR`)
    #[arg(short = 'O', long, value_name = "DIR",
          conflicts_with_all = ["kernel", "headers", "image", "config"])]
    pub objdir: Option<PathBuf>,

    /// Release of the kernel to patch, as `uname -r` prints it [default: the running kernel's]
    #[arg(short, long, value_name = "RELEASE")]
    pub kernel: Option<String>,

    /// The kernel's headers: a directory with `.config` and `Module.symvers`
    /// [default: /usr/src/linux-headers-RELEASE]
    #[arg(long, value_name = "DIR")]
    pub headers: Option<PathBuf>,

    /// The kernel's image [default: /boot/vmlinuz-RELEASE]
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,

    /// The kernel's modules [default: /lib/modules/RELEASE, or those that were built]
    #[arg(long, value_name = "DIR")]
    pub modules: Option<PathBuf>,

    /// The kernel's configuration [default: `.config` of the headers]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How many compilers run at once [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,

    /// Directory for objects and logs of this run [default: a new one in the cache]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Keep the work directory also when all went well
    #[arg(long)]
    pub keep: bool,

    /// Say more about what is done
    #[arg(short, long)]
    pub verbose: bool,

    /// Where prepared kernels and objects are kept between runs [default: ~/.cache/kpatch]
    #[arg(long, value_name = "DIR", env = "KPATCH_CACHE")]
    pub cache: Option<PathBuf>,
}

impl Settings {
    /// How many compilers may run at once.
    pub fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(processors, usize::from)
    }

    /// Whether a kernel is named that was not built here.
    pub fn names_distribution(&self) -> bool {
        let named = [&self.headers, &self.image, &self.config];
        self.kernel.is_some() || named.iter().any(|part| part.is_some())
    }

    /// The cache directory.
    ///
    /// # Errors
    /// When none is given and there is no home directory to put it in.
    pub fn cache(&self) -> Result<PathBuf, String> {
        if let Some(cache) = &self.cache {
            return Ok(cache.clone());
        }
        let base = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let base = base.map(PathBuf::from).or_else(home);
        base.map(|base| base.join("kpatch")).ok_or_else(|| "no $HOME: name a --cache".to_owned())
    }
}

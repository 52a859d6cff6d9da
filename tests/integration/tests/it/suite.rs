//! What all tests share: the tool, the kernel set, the accelerator, and the builds made so far.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use integration::build;
use integration::build::Ran;
use integration::build::Target;
use integration::case::Build;
use integration::case::Maker;
use integration::initramfs;
use integration::kernel;
use integration::kernel::Known;
use integration::qemu;
use integration::qemu::Accel;
use integration::rebuild;
use libtest_mimic::Failed;

use crate::setup;

/// A result that is made once, whoever asks first; the others wait.
type Once<T> = Arc<OnceLock<Result<T, String>>>;

pub(crate) struct Suite {
    /// The tool and the usual kernel; the text says what is missing.
    target: Result<Target, String>,
    /// What executes the guests; the text says what is missing.
    accel: Result<Accel, String>,
    /// Everything that the tests write; kept for a look afterwards.
    out: PathBuf,
    builds: Mutex<BTreeMap<String, Once<Ran>>>,
    /// What came out before the tests ran, by name of the test: failures, none when it passed.
    results: Mutex<BTreeMap<String, Vec<String>>>,
}

/// Whether what cannot run here is a failure.
pub(crate) fn must_run() -> bool {
    std::env::var("KPATCH_REQUIRE_VM").is_ok_and(|value| value == "1")
}

/// The crate's folder, which holds the cases.
pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether `KPATCH_REQUIRE_KERNELS` names the kernel `name`: then it must be there.
pub(crate) fn is_required(name: &str) -> bool {
    let required = std::env::var("KPATCH_REQUIRE_KERNELS").unwrap_or_default();
    required.split_whitespace().any(|required| required == name)
}

/// Why tests on `kernel` are left out here: `None` for the usual one, which all tests ask for, for what is
/// in the cache, and for what `KPATCH_REQUIRE_KERNELS` names.
pub(crate) fn left_out(kernel: &Known) -> Result<Option<String>> {
    let cache = kernel::cache_dir();
    if kernel == Known::USUAL || is_required(kernel.name) || kernel.find(&cache)?.is_some() {
        return Ok(None);
    }
    let place = kernel.dir(&cache);
    Ok(Some(format!("no kernel in `{}` ({} gets it)", place.display(), kernel.made_by)))
}

/// The folder of what tests on `kernel` leave: none for the usual one.
pub(crate) fn in_folder(kernel: &Known) -> String {
    if kernel.label.is_empty() { String::new() } else { format!("{}/", kernel.label) }
}

impl Suite {
    pub(crate) fn prepare() -> Result<Self> {
        let cache = kernel::cache_dir();
        let target = match kernel::find(&cache)? {
            Some(kernel) => Ok(Target::of(build::tool()?, kernel)),
            None => Err(format!(
                "no kernel in `{}` (scripts/fetch-kernel.sh gets one)",
                cache.join("kernels/current").display()
            )),
        };
        let accel = match (&target, qemu::available().and_then(|()| initramfs::busybox())) {
            (Err(missing), _) => Err(missing.clone()),
            (_, Err(error)) => Err(format!("{error:#}")),
            (Ok(target), Ok(_)) => Ok(qemu::accelerator(&cache, &target.kernel.image)?),
        };
        if let Err(missing) = &accel {
            let what = if target.is_err() { "every test" } else { "every test in a VM" };
            eprintln!("\n*** SKIPPED: {what}: {missing}");
            eprintln!("*** (KPATCH_REQUIRE_VM=1 makes this a failure)\n");
        }
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
        // What an earlier run left must not be taken for this one's.
        if out.exists() {
            std::fs::remove_dir_all(&out)
                .with_context(|| format!("cannot remove `{}`", out.display()))?;
        }
        std::fs::create_dir_all(&out)?;
        let builds = Mutex::default();
        Ok(Self { target, accel, out, builds, results: Mutex::default() })
    }

    /// What a test cannot do without here.
    pub(crate) fn missing(&self, boots: bool) -> Option<String> {
        let missing = self.target.as_ref().err();
        let missing = missing.or(if boots { self.accel.as_ref().err() } else { None });
        missing.cloned()
    }

    pub(crate) fn target(&self) -> Result<&Target> {
        self.target.as_ref().map_err(|missing| anyhow::anyhow!(missing.clone()))
    }

    /// The tool and one of the kernels.
    pub(crate) fn target_on(&self, kernel: &Known) -> Result<Target> {
        let target = self.target()?.clone();
        if kernel == Known::USUAL {
            return Ok(target);
        }
        let set = kernel.find(&kernel::cache_dir())?;
        let set = set.context("the cache does not have this kernel")?;
        Ok(Target { path: set.path()?, kernel: set, ..target })
    }

    pub(crate) fn accel(&self) -> Result<Accel> {
        self.accel.clone().map_err(|missing| anyhow::anyhow!(missing))
    }

    /// A fresh folder for the output of a test.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.out.join(name.replace("::", "/"));
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot make `{}`", dir.display()))?;
        Ok(dir)
    }

    /// Keeps what came of the test `name`.
    pub(crate) fn record(&self, name: &str, failures: Vec<String>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.insert(name.to_owned(), failures);
    }

    /// What came of the test `name`.
    pub(crate) fn recorded(&self, name: &str) -> Result<(), Failed> {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        match results.get(name) {
            None => Err("it was not booted".into()),
            Some(failures) if failures.is_empty() => Ok(()),
            Some(failures) => Err(failures.join("\n").into()),
        }
    }

    /// Runs a case's build for the usual kernel once; whoever asks later gets the same answer.
    pub(crate) fn build(&self, case: &str, build: &Build) -> Result<Ran> {
        self.build_on(Known::USUAL, case, build)
    }

    /// The like for any kernel.
    pub(crate) fn build_on(&self, kernel: &Known, case: &str, build: &Build) -> Result<Ran> {
        let key = format!("{}{}", in_folder(kernel), key(case, build));
        let cell = {
            let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(builds.entry(key.clone()).or_default())
        };
        let ran = cell.get_or_init(|| {
            let name = format!("kt_{case}_{}", build.name).replace('-', "_");
            let ran = self
                .target_on(kernel)
                .and_then(|target| {
                    let dir = self.folder(&key)?;
                    let build = self.with_targets(kernel, case, build.on(kernel))?;
                    if build.maker == Maker::Kbuild {
                        return module(&target, &build, &dir);
                    }
                    build::run(&setup::for_build(&build, &target, &dir)?, &build, &name, &dir)
                })
                .map_err(|error| format!("{error:#}"));
            if let Ok(ran) = &ran {
                eprintln!("    built {key}: exit code {:?}, {:.1} s", ran.code, ran.seconds);
            }
            ran
        });
        ran.clone().map_err(|error| anyhow::anyhow!(error))
    }

    /// `build`, told which files the modules are that it patches.
    fn with_targets(&self, kernel: &Known, case: &str, mut build: Build) -> Result<Build> {
        for target in &build.targets {
            let module = self.build_on(kernel, case, target)?.module;
            let module = module.with_context(|| format!("`{}` is not built", target.name))?;
            build.flags.push(format!("--module={}", module.display()));
        }
        Ok(build)
    }
}

/// What tells a build from others, and where it goes: cases that patch the same module share its build.
fn key(case: &str, build: &Build) -> String {
    let source = build.patches.first().and_then(|source| source.canonicalize().ok());
    let shared = source.filter(|_| build.maker == Maker::Kbuild);
    let shared =
        shared.as_deref().and_then(|source| source.strip_prefix(here().join("cases")).ok());
    match shared {
        Some(source) => format!("targets/{}", source.with_extension("").display()),
        None => format!("{case}/{}", build.name),
    }
}

/// Has kbuild make a module of a C file of the case or of the kernel's source.
fn module(target: &Target, build: &Build, dir: &Path) -> Result<Ran> {
    let started = Instant::now();
    let [source] = build.patches.as_slice() else { anyhow::bail!("a module of one file") };
    let cache = kernel::cache_dir();
    let source = source.to_string_lossy();
    let module = rebuild::module(&target.kernel, &cache, &source, dir)?;
    Ok(Ran {
        code: Some(0),
        stdout: String::new(),
        stderr: String::new(),
        module: Some(module),
        seconds: started.elapsed().as_secs_f64(),
    })
}

//! The target: a kernel as a distribution ships it, or as it was built here. All its parts are found, read
//! and held against each other before anything is compiled. Bias: parts of two kernels together make a
//! module that loads and patches the wrong addresses, so whatever disagrees is refused.

mod built_tree;
mod distribution;

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::Config;
use shipped_kernel::Drift;
use shipped_kernel::Exports;
use shipped_kernel::FtraceSites;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::ModuleFiles;
use shipped_kernel::TextRanges;
use shipped_kernel::config;
use shipped_kernel::symvers;

use crate::agree;
use crate::gate;
use crate::gate::Identity;
use crate::prepare::Built;
use crate::prepare::Origin;
use crate::prepare::Shipped;
use crate::settings::Settings;
use crate::source_tree;
use crate::source_tree::Made;
use crate::source_tree::SourceTree;

/// Where a kernel comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A distribution's packages.
    Distribution,
    /// A tree that was built here.
    BuiltTree,
}

/// Where the parts of the target are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Where they come from.
    pub kind: Kind,
    /// What `uname -r` prints on it.
    pub release: String,
    /// Its headers, or the directory that it was built in: `Module.symvers`, and `.config` unless another
    /// is named.
    pub headers: PathBuf,
    /// Its image.
    pub image: PathBuf,
    /// Its modules.
    pub modules: ModuleFiles,
    /// Its configuration.
    pub config: PathBuf,
}

/// A kernel that can be patched, as far as its configuration says.
#[derive(Debug)]
pub struct Target {
    /// Where its parts are.
    pub parts: Parts,
    /// Its configuration.
    pub config: Config,
    /// What it and its modules export.
    pub exports: Exports,
    /// Its image, decompressed.
    pub image: Image,
    /// Every symbol that it knows by name.
    pub kallsyms: Kallsyms,
    /// By what it is known when it runs, or why it cannot be known.
    pub identity: Result<Identity, Refusal>,
    /// The version magic of the image, where it says it: that of its modules.
    pub vermagic: Option<String>,
    /// Where its ftrace can redirect functions.
    pub ftrace: FtraceSites,
    /// Which of its code cannot be patched.
    pub text: TextRanges,
    /// What the configuration says otherwise than the one of the headers, if another was named.
    other_config: Vec<Drift>,
}

/// Where the parts are: in the tree, if it or the object directory holds a kernel that was built there and
/// no other is named; else as named on the command line, or where distributions put them.
///
/// # Errors
/// [`crate::outcome::Usage`] when no release is named and the running kernel's is not to be had; a refusal
/// for each part that does not exist.
pub fn locate(settings: &Settings) -> Result<Parts> {
    match built_tree::find(settings)? {
        Some(objects) => Ok(built_tree::locate(settings, objects)?),
        None => distribution::locate(settings),
    }
}

impl Parts {
    /// Reads the source tree `source`, as far as this kernel is made of it.
    ///
    /// # Errors
    /// As [`source_tree::read`].
    pub fn read_source(&self, source: &Path) -> Result<SourceTree> {
        let is_inside = || self.headers.starts_with(source.canonicalize().unwrap_or_default());
        match self.kind {
            Kind::BuiltTree if is_inside() => source_tree::read_with(source, Made::Generated),
            Kind::BuiltTree | Kind::Distribution => source_tree::read(source),
        }
    }

    /// What to do about parts that are of different versions.
    fn hint(&self, distribution: &'static str) -> &'static str {
        match self.kind {
            Kind::Distribution => distribution,
            Kind::BuiltTree => {
                "build the kernel to its end from this very tree (`make`), and run what that gives"
            }
        }
    }
}

/// Reads the target's parts and holds them against each other and against the source tree's version.
///
/// # Errors
/// Refusals for parts that cannot be read, that are of different versions, whose tables do not
/// agree, or whose configuration cannot be patched.
pub fn open(parts: Parts, source: &Path, source_version: &str) -> Result<Target> {
    let config = Config::read(&parts.config)?;
    Refusals::none_or(config::unsupported(&config), ())?;
    let exports = symvers::read(&parts.headers.join("Module.symvers"))?;
    let image = Image::open(&parts.image)?;

    let mut refusals = Vec::new();
    let banner = &image.banner;
    let mut differ = |place: &Path, what: String, hint: &'static str| {
        let place = Place::file(place.display().to_string());
        refusals.push(Refusal::new(Code::VersionMismatch, place, what, parts.hint(hint)));
    };
    if banner.release != parts.release {
        differ(
            &parts.image,
            format!("the image is `{}`, not `{}`", banner.release, parts.release),
            "name the release of the kernel that is to be patched with -k, and its image",
        );
    }
    // A tree's own name for its version (EXTRAVERSION) begins the release of what is built from it.
    let is_built_from = parts.kind == Kind::BuiltTree && banner.release.starts_with(source_version);
    if banner.source_version != source_version && !is_built_from {
        differ(
            source,
            format!(
                "the source is {source_version}, the image was built from {}",
                banner.source_version
            ),
            "take the source package of exactly the image's version",
        );
    }
    if let Some(release) = headers_release(&parts.headers) {
        if release != parts.release {
            differ(
                &parts.headers,
                format!("the headers are for `{release}`, not `{}`", parts.release),
                "take the headers package of exactly the image's version",
            );
        }
    }
    let built_by = config.string("CC_VERSION_TEXT").unwrap_or_default();
    if built_by != banner.compiler {
        differ(
            &parts.config,
            format!(
                "the configuration names the compiler `{built_by}`, the image was built by `{}`",
                banner.compiler
            ),
            "take the configuration of exactly the image's version",
        );
    }
    Refusals::none_or(refusals, ())?;
    let kallsyms = Kallsyms::read(&image)?;
    let vermagic = agree::image(&image, &kallsyms, &config, &exports)?;
    let ftrace = FtraceSites::of_image(&image, &kallsyms)?;
    let text = TextRanges::of_image(&image, &kallsyms)?;
    let identity = gate::identify(&image, &kallsyms);
    let other_config = other_config(&parts, &config);
    Ok(Target {
        parts,
        config,
        exports,
        image,
        kallsyms,
        identity,
        vermagic,
        ftrace,
        text,
        other_config,
    })
}

/// How the configuration differs from the one of the headers, if that is another and can be read.
fn other_config(parts: &Parts, config: &Config) -> Vec<Drift> {
    let own = parts.headers.join(".config");
    match Config::read(&own) {
        Ok(own_config) if own != parts.config => config::drift(&own_config, config),
        _ => Vec::new(),
    }
}

/// The release that the headers were made for, where they say so. `UTS_RELEASE` is what goes into version
/// magic; what kbuild calls itself may be the version of the source (Debian's 6.1: `6.1.192`, of
/// `6.1.0-56-cloud-amd64`).
fn headers_release(headers: &Path) -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(headers.join(name)).ok();
    let uts = read("include/generated/utsrelease.h").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("#define UTS_RELEASE "))?;
        Some(line.trim().trim_matches('"').to_owned())
    });
    let release = uts.or_else(|| Some(read("include/config/kernel.release")?.trim().to_owned()));
    release.filter(|text| !text.is_empty())
}

impl Target {
    /// What the configuration says otherwise than the one that came with the headers, in short.
    pub fn config_difference(&self) -> Option<String> {
        let first = self.other_config.first()?;
        let more = match self.other_config.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let Drift { symbol, shipped, prepared } = first;
        let show = |value: &Option<String>| value.clone().unwrap_or("not set".to_owned());
        let (shipped, prepared) = (show(shipped), show(prepared));
        Some(format!("CONFIG_{symbol} is {prepared}, in the headers {shipped}{more}"))
    }

    /// By what a patch for it knows the kernel that it may be enabled on; nothing if that is any.
    ///
    /// # Errors
    /// When it cannot be known.
    pub fn only_on(&self, any: bool) -> Result<Option<&Identity>, Refusal> {
        (!any).then(|| self.identity.as_ref().map_err(Refusal::clone)).transpose()
    }

    /// What there is to compile parts of it by.
    pub fn origin(&self) -> Origin {
        let config = self.parts.config.clone();
        match self.parts.kind {
            Kind::Distribution => Origin::Shipped(Shipped {
                config,
                symvers: self.parts.headers.join("Module.symvers"),
                release: self.parts.release.clone(),
            }),
            Kind::BuiltTree => Origin::Built(Built { objects: self.parts.headers.clone(), config }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_known_by_the_release_of_their_modules() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        assert_eq!(headers_release(dir.path()), None);
        write(
            "include/config/kernel.release",
            "6.1.192
",
        );
        assert_eq!(headers_release(dir.path()).unwrap(), "6.1.192");
        write(
            "include/generated/utsrelease.h",
            "#define UTS_RELEASE \"6.1.0-56-cloud-amd64\"
",
        );
        assert_eq!(headers_release(dir.path()).unwrap(), "6.1.0-56-cloud-amd64");
    }
}

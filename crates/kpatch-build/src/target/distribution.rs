//! A kernel as a distribution ships it: headers, image and modules where its packages put them, or where
//! they were unpacked.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::ModuleFiles;

use super::Kind;
use super::Parts;
use crate::outcome::Usage;
use crate::settings::Settings;

/// Where the parts are: as named on the command line, else where distributions put them.
///
/// # Errors
/// [`Usage`] when no release is named and the running kernel's is not to be had; a refusal for each
/// part that does not exist.
pub(super) fn locate(settings: &Settings) -> Result<Parts> {
    let release = match &settings.kernel {
        Some(release) => release.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map(|text| text.trim().to_owned())
            .map_err(|error| Usage(format!("name the kernel with `-k`: {error}")))?,
    };
    let or = |named: &Option<PathBuf>, usual: String| named.clone().unwrap_or(usual.into());
    let headers = or(&settings.headers, format!("/usr/src/linux-headers-{release}"));
    let modules = or(&settings.modules, format!("/lib/modules/{release}"));
    let parts = Parts {
        kind: Kind::Distribution,
        image: or(&settings.image, format!("/boot/vmlinuz-{release}")),
        modules: ModuleFiles::Installed(modules.clone()),
        config: settings.config.clone().unwrap_or_else(|| headers.join(".config")),
        headers,
        release,
    };
    let missing = |what: &str, path: &Path, option: &str| {
        (!path.exists()).then(|| {
            Refusal::new(
                Code::TargetIncomplete,
                Place::file(path.display().to_string()),
                format!("{what} of `{}` does not exist", parts.release),
                format!("unpack or install the kernel's package, or name the place with {option}"),
            )
        })
    };
    let refusals = [
        missing("the image", &parts.image, "--image"),
        missing("the directory of modules", &modules, "--modules"),
        missing("the configuration", &parts.config, "--config or --headers"),
        missing("Module.symvers", &parts.headers.join("Module.symvers"), "--headers"),
    ];
    Ok(Refusals::none_or(refusals.into_iter().flatten().collect(), parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn names_every_part_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".config"), "").unwrap();
        let path = dir.path().to_str().unwrap();
        let cli = ["kpatch-build", "-s", path, "-k", "0.0.0-none", "--headers", path, "x.patch"];
        let error = locate(&Cli::parse_from(cli).settings).unwrap_err();
        let refusals = error.downcast::<Refusals>().unwrap().0;
        assert_eq!(refusals.len(), 3);
        assert!(refusals.iter().all(|refusal| refusal.code == Code::TargetIncomplete));
        assert!(refusals[0].to_string().contains("/boot/vmlinuz-0.0.0-none"), "{}", refusals[0]);
    }
}

//! A kernel that was built here, in its source tree or in a directory of its own: everything that is to be
//! known of it is there. Bias: a build that was not made to its end, or that was begun once more since, is
//! no kernel that runs.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::Image;
use shipped_kernel::ModuleFiles;

use super::Kind;
use super::Parts;
use crate::outcome::Usage;
use crate::settings::Settings;

/// The kernel as it was linked.
const VMLINUX: &str = "vmlinux";

/// What is booted of it.
const BZIMAGE: &str = "arch/x86/boot/bzImage";

/// What a build leaves that went to its end; an image besides.
const PARTS: [&str; 5] = [
    ".config",
    "include/config/auto.conf",
    KERNEL_RELEASE,
    "include/generated/autoconf.h",
    "Module.symvers",
];

const KERNEL_RELEASE: &str = "include/config/kernel.release";

/// The directory that the target was built in, if that is the kernel that is asked for.
///
/// # Errors
/// [`Usage`] when an object directory is named and is not there.
pub(super) fn find(settings: &Settings) -> Result<Option<PathBuf>, Usage> {
    let directory = match &settings.objdir {
        Some(directory) => directory,
        None if settings.names_distribution() => return Ok(None),
        None if [VMLINUX, BZIMAGE].iter().any(|image| settings.source.join(image).exists()) => {
            &settings.source
        }
        None => return Ok(None),
    };
    let absolute = directory.canonicalize();
    absolute.map(Some).map_err(|error| Usage(format!("`{}`: {error}", directory.display())))
}

/// Where the parts of the kernel are that was built in `objects`, which is absolute.
///
/// # Errors
/// `TargetIncomplete` for each part that is not there; `VersionMismatch` when the two images are of two
/// builds.
pub(super) fn locate(settings: &Settings, objects: PathBuf) -> Result<Parts, Refusals> {
    let missing = |what: &str| {
        let message = format!("the kernel was not built to its end here: there is no `{what}`");
        let hint = "build it (`make`), or name the kernel that is to be patched: `-k`, or `-O` where it was \
                    built";
        let place = Place::file(objects.display().to_string());
        Refusal::new(Code::TargetIncomplete, place, message, hint)
    };
    let mut refusals: Vec<Refusal> = PARTS
        .iter()
        .filter(|part| !objects.join(part).exists())
        .map(|part| missing(part))
        .collect();
    let images = [VMLINUX, BZIMAGE].map(|image| objects.join(image));
    let image = match &images {
        [vmlinux, bzimage] if vmlinux.exists() && bzimage.exists() => {
            refuse_two_builds(vmlinux, bzimage)?;
            vmlinux.clone()
        }
        [vmlinux, _] if vmlinux.exists() => vmlinux.clone(),
        [_, bzimage] => {
            if !bzimage.exists() {
                refusals.push(missing(VMLINUX));
            }
            bzimage.clone()
        }
    };
    Refusals::none_or(refusals, ())?;
    let release = fs::read_to_string(objects.join(KERNEL_RELEASE)).unwrap_or_default();
    let modules = settings.modules.clone().map(ModuleFiles::Installed);
    Ok(Parts {
        kind: Kind::BuiltTree,
        release: release.trim().to_owned(),
        image,
        modules: modules.unwrap_or_else(|| ModuleFiles::Built(objects.clone())),
        config: objects.join(".config"),
        headers: objects,
    })
}

/// Refuses a bzImage that was not made of this `vmlinux`: either may be what runs. make makes it of one that
/// is older; times that say otherwise may come from copying, so then the build-ids decide.
fn refuse_two_builds(vmlinux: &Path, bzimage: &Path) -> Result<(), Refusals> {
    let modified = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    if modified(bzimage) >= modified(vmlinux) {
        return Ok(());
    }
    let (linked, booted) = (Image::open(vmlinux)?, Image::open(bzimage)?);
    let is_same = match (&linked.build_id, &booted.build_id) {
        (Some(linked), Some(booted)) => linked == booted,
        _ => linked.banner == booted.banner,
    };
    if is_same {
        return Ok(());
    }
    let message = format!("is another build than `{}`", vmlinux.display());
    let hint =
        "make it anew (`make bzImage`) and boot it, or remove the one of both that does not run";
    let place = Place::file(bzimage.display().to_string());
    Err(Refusal::new(Code::VersionMismatch, place, message, hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;
    use shipped_kernel::testing::elf_image;

    fn settings(arguments: &[&str]) -> Settings {
        let all = [&["kpatch-build", "x.patch"], arguments].concat();
        Cli::try_parse_from(all).unwrap().settings
    }

    fn touch(dir: &Path, files: &[&str]) {
        for file in files {
            let file = dir.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "6.12.1-mine\n").unwrap();
        }
    }

    #[test]
    fn a_tree_is_the_target_if_a_kernel_was_built_in_it_and_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let source = root.to_str().unwrap();
        touch(&root, &[".config", "Makefile"]);
        assert_eq!(find(&settings(&["-s", source])).unwrap(), None, "only configured");
        touch(&root, &["vmlinux"]);
        assert_eq!(find(&settings(&["-s", source])).unwrap(), Some(root.clone()));
        for named in [["-k", "6.1"], ["--headers", "/h"], ["--image", "/i"], ["--config", "/c"]] {
            let named = settings(&[&["-s", source][..], &named].concat());
            assert_eq!(find(&named).unwrap(), None);
        }
        touch(&root, &["out/x"]);
        let out = root.join("out");
        let apart = settings(&["-s", source, "-O", out.to_str().unwrap()]);
        assert_eq!(find(&apart).unwrap(), Some(out));
        assert!(find(&settings(&["-s", source, "-O", "/nowhere/at/all"])).is_err());
    }

    #[test]
    fn names_each_part_that_a_build_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().to_owned();
        let none = settings(&["-s", "/s", "-O", "/o"]);
        touch(&objects, &[".config", "include/config/auto.conf"]);
        let Refusals(all) = locate(&none, objects.clone()).unwrap_err();
        assert!(all.iter().all(|refusal| refusal.code == Code::TargetIncomplete));
        assert_eq!(all.len(), 4, "{all:?}");
        touch(&objects, &PARTS);
        touch(&objects, &[BZIMAGE]);
        let parts = locate(&none, objects.clone()).unwrap();
        assert_eq!(parts.image, objects.join(BZIMAGE));
        assert_eq!(parts.release, "6.12.1-mine");
        assert_eq!(parts.modules, ModuleFiles::Built(objects.clone()));
        let installed = settings(&["-s", "/s", "-O", "/o", "--modules", "/m"]);
        let parts = locate(&installed, objects).unwrap();
        assert_eq!(parts.modules, ModuleFiles::Installed("/m".into()));
    }

    #[test]
    fn two_images_must_be_of_one_build() {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().to_owned();
        touch(&objects, &PARTS);
        touch(&objects, &[BZIMAGE]);
        let none = settings(&["-s", "/s", "-O", "/o"]);
        let banner = "Linux version 6.12.1 (a@b) (gcc-12 (x) 12.2.0, GNU ld 2.40) #1 SMP\n\0";
        let image = |file: &str, build_id: u8| {
            let elf = elf_image(0xffff_ffff_8100_0000, banner.as_bytes(), &[build_id; 20]);
            fs::write(objects.join(file), elf).unwrap();
        };
        let age = |file: &str, seconds| {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let file = fs::File::options().write(true).open(objects.join(file)).unwrap();
            file.set_modified(time).unwrap();
        };
        image(VMLINUX, 1);
        image(BZIMAGE, 2);
        age(VMLINUX, 10);
        age(BZIMAGE, 20);
        assert_eq!(locate(&none, objects.clone()).unwrap().image, objects.join(VMLINUX));
        age(VMLINUX, 30);
        let Refusals(all) = locate(&none, objects.clone()).unwrap_err();
        assert_eq!(all[0].code, Code::VersionMismatch);
        image(BZIMAGE, 1);
        age(BZIMAGE, 20);
        locate(&none, objects.clone()).unwrap();
    }
}

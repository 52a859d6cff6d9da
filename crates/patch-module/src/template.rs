//! Which template a module is built by: by the kernel's own Rust support where that is there, freestanding
//! elsewhere. Bias: what was asked for by name is built that way or refused; left to us, what cannot be
//! built by kbuild is built freestanding, which every kernel takes.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use tool_run::ToolLog;

use crate::Target;
use crate::toolchain;
use crate::toolchain::Places;

/// The way to build a module around the core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Template {
    /// [`Template::RustForLinux`] where that is possible, else [`Template::Freestanding`].
    #[default]
    Auto,
    /// kbuild compiles the core, and entry points that `module!` makes. Needs a kernel with `CONFIG_RUST`
    /// whose object directory has what its Rust code was compiled to.
    RustForLinux,
    /// rustc compiles the core outside of kbuild; entry points are in C.
    Freestanding,
}

impl FromStr for Template {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "rust-for-linux" => Ok(Self::RustForLinux),
            "freestanding" => Ok(Self::Freestanding),
            _ => Err("expected auto, rust-for-linux or freestanding".to_owned()),
        }
    }
}

/// A template that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// With the rustc that compiled the kernel's Rust code.
    RustForLinux(PathBuf),
    /// With whatever rustc has the sources of its `core`.
    Freestanding,
}

/// What kbuild needs in an object directory to compile Rust code of a module (`scripts/Makefile.build`,
/// `Makefile`); packages of headers have nothing of it.
const NEEDED: [&str; 5] = [
    "include/generated/rustc_cfg",
    "rust/libcore.rmeta",
    "rust/libkernel.rmeta",
    "rust/libmacros.so",
    "scripts/target.json",
];

/// The way that `template` means for `target`.
///
/// # Errors
/// A [`Refusal`] when the template was named and the kernel or this machine lacks what it needs.
pub(crate) fn choose(
    template: Template,
    target: &Target<'_>,
    places: &Places,
    log: &ToolLog,
) -> Result<Way, Refusal> {
    match template {
        Template::Freestanding => Ok(Way::Freestanding),
        Template::RustForLinux => rust_for_linux(target, places, log).map(Way::RustForLinux),
        Template::Auto => {
            let rustc = rust_for_linux(target, places, log);
            Ok(rustc.map_or(Way::Freestanding, Way::RustForLinux))
        }
    }
}

/// The rustc that compiles modules for `target` by its own Rust support.
fn rust_for_linux(target: &Target<'_>, places: &Places, log: &ToolLog) -> Result<PathBuf, Refusal> {
    const HINT: &str =
        "build the module with `--template freestanding`, which needs nothing of that";
    let refuse = |code, message: String| {
        let place = Place::file(target.object_dir.display().to_string());
        Refusal::new(code, place, message, HINT)
    };
    let Some(text) = &target.options.rustc else {
        return Err(refuse(
            Code::TargetIncomplete,
            "the kernel is built without CONFIG_RUST, the module cannot be built by it".to_owned(),
        ));
    };
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|file| !target.object_dir.join(file).is_file())
        .map(|file| format!("`{file}`"))
        .collect();
    if !missing.is_empty() {
        return Err(refuse(
            Code::TargetIncomplete,
            format!("the kernel has CONFIG_RUST, but no {}", missing.join(", ")),
        ));
    }
    // Where a distribution's kernel was prepared here, its Rust code was compiled by what is on PATH.
    let config = fs::read_to_string(target.object_dir.join(".config")).unwrap_or_default();
    let compiled_by = format!("CONFIG_RUSTC_VERSION_TEXT=\"{text}\"");
    if !config.lines().any(|line| line == compiled_by) {
        let message = format!("its Rust code was not compiled by the kernel's compiler, `{text}`");
        return Err(refuse(Code::CompilerMismatch, message));
    }
    toolchain::named(places, text, log).ok_or_else(|| {
        let message = format!("the kernel's Rust code was compiled by `{text}`, which is not here");
        refuse(Code::CompilerMismatch, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KernelOptions;
    use crate::testing::script;
    use std::path::Path;

    /// What `template` comes to in `dir`, whose rustc calls itself `1.96.0`.
    fn chosen(template: Template, dir: &Path, rustc: Option<&str>) -> Result<Way, Refusal> {
        let options = KernelOptions { rustc: rustc.map(str::to_owned), ..KernelOptions::default() };
        let target = Target {
            source: dir,
            object_dir: dir,
            release: "6.12.1",
            compiler: "gcc",
            options: &options,
        };
        let compiler = dir.join("rustc");
        let body = format!(
            "case $1 in --print) echo '{}';; *) echo 'rustc 1.96.0';; esac",
            dir.join("sysroot").display()
        );
        script(&compiler, &body);
        let places = Places { chosen: Some(compiler), ..Places::default() };
        let log = ToolLog::open(&dir.join("log")).unwrap();
        choose(template, &target, &places, &log)
    }

    fn make(dir: &Path, files: &[&str]) {
        for file in files {
            let file = dir.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
    }

    #[test]
    fn rust_for_linux_needs_the_option_the_artefacts_and_the_compiler() {
        use Template::{Auto, Freestanding, RustForLinux};
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let ours = Some("rustc 1.96.0");
        let refusal = |rustc| chosen(RustForLinux, dir, rustc).unwrap_err();

        assert_eq!(refusal(None).code, Code::TargetIncomplete);
        make(dir, &NEEDED[1..]);
        assert!(refusal(ours).message.ends_with("no `include/generated/rustc_cfg`"));
        assert_eq!(chosen(Auto, dir, ours).unwrap(), Way::Freestanding);
        make(dir, &NEEDED[..1]);
        assert!(refusal(ours).message.contains("not compiled by the kernel's compiler"));
        let compiled_by = |text| {
            let config = format!("CONFIG_RUST=y\nCONFIG_RUSTC_VERSION_TEXT=\"{text}\"\n");
            fs::write(dir.join(".config"), config).unwrap();
        };
        compiled_by("rustc 1.95.0");
        assert_eq!(refusal(ours).code, Code::CompilerMismatch);
        assert!(refusal(Some("rustc 1.95.0")).message.ends_with("which is not here"));
        assert_eq!(chosen(Auto, dir, Some("rustc 1.95.0")).unwrap(), Way::Freestanding);
        compiled_by("rustc 1.96.0");

        let way = Way::RustForLinux(dir.join("rustc"));
        assert_eq!(chosen(RustForLinux, dir, ours).unwrap(), way);
        assert_eq!(chosen(Auto, dir, ours).unwrap(), way);
        assert_eq!(chosen(Freestanding, dir, ours).unwrap(), Way::Freestanding);
        assert_eq!(chosen(Auto, dir, None).unwrap(), Way::Freestanding);
    }
}

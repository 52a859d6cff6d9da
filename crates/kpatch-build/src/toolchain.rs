//! The tools that built the kernel and those that are here. Bias: the compiler must be the very
//! one: another version makes other code, and then nothing that is compared means anything.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// Variables by which a user's environment would change what make and the compiler do.
const FOREIGN: [&str; 30] = [
    "ARCH",
    "CC",
    "CFLAGS",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "CROSS_COMPILE",
    "C_INCLUDE_PATH",
    "GCC_COMPARE_DEBUG",
    "GCC_EXEC_PREFIX",
    "GNUMAKEFLAGS",
    "HOSTCC",
    "HOSTCFLAGS",
    "KAFLAGS",
    "KBUILD_EXTMOD",
    "KBUILD_OUTPUT",
    "KBUILD_VERBOSE",
    "KCFLAGS",
    "KCONFIG_ALLCONFIG",
    "KCONFIG_CONFIG",
    "KCPPFLAGS",
    "KERNELRELEASE",
    "LDFLAGS",
    "LLVM",
    "LOCALVERSION",
    "MAKEFILES",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "O",
];

/// A command in an environment that does not change its result.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in FOREIGN {
        command.env_remove(name);
    }
    // Messages are read by us; scripts of the tree must not leave `__pycache__` beside themselves.
    command.env("LC_ALL", "C").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The compiler that built the kernel, found here in the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The command: `x86_64-linux-gnu-gcc-12`.
    pub command: String,
    /// The first line of what it says about its version.
    pub version: String,
    /// The very program: path, size and time of change. What it made is not taken for what another made
    /// that says the same of itself.
    pub program: String,
}

/// Finds the compiler that `CONFIG_CC_VERSION_TEXT` of the kernel's configuration names.
///
/// # Errors
/// `CompilerMismatch` when it is not installed or is of another version; `TargetIncomplete` when
/// the configuration names none.
pub fn find_compiler(config: &str, config_file: &Path) -> Result<Compiler, Refusals> {
    find_compiler_as(None, config, config_file)
}

/// As [`find_compiler`]; `command` is taken if it is that compiler. What calls itself `gcc` may have been
/// run by a path.
///
/// # Errors
/// As [`find_compiler`].
pub fn find_compiler_as(
    command: Option<&str>,
    config: &str,
    config_file: &Path,
) -> Result<Compiler, Refusals> {
    let place = Place::file(config_file.display().to_string());
    let wanted = config
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT=\"")?.strip_suffix('"'))
        .and_then(|text| Some((text, text.split(' ').next()?)))
        .filter(|(_, command)| !command.is_empty());
    let Some((wanted, name)) = wanted else {
        let message = "the configuration names no compiler (CONFIG_CC_VERSION_TEXT)";
        let hint = "name the shipped kernel's configuration with `--config`";
        return Err(Refusal::new(Code::TargetIncomplete, place, message, hint).into());
    };
    let package = name.strip_prefix("x86_64-linux-gnu-").unwrap_or(name);
    let refuse = |found: &str| {
        let message = format!(
            "the kernel was built by another compiler\n  kernel: {wanted}\n  here:   {found}"
        );
        let hint = format!("install package `{package}` in the version that built the kernel");
        Refusals::from(Refusal::new(Code::CompilerMismatch, place.clone(), message, hint))
    };
    let known = command.filter(|command| first_line(command).as_deref() == Some(wanted));
    let name = known.unwrap_or(name);
    match first_line(name) {
        Some(found) if found == wanted => {
            let (command, version) = (name.to_owned(), wanted.to_owned());
            Ok(Compiler { command, version, program: program(name) })
        }
        Some(found) => Err(refuse(&found)),
        None => Err(refuse(&format!("no `{name}`"))),
    }
}

/// Which program a command is, as text.
fn program(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find_map(|dir| {
        let file = dir.join(name).canonicalize().ok()?;
        let data = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let (size, time) = (data.len(), data.modified().ok()?);
        Some(format!("{} {size} {time:?}", file.display()))
    });
    found.unwrap_or_else(|| name.to_owned())
}

/// The versions of the other tools that the prepared configuration depends on, as text.
pub fn tool_versions(config: &str) -> String {
    let rust = config.lines().any(|line| line == "CONFIG_RUST=y");
    let tools: &[&str] = if rust {
        &["make", "as", "ld", "pahole", "rustc", "bindgen"]
    } else {
        &["make", "as", "ld", "pahole"]
    };
    let version = |tool: &&str| first_line(tool).unwrap_or_else(|| "none".to_owned());
    tools.iter().map(|tool| format!("{tool}: {}\n", version(tool))).collect()
}

/// The first line of `tool --version`; `None` if there is no such tool.
fn first_line(tool: &str) -> Option<String> {
    let output = command(tool).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Result<Compiler, Refusals> {
        let config = format!("CONFIG_X=y\nCONFIG_CC_VERSION_TEXT=\"{text}\"\n");
        find_compiler(&config, Path::new("config"))
    }

    #[test]
    fn takes_the_compiler_that_says_the_same() {
        let here = first_line("cc").unwrap();
        assert_eq!(find(&here).is_ok(), here.starts_with("cc "), "{here}");
    }

    #[test]
    fn refuses_another_version_and_shows_both() {
        let refusal = find("cc (Debian 1.0) 1.0").unwrap_err().0.remove(0);
        assert_eq!(refusal.code, Code::CompilerMismatch);
        assert!(refusal.message.contains("cc (Debian 1.0) 1.0"), "{refusal}");
        assert!(refusal.message.contains(&first_line("cc").unwrap()), "{refusal}");
    }

    #[test]
    fn names_the_package_of_a_missing_compiler() {
        let refusal = find("x86_64-linux-gnu-gcc-99 (Debian 99) 99").unwrap_err().0.remove(0);
        assert_eq!(refusal.code, Code::CompilerMismatch);
        assert!(refusal.hint.contains("`gcc-99`"), "{refusal}");
    }
}

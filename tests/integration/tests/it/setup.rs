//! Changes to the target or the environment that a case asks for by name (`setup = …`). All of them
//! work on copies made of links; the kernel set itself is never touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::SystemTime;

use anyhow::Context;
use anyhow::Result;
use integration::build::Target;
use integration::case::Build;
use integration::kernel;
use integration::mutate;
use integration::rebuild;
use shipped_kernel::Image;
use shipped_kernel::Module;
use shipped_kernel::modules;

/// `target` as `build` wants it.
pub(crate) fn for_build(build: &Build, target: &Target, dir: &Path) -> Result<Target> {
    match &build.setup {
        Some(setup) => apply(setup, target, dir),
        None => Ok(target.clone()),
    }
}

/// `target` as the set-up called `setup` leaves it; what it needs is made in `dir`.
fn apply(setup: &str, target: &Target, dir: &Path) -> Result<Target> {
    let mut target = target.clone();
    let (name, argument) = setup.split_once(' ').unwrap_or((setup, ""));
    match name {
        "source-version" => {
            let source = link_copy(&target.kernel.source, &dir.join("source"))?;
            edit(&source.join("Makefile"), |text| {
                replace_line(text, "SUBLEVEL = ", "SUBLEVEL = 1")
            })?;
            target.source = Some(source);
        }
        "source-line" => {
            let [file, start, new] = fields(argument)?;
            let source = link_copy(&target.kernel.source, &dir.join("source"))?;
            let file = source.join(file);
            edit(&file, |text| replace_line(text, start, new))?;
            // The tool knows a tree by its times: with a fixed one the next run finds it again.
            fs::File::open(&file)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))?;
            target.source = Some(source);
        }
        "named-config" => {
            let (option, value) =
                argument.split_once('=').context("`named-config OPTION=value`")?;
            let text = fs::read_to_string(target.kernel.headers.join(".config"))?;
            let file = dir.join("another.config");
            fs::write(&file, set_option(&text, option, value))?;
            target.config = Some(file);
        }
        "posing-compiler" => {
            let compiler = compiler_name(&target.kernel.headers)?;
            let path = path_without(dir, &[&compiler])?;
            pose(&compiler, &path)?;
            target.path = Some(path);
        }
        "headers-release" => {
            let headers = headers_copy(&target, dir)?;
            let release = "6.12.1-another-amd64";
            edit(&headers.join("include/config/kernel.release"), |_| Ok(format!("{release}\n")))?;
            edit(&headers.join("include/generated/utsrelease.h"), |_| {
                Ok(format!("#define UTS_RELEASE \"{release}\"\n"))
            })?;
            target.kernel.headers = headers;
        }
        "release" => {
            target.kernel.release = argument.to_owned();
        }
        "config" => {
            let headers = headers_copy(&target, dir)?;
            let (option, value) = argument.split_once('=').context("`config OPTION=value`")?;
            edit(&headers.join(".config"), |text| Ok(set_option(text, option, value)))?;
            target.kernel.headers = headers;
        }
        "export" => {
            let headers = headers_copy(&target, dir)?;
            edit(&headers.join("Module.symvers"), |text| {
                let line = text.lines().find(|line| line.split('\t').nth(1) == Some(argument));
                let line = line.with_context(|| format!("`{argument}` is not exported"))?;
                let (_, rest) = line.split_once('\t').context("a line of one field")?;
                Ok(text.replace(line, &format!("0x12345678\t{rest}")))
            })?;
            target.kernel.headers = headers;
        }
        "compiler" => {
            let compiler = compiler_name(&target.kernel.headers)?;
            let path = path_without(dir, &[&compiler])?;
            let real = find_program(&compiler)?;
            let script = format!(
                "#!/bin/sh\ncase \" $* \" in\n*' --version '*|*' -v '*) echo '{compiler} (Debian \
                 99.0.0-1) 99.0.0'; exit ;;\n*' -dumpversion '*|*' -dumpfullversion '*) echo \
                 99.0.0; exit ;;\nesac\nexec {} \"$@\"\n",
                real.display()
            );
            let file = path.join(&compiler);
            fs::write(&file, script)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
            target.path = Some(path);
        }
        "no-pahole" => {
            target.path = Some(path_without(dir, &["pahole"])?);
        }
        "image-build-id" | "image-without-build-id" => {
            let image = Image::open(&target.kernel.image)?;
            let id = image.build_id.context("the image has no build-id")?;
            let file = dir.join("vmlinux");
            fs::write(&file, with_build_id(name, &image.elf, &id)?)?;
            target.kernel.image = file;
        }
        "module-build-id" | "module-without-build-id" => {
            target.kernel.modules = with_module(&target, argument, dir, |module| {
                let id = module.build_id.as_ref().context("the module has no build-id")?;
                with_build_id(name, &module.elf, id)
            })?;
        }
        // The argument is its only source file.
        "rebuilt-module" => {
            let cache = target.cache.clone().unwrap_or_else(kernel::cache_dir);
            let file = rebuild::module(&target.kernel, &cache, argument, &dir.join("rebuilt"))?;
            let name = file.file_stem().context("no module")?.to_string_lossy();
            target.kernel.modules = with_module(&target, &name, dir, |module| {
                let rebuilt = Module::read(&file)?;
                anyhow::ensure!(rebuilt.build_id != module.build_id, "it is the stock module");
                Ok(rebuilt.elf)
            })?;
        }
        _ => anyhow::bail!("no set-up is called `{setup}`"),
    }
    Ok(target)
}

/// A copy of an ELF file as another CONFIG_BUILD_SALT, or another compile, could leave it; or as a linker
/// without `--build-id` would.
fn with_build_id(setup: &str, elf: &[u8], id: &[u8]) -> Result<Vec<u8>> {
    if setup.contains("without") {
        mutate::no_build_id(elf, id)
    } else {
        mutate::another_build_id(elf, id)
    }
}

/// A copy of the target's modules in which another file is module `name`.
fn with_module(
    target: &Target,
    name: &str,
    dir: &Path,
    change: impl Fn(&Module) -> Result<Vec<u8>>,
) -> Result<PathBuf> {
    let copy = link_copy(&target.kernel.modules, &dir.join("modules"))?;
    let link = modules::find_module(&copy, name)?;
    let changed = change(&Module::read(&link)?)?;
    fs::remove_file(&link)?;
    fs::write(link.with_file_name(format!("{name}.ko")), changed)?;
    Ok(copy)
}

/// Options that gcc has had since its release 12: older ones are not asked for them.
const NEW_OPTIONS: [&str; 2] = ["-ftrivial-auto-var-init=zero", "-mharden-sls=all"];

/// Puts a program called `compiler` into `path` that says of itself what that one says, and is the next
/// older gcc that is installed.
fn pose(compiler: &str, path: &Path) -> Result<()> {
    let real = find_program(compiler)?;
    let (_, version) = compiler.rsplit_once('-').context("a compiler without version")?;
    let version: u32 = version.parse().with_context(|| format!("the version of `{compiler}`"))?;
    let older = (9..version).rev().find_map(|older| find_program(&format!("gcc-{older}")).ok());
    let older = older.context("no older gcc is installed: run scripts/setup.sh")?;
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in\n*' -c '*) ;;\n*) exec {} \"$@\" ;;\nesac\nfor argument; do\n\tshift\n\t\
         case $argument in\n\t{}) ;;\n\t*) set -- \"$@\" \"$argument\" ;;\n\tesac\ndone\nexec {} \"$@\"\n",
        real.display(),
        NEW_OPTIONS.join("|"),
        older.display()
    );
    let file = path.join(compiler);
    fs::write(&file, script)?;
    Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?)
}

/// The parts of `argument` between bars.
fn fields<const N: usize>(argument: &str) -> Result<[&str; N]> {
    let all: Vec<&str> = argument.split('|').collect();
    all.try_into().map_err(|all| anyhow::anyhow!("{N} fields are wanted, not {all:?}"))
}

/// A copy of the tree `from` whose directories are real and whose files are links.
pub(crate) fn link_copy(from: &Path, to: &Path) -> Result<PathBuf> {
    let from = from.canonicalize().with_context(|| format!("no `{}`", from.display()))?;
    let status = Command::new("cp").arg("-rs").arg(&from).arg(to).status()?;
    anyhow::ensure!(status.success(), "`cp -rs {} {}` fails", from.display(), to.display());
    Ok(to.to_owned())
}

/// Replaces a link by a file of its own with changed content.
pub(crate) fn edit(path: &Path, change: impl Fn(&str) -> Result<String>) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let changed = change(&text).with_context(|| format!("in `{}`", path.display()))?;
    fs::remove_file(path)?;
    fs::write(path, changed).with_context(|| format!("cannot write `{}`", path.display()))
}

fn headers_copy(target: &Target, dir: &Path) -> Result<PathBuf> {
    let real = target.kernel.headers.canonicalize()?;
    let headers = link_copy(&real, &dir.join("headers"))?;
    // Relative links in it (`scripts`, `tools`) do not hold in another place.
    for entry in fs::read_dir(&real)? {
        let path = entry?.path();
        let link = headers.join(path.file_name().context("an entry without a name")?);
        if path.is_symlink() && path.exists() {
            fs::remove_file(&link)?;
            symlink(path.canonicalize()?, &link)?;
        }
    }
    Ok(headers)
}

fn replace_line(text: &str, start: &str, new: &str) -> Result<String> {
    let mut found = false;
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            let hit = !found && line.starts_with(start);
            found |= hit;
            if hit { new } else { line }
        })
        .collect();
    anyhow::ensure!(found, "no line starts with `{start}`");
    Ok(lines.join("\n") + "\n")
}

/// The configuration with `option` set to `value` (`n`: not set).
fn set_option(text: &str, option: &str, value: &str) -> String {
    let unset = format!("# {option} is not set");
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with(&format!("{option}=")) && *line != unset)
        .map(str::to_owned)
        .collect();
    lines.push(if value == "n" { unset } else { format!("{option}={value}") });
    lines.join("\n") + "\n"
}

/// The compiler's program name: the first word of `CONFIG_CC_VERSION_TEXT`.
fn compiler_name(headers: &Path) -> Result<String> {
    let text = fs::read_to_string(headers.join(".config"))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT=\""))
        .context("the configuration does not name its compiler")?;
    Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
}

/// A folder of links to every program of `PATH`, but for `without`.
fn path_without(dir: &Path, without: &[&str]) -> Result<PathBuf> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    let path = std::env::var_os("PATH").context("no `PATH`")?;
    for folder in std::env::split_paths(&path) {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let link = bin.join(&name);
            if !without.iter().any(|tool| name.to_string_lossy() == *tool) && !link.is_symlink() {
                symlink(entry.path(), &link)?;
            }
        }
    }
    Ok(bin)
}

fn find_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("no `PATH`")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("`{name}` is not on `PATH`"))
}

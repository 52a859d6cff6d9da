//! Builds the guest's first root: static busybox, the scripts in `guest/`, the modules of the
//! stock kernel that the cases load, and for each case its script, its helpers, its patches, and what it
//! takes from the kernel's source and from this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::case::Case;
use crate::case::Pinned;
use crate::cpio::Archive;
use crate::kernel::KernelSet;
use crate::modules;
use crate::programs;

const INIT: &str = include_str!("../guest/init");
const LIB: &str = include_str!("../guest/lib.sh");

/// Where a static busybox usually is.
const BUSYBOX: &[&str] = &["/bin/busybox", "/usr/bin/busybox"];

/// A finished livepatch module that the guest loads.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Name of the build within its case.
    pub build: String,
    /// The module.
    pub bytes: Vec<u8>,
}

/// A case with everything that it takes into the guest.
#[derive(Debug, Clone)]
pub struct GuestCase<'a> {
    /// The case.
    pub case: &'a Case,
    /// Its modules, one per build.
    pub patches: Vec<Patch>,
}

/// A static busybox of this machine.
///
/// # Errors
/// When there is none, or it is not static: names the package that has it.
pub fn busybox() -> Result<PathBuf> {
    for path in BUSYBOX.iter().map(Path::new).filter(|path| path.exists()) {
        let file = std::fs::read(path)?;
        if !names_interpreter(&file)? {
            return Ok(path.to_owned());
        }
    }
    anyhow::bail!("no static busybox on this machine (package `busybox-static`)")
}

/// An archive that only proves that the kernel comes up: it says so and powers off.
///
/// # Errors
/// When busybox cannot be read.
pub fn probe() -> Result<Vec<u8>> {
    let mut archive = base()?;
    archive.file("guest/cases", 0o644, b"");
    Ok(archive.finish())
}

/// The archive for one boot that runs `cases` in order.
///
/// # Errors
/// When a module is missing from the stock kernel, a helper does not compile, or busybox or another
/// program is missing.
pub fn for_cases(kernel: &KernelSet, cases: &[GuestCase<'_>]) -> Result<Vec<u8>> {
    let mut archive = base()?;
    let mut order = String::new();
    let mut stock = Vec::new();
    for GuestCase { case, patches } in cases {
        order.push_str(&format!("{}\n", case.name));
        let dir = format!("guest/{}", case.name);
        archive.file(&format!("{dir}/guest.sh"), 0o644, case.script.as_bytes());
        let pinned = if case.pinned == Pinned::Yes { "yes" } else { "no" };
        let along: Vec<&str> = case.along.iter().map(|other| other.name.as_str()).collect();
        let rounds = case.rounds.map(|rounds| format!("CYCLES={rounds}\n")).unwrap_or_default();
        let environment = format!("PINNED={pinned}\nALONG='{}'\n{rounds}", along.join(" "));
        archive.file(&format!("{dir}/env"), 0o644, environment.as_bytes());
        for other in &case.along {
            let place = format!("{dir}/along/{}.sh", other.name);
            archive.file(&place, 0o644, other.script.as_bytes());
        }
        for patch in patches {
            let name = modules::modinfo(&patch.bytes, "name")?.context("a module without name")?;
            archive.file(&format!("{dir}/{}.ko", patch.build), 0o644, &patch.bytes);
            archive.file(&format!("{dir}/{}.name", patch.build), 0o644, name.as_bytes());
        }
        for source in &case.helpers {
            let program = compile(&kernel.source.join(source))?;
            archive.file(&format!("bin/{}", helper_name(source)), 0o755, &program);
        }
        for folder in &case.sources {
            add_files(&mut archive, &dir, &kernel.source.join(folder))?;
        }
        programs::add(&mut archive, &case.programs)?;
        stock.extend(case.modules.iter().cloned());
    }
    stock.sort();
    stock.dedup();
    for module in modules::with_dependencies(&kernel.modules, &stock)? {
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.bytes);
    }
    for name in &stock {
        let needed = modules::with_dependencies(&kernel.modules, std::slice::from_ref(name))?;
        let names: Vec<String> = needed.into_iter().map(|module| module.name).collect();
        archive.file(&format!("modules/{name}.order"), 0o644, names.join("\n").as_bytes());
    }
    archive.file("guest/cases", 0o644, order.as_bytes());
    Ok(archive.finish())
}

/// An archive with an `init` of its own and some files; used by the demonstration.
///
/// # Errors
/// When busybox is missing.
pub fn with_init(init: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tools()?;
    archive.file("init", 0o755, init.as_bytes());
    for (path, content) in files {
        archive.file(path, 0o644, content);
    }
    Ok(archive.finish())
}

fn base() -> Result<Archive> {
    let mut archive = tools()?;
    archive.file("init", 0o755, INIT.as_bytes());
    archive.file("guest/lib.sh", 0o644, LIB.as_bytes());
    Ok(archive)
}

/// Busybox under all its names, and the directories to mount on.
fn tools() -> Result<Archive> {
    let busybox = busybox()?;
    let list = Command::new(&busybox)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot run `{}`", busybox.display()))?;
    let mut archive = Archive::new();
    for dir in ["proc", "sys", "dev", "tmp", "config"] {
        archive.dir(dir);
    }
    // Before devtmpfs is mounted the kernel opens these for the first process.
    archive.char_device("dev/console", 5, 1);
    archive.char_device("dev/null", 1, 3);
    archive.file("bin/busybox", 0o755, &std::fs::read(&busybox)?);
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(archive)
}

/// The files of a folder, but not of those in it.
fn add_files(archive: &mut Archive, place: &str, folder: &Path) -> Result<()> {
    let unreadable = || format!("cannot read `{}`", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mode = metadata.permissions().mode() & 0o777;
            archive.file(&format!("{place}/{name}"), mode, &std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The helper's name in the guest: its file name without `.c`.
fn helper_name(source: &Path) -> String {
    source.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Compiles a helper for the guest, which has no libraries.
fn compile(source: &Path) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("helper");
    let output = Command::new("gcc")
        .args(["-static", "-O2", "-Wall", "-Werror", "-o"])
        .arg(&out)
        .arg(source)
        .output()
        .context("cannot run `gcc`")?;
    anyhow::ensure!(
        output.status.success(),
        "`{}` does not compile: {}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(std::fs::read(&out)?)
}

/// Whether an ELF program wants a dynamic linker.
fn names_interpreter(file: &[u8]) -> Result<bool> {
    use object::read::elf::FileHeader;
    use object::read::elf::ProgramHeader;
    let header = object::elf::FileHeader64::<object::Endianness>::parse(file)?;
    let endian = header.endian()?;
    let headers = header.program_headers(endian, file)?;
    Ok(headers.iter().any(|segment| segment.p_type(endian) == object::elf::PT_INTERP))
}

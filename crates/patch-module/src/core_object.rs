//! Compiles the in-kernel core for a kernel, and the gate that it has to pass: it may need nothing but
//! what the glue and every kernel offer.
//!
//! A call into `core` (nearly always a panic) would go unnoticed on kernels with Rust support, which
//! export `core`'s panic functions, and fail on all others only when the module is loaded.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use object::RelocationFlags;
use object::elf;
use tool_run::ToolLog;

use crate::KernelOptions;
use crate::core_library;
use crate::core_library::CoreLibrary;
use crate::sources;
use crate::toolchain;
use crate::toolchain::Places;

/// All that the core may need. The memory functions are exported by every kernel; the compiler
/// may make calls to them of loops and assignments.
const OFFERED: &[&str] = &[
    "__x86_return_thunk",
    "klp_enable_patch",
    "kpatch_glue_log_failure",
    "kpatch_glue_log_other_build",
    "kpatch_glue_pin",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
];

/// The relocations that the module loader applies (`arch/x86/kernel/module.c`).
const LOADABLE: &[u32] = &[
    elf::R_X86_64_NONE.0,
    elf::R_X86_64_64.0,
    elf::R_X86_64_PC32.0,
    elf::R_X86_64_PLT32.0,
    elf::R_X86_64_32.0,
    elf::R_X86_64_32S.0,
    elf::R_X86_64_PC64.0,
];

/// The edition that the core is written in, and what kbuild compiles modules as.
pub(crate) const EDITION: &str = "2021";

/// Name of the core's crate.
pub(crate) const CRATE: &str = "kpatch_core";

/// The compiled core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoreObject {
    /// What is linked.
    pub(crate) object: PathBuf,
    /// What other crates are compiled with that use it.
    pub(crate) metadata: PathBuf,
}

/// The compiled core: from the cache, beside the library that it was compiled with, or compiled now in
/// `directory`, which must exist. It depends on nothing else: no kernel header, no patch.
///
/// # Errors
/// When rustc fails, or the object does not pass the gate (a [`Refusal`]).
fn prepare(library: &CoreLibrary, directory: &Path, log: &ToolLog) -> Result<CoreObject> {
    let mut parts = vec![EDITION];
    parts.extend(sources::CORE.iter().flat_map(|(name, text)| [*name, *text]));
    let digest = core_library::digest(&parts);
    let kept = |name: String| library.directory().join(name);
    let kept = CoreObject {
        object: kept(format!("{CRATE}-{digest}.o")),
        metadata: kept(format!("lib{CRATE}-{digest}.rmeta")),
    };
    if !kept.object.is_file() || !kept.metadata.is_file() {
        let compiled = compile(library, directory, log)?;
        keep(&compiled.metadata, &kept.metadata)?;
        keep(&compiled.object, &kept.object)?;
    }
    // A cache may rot: what is linked has passed the gate now, not once.
    let data = fs::read(&kept.object)
        .with_context(|| format!("cannot read `{}`", kept.object.display()))?;
    check(&data)?;
    Ok(kept)
}

/// The core for a kernel of `options`, compiled in `work_dir` if the cache has none, with the library that it
/// was compiled with.
///
/// # Errors
/// As [`core_library::prepare`] and [`prepare`].
pub(crate) fn freestanding(
    options: &KernelOptions,
    places: &Places,
    (work_dir, cache_dir): (&Path, &Path),
    log: &ToolLog,
) -> Result<(CoreLibrary, CoreObject)> {
    let library = core_library::prepare(toolchain::find(places, log), options, cache_dir, log)?;
    let directory = directory(work_dir);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    let core = prepare(&library, &directory, log)?;
    Ok((library, core))
}

/// Where in the work directory rustc compiles.
pub(crate) fn directory(work_dir: &Path) -> PathBuf {
    work_dir.join("core")
}

/// Copies a file to its place, where it appears whole.
fn keep(file: &Path, place: &Path) -> Result<()> {
    let directory = place.parent().context("a place in no directory")?;
    let mut whole = tempfile::NamedTempFile::new_in(directory)?;
    std::io::copy(&mut fs::File::open(file)?, &mut whole)?;
    whole.persist(place).with_context(|| format!("cannot keep `{}`", place.display()))?;
    Ok(())
}

fn compile(library: &CoreLibrary, directory: &Path, log: &ToolLog) -> Result<CoreObject> {
    sources::write_core(directory, "lib.rs")?;
    let object = directory.join(format!("{CRATE}.o"));
    let metadata = directory.join(format!("lib{CRATE}.rmeta"));
    let mut rustc = library.rustc(directory);
    rustc
        .arg(format!("--crate-name={CRATE}"))
        .arg("--crate-type=lib")
        .arg(format!("--edition={EDITION}"))
        .arg(core_library::emit("obj", &object))
        .arg(core_library::emit("metadata", &metadata))
        .arg(directory.join("lib.rs"));
    log.run(&mut rustc)?;
    Ok(CoreObject { object, metadata })
}

/// The gate.
///
/// # Errors
/// A [`Refusal`] when it does not hold; another error when `data` is no object file.
pub(crate) fn check(data: &[u8]) -> Result<()> {
    let place = Place::object("kmod/core");
    let file = object::File::parse(data).context("rustc's output is not an object file")?;
    let missing = needed(&file).filter(|name| !OFFERED.contains(name)).collect::<BTreeSet<_>>();
    if !missing.is_empty() {
        return Err(Refusal::new(
            Code::CoreNotSelfContained,
            place,
            format!("the compiled core needs {}", listed(&missing)),
            "try another rustc (KPATCH_RUSTC); this one leaves calls in the core that others do not",
        )
        .into());
    }
    Ok(relocations(&file, place)?)
}

/// The names that an object leaves undefined.
pub(crate) fn needed<'a>(file: &'a object::File<'_>) -> impl Iterator<Item = &'a str> {
    let undefined = file.symbols().filter(|symbol| symbol.is_undefined());
    undefined.filter_map(|symbol| symbol.name().ok()).filter(|name| !name.is_empty())
}

/// Names for a message.
pub(crate) fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Checks that the module loader knows all relocations.
///
/// # Errors
/// The first that it does not.
pub(crate) fn relocations(file: &object::File<'_>, place: Place) -> Result<(), Refusal> {
    for section in file.sections() {
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            if !LOADABLE.contains(&r_type.0) {
                let section = section.name().unwrap_or("?");
                return Err(Refusal::new(
                    Code::UnsupportedRelocation,
                    place,
                    format!("relocation of type {} at {offset:#x} of `{section}`", r_type.0),
                    "try another rustc (KPATCH_RUSTC)",
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::script;
    use crate::toolchain::Toolchain;
    use object::Architecture;
    use object::BinaryFormat;
    use object::Endianness;
    use object::SymbolFlags;
    use object::SymbolKind;
    use object::SymbolScope;
    use object::write;

    /// An object with one relocation against each of `names`.
    fn needing(names: &[&str], kind: u32) -> Vec<u8> {
        let mut object =
            write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = object.section_id(write::StandardSection::Text);
        object.append_section_data(text, &[0; 64], 16);
        for (index, name) in names.iter().enumerate() {
            let symbol = object.add_symbol(write::Symbol {
                name: name.as_bytes().to_vec(),
                value: 0,
                size: 0,
                kind: SymbolKind::Text,
                scope: SymbolScope::Unknown,
                weak: false,
                section: write::SymbolSection::Undefined,
                flags: SymbolFlags::None,
            });
            let relocation = write::Relocation {
                offset: index as u64 * 8,
                symbol,
                addend: -4,
                flags: RelocationFlags::Elf { r_type: elf::RelocationType(kind) },
            };
            object.add_relocation(text, relocation).unwrap();
        }
        object.write().unwrap()
    }

    #[test]
    fn compiled_once_and_checked_always() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("core/src")).unwrap();
        fs::write(path("core/src/lib.rs"), "").unwrap();
        fs::write(path("core/Cargo.toml"), "edition = \"2024\"\n").unwrap();
        fs::write(path("object"), needing(OFFERED, elf::R_X86_64_PLT32.0)).unwrap();
        // Writes the object for whatever it is asked to emit, and notes it.
        let body = format!(
            "for a; do case $a in --emit=*) cp '{0}/object' \"${{a#--emit=*=}}\"; echo $a >> '{0}/runs';; \
             esac; done",
            dir.path().display()
        );
        script(&path("rustc"), &body);
        let toolchain = Toolchain {
            rustc: path("rustc"),
            version: (1, 96),
            identity: "test".into(),
            core: path("core"),
        };
        let log = ToolLog::open(&path("log")).unwrap();
        let options = KernelOptions::default();
        let library = core_library::prepare([Ok(toolchain)], &options, dir.path(), &log).unwrap();
        let runs = || fs::read_to_string(path("runs")).unwrap().matches("--emit=obj").count();

        let first = prepare(&library, dir.path(), &log).unwrap();
        assert_eq!(prepare(&library, dir.path(), &log).unwrap(), first);
        assert_eq!(runs(), 1);
        fs::remove_file(&first.metadata).unwrap();
        assert_eq!(prepare(&library, dir.path(), &log).unwrap(), first);
        assert_eq!(runs(), 2, "others cannot be compiled without metadata");
        assert_eq!(fs::read(&first.object).unwrap(), fs::read(path("object")).unwrap());
        fs::write(&first.object, needing(&["panic"], elf::R_X86_64_PLT32.0)).unwrap();
        assert!(prepare(&library, dir.path(), &log).is_err(), "a spoilt cache is not noticed");
    }

    fn refused(data: &[u8]) -> Refusal {
        check(data).unwrap_err().downcast::<Refusal>().unwrap()
    }

    #[test]
    fn what_glue_and_kernel_offer_passes() {
        check(&needing(OFFERED, elf::R_X86_64_PLT32.0)).unwrap();
    }

    #[test]
    fn a_call_into_core_is_refused_by_name() {
        let panic = "_RNvNtCs2DxGA1hvVcO_4core9panicking5panic";
        let refusal = refused(&needing(&["memcpy", panic], elf::R_X86_64_PLT32.0));
        assert_eq!(refusal.code, Code::CoreNotSelfContained);
        assert!(refusal.message.contains(panic), "{refusal}");
        assert!(!refusal.message.contains("memcpy"), "{refusal}");
    }

    #[test]
    fn a_reference_through_the_got_is_refused() {
        let refusal = refused(&needing(&["memcpy"], elf::R_X86_64_GOTPCREL.0));
        assert_eq!(refusal.code, Code::UnsupportedRelocation);
    }
}

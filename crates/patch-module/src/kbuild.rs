//! Lays out the module's directory and lets the kernel's own build link it: glue, core and diff objects
//! become one module, objtool runs on the whole of it, modpost adds versions and vermagic.
//!
//! kbuild writes into this directory only; neither the source tree nor the object directory changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use kpatch_elf::livepatch;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use tool_run::ToolLog;

use crate::Code as PatchCode;
use crate::Gate;
use crate::PatchModule;
use crate::Target;
use crate::authored::Authored;
use crate::core_object;
use crate::sources;

/// What kbuild needs of the environment. All else could change flags (`KCFLAGS`, `MAKEFLAGS`,
/// `CROSS_COMPILE`, ...).
const ENVIRONMENT: &[&str] = &["HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR"];

/// Name of the part with the build-id gate.
const GATE: &str = "gate";

/// The generated part of the module's makefile. A directory that has it was made by us.
const MAKEFILE: &str = "patch.mk";

/// Where the core is. kbuild compiles any `x.rs` beside an `x.o`, so its modules are not among the parts.
const CORE_DIRECTORY: &str = "core";

/// Name of the core's object and crate.
const CORE: &str = core_object::CRATE;

/// Where a livepatch in Rust is that kbuild compiles, away from the parts for the same reason.
const AUTHOR_DIRECTORY: &str = "author";

/// Name of the part with the glue of such livepatches.
const AUTHOR: &str = "author";

/// Name of their code's part, if it is compiled already.
const AUTHORED: &str = "authored";

/// The root of that crate.
const CORE_SOURCE: &str = "kpatch_core.rs";

/// Name of the part with the module's entry points.
const ENTRY: &str = "entry";

/// Makes `directory` anew: the template, the numbers, the core and the diff objects. A `core` that is
/// compiled already goes with entry points in C; without one kbuild compiles both from Rust.
///
/// # Errors
/// When the directory cannot be written, holds something that is not ours, or has a name that make
/// cannot take.
pub(crate) fn lay_out(
    directory: &Path,
    core: Option<&Path>,
    module: &PatchModule<'_>,
) -> Result<()> {
    check_path(directory)?;
    if directory.exists() {
        let ours = directory.join(MAKEFILE).is_file();
        ensure!(ours, "`{}` is in the way: it is not of a former run", directory.display());
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove `{}`", directory.display()))?;
    }
    let part = directory.join("part");
    let core_dir = directory.join(CORE_DIRECTORY);
    for dir in [&part, &core_dir] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    }
    let mut parts = vec![format!("part/{ENTRY}.o"), format!("{CORE_DIRECTORY}/{CORE}.o")];
    parts.extend(module.gate.map(|_| format!("part/{GATE}.o")));
    let mut rules = String::new();
    match module.code {
        PatchCode::Diff(objects) => {
            for (index, object) in objects.iter().enumerate() {
                let name = format!("diff_{index}");
                ship(object, &part, &name)?;
                parts.push(format!("part/{name}.o"));
            }
        }
        PatchCode::Author(authored) => {
            let (name, text) = sources::AUTHOR;
            write(&part.join(name), text)?;
            parts.push(format!("part/{AUTHOR}.o"));
            if core.is_some() {
                ship(&authored.object, &part, AUTHORED)?;
                parts.push(format!("part/{AUTHORED}.o"));
            } else {
                parts.push(lay_out_author(directory, authored)?);
                rules = author_rules(&authored.crate_name);
            }
        }
    }
    write(&directory.join(MAKEFILE), makefile(module.name, &parts) + &rules)?;
    write(&directory.join("Kbuild"), sources::KBUILD)?;
    for (name, text) in sources::GLUE {
        write(&part.join(name), text)?;
    }
    write(&part.join("counts.h"), counts(module))?;
    match core {
        Some(core) => {
            write(&part.join("entry.c"), sources::ENTRY_IN_C)?;
            ship(core, &core_dir, CORE)?;
        }
        None => {
            write(&part.join("entry.rs"), sources::ENTRY_IN_RUST)?;
            write(&part.join("module.rs"), module_macro(module.name))?;
            // The root of a crate is called as its object; its modules are beside it.
            sources::write_core(&core_dir, CORE_SOURCE)?;
        }
    }
    if let Some(gate) = module.gate {
        write(&part.join(shipped(GATE)), gate.object()?)?;
        write(&part.join(sources_known(GATE)), "")?;
    }
    Ok(())
}

/// Hands the source of a livepatch in Rust to kbuild, with the modules that may lie beside it, and returns the
/// object that comes of it.
fn lay_out_author(directory: &Path, authored: &Authored) -> Result<String> {
    let place = directory.join(AUTHOR_DIRECTORY);
    fs::create_dir_all(&place).with_context(|| format!("cannot create `{}`", place.display()))?;
    let root = format!("{}.rs", authored.crate_name);
    let beside = authored.source.parent().context("a source in no directory")?;
    for entry in beside.read_dir().with_context(|| format!("in `{}`", beside.display()))? {
        let file = entry?.path();
        let is_source = file.extension().is_some_and(|extension| extension == "rs");
        // The root comes last, so that it wins over a module of its crate's name.
        if let Some(name) = file.file_name().filter(|_| is_source && file.is_file()) {
            copy(&file, &place.join(name))?;
        }
    }
    copy(&authored.source, &place.join(root))?;
    Ok(author_object_of(&authored.crate_name))
}

fn copy(file: &Path, place: &Path) -> Result<()> {
    fs::copy(file, place).with_context(|| format!("cannot copy `{}`", file.display()))?;
    Ok(())
}

/// Where kbuild leaves what it compiles of it, relative to the directory.
fn author_object_of(crate_name: &str) -> String {
    format!("{AUTHOR_DIRECTORY}/{crate_name}.o")
}

/// See [`author_object_of`].
pub(crate) fn author_object(directory: &Path, crate_name: &str) -> PathBuf {
    directory.join(author_object_of(crate_name))
}

/// How kbuild is to compile a crate that uses the core.
fn author_rules(crate_name: &str) -> String {
    let object = author_object_of(crate_name);
    let core = format!("{CORE_DIRECTORY}/{CORE}.o");
    let metadata = format!("$(obj)/{CORE_DIRECTORY}/lib{CORE}.rmeta");
    format!(
        "RUSTFLAGS_{core} := --emit=metadata={metadata}\n\
         RUSTFLAGS_{object} := --extern {CORE}={metadata}\n\
         $(obj)/{object}: $(obj)/{core}\n"
    )
}

/// Where kbuild leaves the core that it compiles.
pub(crate) fn core_object(directory: &Path) -> PathBuf {
    directory.join(CORE_DIRECTORY).join(format!("{CORE}.o"))
}

/// What makes the entry points of a module in Rust: as the kernel calls it, without `-`.
fn module_macro(name: &str) -> String {
    format!(
        "module! {{\n    type: PatchModule,\n    name: \"{}\",\n    description: \"{DESCRIPTION}\",\n    \
         license: \"GPL\",\n}}\n",
        name.replace('-', "_")
    )
}

/// As in the entry points in C.
const DESCRIPTION: &str = "Livepatch built by kpatch-build";

/// Runs kbuild on a directory that is laid out, and returns the module. Rust code in it is compiled with
/// `rustc`, which must be the kernel's.
///
/// # Errors
/// When make fails.
pub(crate) fn make(
    directory: &Path,
    target: &Target<'_>,
    name: &str,
    rustc: Option<&Path>,
    jobs: usize,
    log: &ToolLog,
) -> Result<PathBuf> {
    make_target(directory, target, "modules", rustc, jobs, log)?;
    let file = directory.join(format!("{name}.ko"));
    ensure!(file.is_file(), "kbuild made no `{}`", file.display());
    Ok(file)
}

/// Runs kbuild for one of its targets; see [`make`].
///
/// # Errors
/// When make fails.
pub(crate) fn make_target(
    directory: &Path,
    target: &Target<'_>,
    what: &str,
    rustc: Option<&Path>,
    jobs: usize,
    log: &ToolLog,
) -> Result<()> {
    let mut make = Command::new("make");
    make.env_clear().env("LC_ALL", "C");
    make.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    make.arg(format!("-j{}", jobs.max(1)));
    make.arg("-C").arg(target.source);
    make.arg(assign("O", &absolute(target.object_dir)?));
    make.arg(assign("M", directory));
    make.arg(format!("KERNELRELEASE={}", target.release));
    make.arg(format!("CC={}", target.compiler));
    if let Some(rustc) = rustc {
        make.arg(assign("RUSTC", rustc)).arg("KRUSTFLAGS=-Cdebuginfo=0");
    }
    make.args(variables(target));
    make.arg(what);
    let output = log.run(&mut make).context("kbuild could not make the patch module")?;
    Ok(objtool_warnings(&output.stderr)?)
}

/// objtool only warns, also where it gave up and left the module without unwind data.
fn objtool_warnings(stderr: &[u8]) -> Result<(), Refusal> {
    const MARKS: [&str; 2] = ["warning: objtool: ", "error: objtool: "];
    let text = String::from_utf8_lossy(stderr);
    let said = |line: &str| MARKS.iter().find_map(|mark| Some(line.split_once(mark)?.1.to_owned()));
    let warnings: Vec<String> = text.lines().filter_map(said).collect();
    if warnings.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ObjtoolWarned,
        Place::default(),
        warnings.join("\n  "),
        "the kernel could not unwind or patch such code; change the function in another way, and \
         please report it",
    ))
}

/// Make variables whose value on the command line wins over the makefiles'.
fn variables(target: &Target<'_>) -> Vec<&'static str> {
    // Debug information of glue and modinfo serves nobody. BTF would be made against a vmlinux
    // that only a built tree has, from debug information that is not there.
    let mut variables = vec!["KCFLAGS=-g0", "CONFIG_DEBUG_INFO_BTF_MODULES="];
    if !target.options.objtool_on_modules {
        // Once, on the whole: the diff objects have not seen objtool yet.
        variables.push("delay-objtool=y");
    }
    variables
}

fn makefile(name: &str, parts: &[String]) -> String {
    format!("KPATCH_NAME := {name}\nKPATCH_PARTS := {}\n", parts.join(" "))
}

fn counts(module: &PatchModule<'_>) -> String {
    format!(
        "#define KPATCH_NR_FUNCS {}\n#define KPATCH_NR_CALLBACKS {}\n\
         #define KPATCH_NR_GATE {}\n#define KPATCH_NR_OBJECTS {}\n\
         #define KPATCH_REPLACE {}\n#define KPATCH_PIN {}\n\
         #define KPATCH_AUTHORED {}\n#define KPATCH_NR_STATES {}\n\
         #define KPATCH_STATES {}\n#define KPATCH_BUILT_FOR {}\n",
        module.functions,
        module.callbacks,
        module.gate.map_or(0, Gate::count),
        module.klp_objects,
        u8::from(module.replace),
        u8::from(module.pin),
        u8::from(matches!(module.code, PatchCode::Author(_))),
        module.states.len(),
        states(module.states),
        modinfo(module.gate),
    )
}

/// Initialisers of `struct klp_state`.
fn states(states: &BTreeMap<u64, u32>) -> String {
    let one = |(id, version)| format!("{{ .id = {id}UL, .version = {version}U }}, ");
    states.iter().map(one).collect::<String>().trim_end().to_owned()
}

/// What modinfo is to say of the gate. Names of modules and digits need no quoting in C.
fn modinfo(gate: Option<&Gate>) -> String {
    let line = |key: &str, value: &str| format!("MODULE_INFO({key}, \"{value}\");");
    match gate {
        None => line(livepatch::BUILD_ID_CHECK, "off"),
        Some(gate) => {
            let lines = gate.built_for();
            let lines = lines.iter().map(|value| line(livepatch::BUILT_FOR, value));
            lines.collect::<Vec<_>>().join(" ")
        }
    }
}

/// Hands a finished object to kbuild. The empty command file stands for "no sources known", which
/// modpost wants to read for the module's source version.
fn ship(object: &Path, part: &Path, name: &str) -> Result<()> {
    fs::copy(object, part.join(shipped(name)))
        .with_context(|| format!("cannot copy `{}`", object.display()))?;
    write(&part.join(sources_known(name)), "")
}

fn shipped(name: &str) -> String {
    format!("{name}.o_shipped")
}

fn sources_known(name: &str) -> String {
    format!(".{name}.o.cmd")
}

fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(file, content).with_context(|| format!("cannot write `{}`", file.display()))
}

fn assign(variable: &str, path: &Path) -> std::ffi::OsString {
    let mut arg = std::ffi::OsString::from(format!("{variable}="));
    arg.push(path);
    arg
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))
}

/// kbuild takes an external module's directory apart at spaces and colons, and make expands more.
fn check_path(directory: &Path) -> Result<()> {
    let plain = |c: char| c.is_alphanumeric() || "_-./+,@~^".contains(c);
    let good = directory.to_str().is_some_and(|text| text.chars().all(plain));
    ensure!(
        good,
        "kbuild cannot work in `{}`: choose a directory (--work-dir) whose path has letters, digits \
         and `_-./+,@~^` only",
        directory.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KernelOptions;
    use crate::Template;

    static NONE: BTreeMap<u64, u32> = BTreeMap::new();

    fn module(diff_objects: &[PathBuf]) -> PatchModule<'_> {
        PatchModule {
            name: "kpatch-x",
            code: PatchCode::Diff(diff_objects),
            functions: 3,
            callbacks: 1,
            klp_objects: 2,
            states: &NONE,
            gate: None,
            replace: true,
            pin: false,
            template: Template::Auto,
        }
    }

    #[test]
    fn the_directory_is_complete_and_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let object = dir.path().join("some.o");
        fs::write(&object, "object").unwrap();
        let place = dir.path().join("module");
        let diffs = [object.clone(), object.clone()];
        lay_out(&place, Some(&object), &module(&diffs)).unwrap();
        fs::write(place.join("old.ko"), "").unwrap();
        lay_out(&place, Some(&object), &module(&diffs)).unwrap();
        assert!(!place.join("old.ko").exists());

        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert_eq!(
            read("patch.mk"),
            "KPATCH_NAME := kpatch-x\nKPATCH_PARTS := part/entry.o core/kpatch_core.o part/diff_0.o part/diff_1.o\n"
        );
        assert_eq!(
            read("part/counts.h"),
            "#define KPATCH_NR_FUNCS 3\n#define KPATCH_NR_CALLBACKS 1\n\
             #define KPATCH_NR_GATE 0\n#define KPATCH_NR_OBJECTS 2\n\
             #define KPATCH_REPLACE 1\n#define KPATCH_PIN 0\n\
             #define KPATCH_AUTHORED 0\n#define KPATCH_NR_STATES 0\n#define KPATCH_STATES \n\
             #define KPATCH_BUILT_FOR MODULE_INFO(kpatch_build_id_check, \"off\");\n"
        );
        assert!(!place.join("part/gate.o_shipped").exists());
        for (dir, name) in [("core", "kpatch_core"), ("part", "diff_0"), ("part", "diff_1")] {
            assert_eq!(read(&format!("{dir}/{name}.o_shipped")), "object");
            assert_eq!(read(&format!("{dir}/.{name}.o.cmd")), "");
        }
    }

    #[test]
    fn a_livepatch_in_rust_is_compiled_here_or_by_kbuild() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, text) in [("live-patch.rs", "root"), ("part.rs", "part"), ("notes.txt", "")] {
            fs::write(path(name), text).unwrap();
        }
        fs::write(path("authored.o"), "object").unwrap();
        let authored = Authored {
            crate_name: "live_patch".to_owned(),
            source: path("live-patch.rs"),
            object: path("authored.o"),
            functions: 1,
            callbacks: 0,
            objects: [livepatch::VMLINUX.to_owned()].into(),
            outliving: Vec::new(),
        };
        let module = PatchModule { code: PatchCode::Author(&authored), ..module(&[]) };
        let place = path("module");
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();

        lay_out(&place, Some(&path("authored.o")), &module).unwrap();
        let makefile = read("patch.mk");
        assert!(makefile.ends_with(" part/author.o part/authored.o\n"), "{makefile}");
        assert_eq!(read("part/authored.o_shipped"), "object");
        assert!(read("part/counts.h").contains("#define KPATCH_AUTHORED 1\n"));

        lay_out(&place, None, &module).unwrap();
        assert!(read("patch.mk").contains(" part/author.o author/live_patch.o\nRUSTFLAGS_core/"));
        assert_eq!(read("author/live_patch.rs"), "root");
        assert_eq!(read("author/part.rs"), "part");
        assert!(!place.join("author/notes.txt").exists());
    }

    #[test]
    fn without_a_compiled_core_kbuild_gets_its_sources() {
        let dir = tempfile::tempdir().unwrap();
        let object = dir.path().join("some.o");
        fs::write(&object, "object").unwrap();
        let place = dir.path().join("module");
        let gate = crate::gate::tests::gate(&["ext4"]);
        lay_out(&place, None, &PatchModule { gate: Some(&gate), ..module(&[object]) }).unwrap();
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert!(read("part/module.rs").contains("name: \"kpatch_x\","));
        assert_eq!(read("core/kpatch_core.rs"), sources::CORE[0].1);
        assert!(place.join("core/gate.rs").is_file() && place.join("part/entry.rs").is_file());
        for name in ["part/entry.c", "core/lib.rs", "core/kpatch_core.o_shipped"] {
            assert!(!place.join(name).exists(), "{name}");
        }
        // It would be compiled in its place.
        for file in fs::read_dir(place.join("part")).unwrap().flatten() {
            let shipped = file.path().with_extension("o_shipped");
            let source = file.path().extension().is_some_and(|extension| extension == "rs");
            assert!(!source || !shipped.exists(), "{}", shipped.display());
        }
    }

    /// What `modinfo` says of a module must not tell how it was built.
    #[test]
    fn both_entry_points_describe_the_module_alike() {
        assert!(sources::ENTRY_IN_C.contains(&format!("MODULE_DESCRIPTION(\"{DESCRIPTION}\");")));
    }

    #[test]
    fn states_are_initialisers() {
        let two = BTreeMap::from([(7, 1), (u64::MAX, u32::MAX)]);
        let text = counts(&PatchModule { states: &two, ..module(&[]) });
        let states = "KPATCH_NR_STATES 2\n#define KPATCH_STATES { .id = 7UL, .version = 1U }, \
                      { .id = 18446744073709551615UL, .version = 4294967295U },\n";
        assert!(text.contains(states), "{text}");
    }

    #[test]
    fn the_gate_is_a_part_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let object = dir.path().join("some.o");
        fs::write(&object, "object").unwrap();
        let place = dir.path().join("module");
        let diffs = [object.clone()];
        let gate = crate::gate::tests::gate(&["ext4"]);
        lay_out(&place, Some(&object), &PatchModule { gate: Some(&gate), ..module(&diffs) })
            .unwrap();
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert!(read("patch.mk").ends_with("core/kpatch_core.o part/gate.o part/diff_0.o\n"));
        let counts = read("part/counts.h");
        assert!(counts.contains("KPATCH_NR_GATE 2\n"), "{counts}");
        let ids = ["ab".repeat(20), "ef".repeat(16)];
        let lines = format!(
            "MODULE_INFO(kpatch_built_for, \"vmlinux:{}\"); \
             MODULE_INFO(kpatch_built_for, \"ext4:{}\");\n",
            ids[0], ids[1]
        );
        assert!(counts.ends_with(&lines), "{counts}");
        kpatch_elf::read(&fs::read(place.join("part/gate.o_shipped")).unwrap()).unwrap();
        assert_eq!(read("part/.gate.o.cmd"), "");
    }

    #[test]
    fn a_directory_that_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("module/precious");
        fs::create_dir_all(precious.parent().unwrap()).unwrap();
        fs::write(&precious, "").unwrap();
        let place = dir.path().join("module");
        let error = lay_out(&place, Some(&precious), &module(&[])).unwrap_err();
        assert!(error.to_string().contains("in the way"), "{error:#}");
        assert!(precious.exists());
    }

    #[test]
    fn a_path_that_kbuild_would_tear_apart_is_refused() {
        for bad in ["/tmp/a b", "/tmp/a:b", "/tmp/$x", "/tmp/a#b", "/tmp/a%b"] {
            assert!(check_path(Path::new(bad)).is_err(), "{bad}");
        }
        check_path(Path::new("/home/me/.cache/kpatch-1.0_x/work")).unwrap();
    }

    #[test]
    fn objtool_is_delayed_only_where_it_is_not_already() {
        let at = |objtool_on_modules| {
            let options = KernelOptions { objtool_on_modules, ..KernelOptions::default() };
            let target = Target {
                source: Path::new("/s"),
                object_dir: Path::new("/o"),
                release: "6.1.0",
                compiler: "gcc",
                options: &options,
            };
            variables(&target).contains(&"delay-objtool=y")
        };
        assert!(at(false));
        assert!(!at(true));
    }
}

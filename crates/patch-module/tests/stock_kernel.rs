//! Builds real modules against a prepared kernel: the newest object directory in the cache, or
//! `KPATCH_TEST_OBJECT_DIR`; by kbuild's own Rust rules against the one that scripts/build-kernel.sh
//! built. Without them these tests say so and test nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use object::RelocationTarget;
use patch_module::Code;
use patch_module::KernelOptions;
use patch_module::PatchModule;
use patch_module::Target;
use patch_module::Template;
use patch_module::build;
use tool_run::ToolLog;

/// A kernel whose object directory is in the state of `make modules_prepare`.
struct Kernel {
    source: PathBuf,
    object_dir: PathBuf,
    release: String,
    compiler: String,
    options: KernelOptions,
}

fn cache_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("KPATCH_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        variable("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("kpatch")
    })
}

/// The directories at most `depth` levels below `dir` that were prepared, with their time.
fn prepared(dir: &Path, depth: usize, found: &mut Vec<(SystemTime, PathBuf)>) {
    let release = dir.join("include/config/kernel.release");
    let parts = [".config", "Module.symvers", "source/Makefile", "scripts/mod/modpost"];
    if parts.iter().all(|part| dir.join(part).is_file()) {
        if let Ok(time) = fs::metadata(release).and_then(|data| data.modified()) {
            found.push((time, dir.to_owned()));
        }
    } else if depth > 0 {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            // What a run is still preparing is no kernel yet.
            let temporary = entry.file_name() == "tmp";
            if !temporary && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                prepared(&entry.path(), depth - 1, found);
            }
        }
    }
}

/// Says why nothing is tested; not by `eprintln!`, which the test runner hides when a test passes.
fn skip(reason: &str) {
    let _ =
        writeln!(std::io::stderr(), "SKIPPED (KPATCH_TEST_OBJECT_DIR names a kernel): {reason}");
}

fn kernel() -> Option<Kernel> {
    let object_dir = match std::env::var_os("KPATCH_TEST_OBJECT_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let mut found = Vec::new();
            prepared(&cache_dir(), 3, &mut found);
            let Some((_, newest)) = found.into_iter().max() else {
                let cache = cache_dir();
                skip(&format!("no prepared kernel in `{}`", cache.display()));
                return None;
            };
            newest
        }
    };
    kernel_in(object_dir)
}

/// The kernel with Rust support that was built here.
fn rust_kernel() -> Option<Kernel> {
    let dir = cache_dir().join("kernels/rust-6.12");
    if !dir.join("kernel.env").is_file() {
        skip(&format!("no kernel in `{}`", dir.display()));
        return None;
    }
    kernel_in(dir.join("objects"))
}

fn kernel_in(object_dir: PathBuf) -> Option<Kernel> {
    let config = fs::read_to_string(object_dir.join(".config")).unwrap();
    let values: BTreeMap<&str, &str> = config
        .lines()
        .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    let compiler = values["CC_VERSION_TEXT"].split(' ').next().unwrap().to_owned();
    if Command::new(&compiler).arg("--version").output().is_err() {
        skip(&format!("no `{compiler}`, which the kernel was built with"));
        return None;
    }
    let release = fs::read_to_string(object_dir.join("include/config/kernel.release")).unwrap();
    Some(Kernel {
        source: object_dir.join("source").canonicalize().unwrap(),
        release: release.trim().to_owned(),
        compiler,
        options: KernelOptions::from_config(|name| values.get(name).map(|v| (*v).into())).unwrap(),
        object_dir,
    })
}

/// An object as the differ makes them: a function per section and a record for each, made for a
/// kernel of these options.
fn diff_object(kernel: &Kernel, dir: &Path, object: &str, functions: &[&str]) -> PathBuf {
    let mut source =
        String::from("int seq_write(void *m, const void *data, unsigned long size);\n");
    for (position, name) in functions.iter().enumerate() {
        source.push_str(&format!(
            "__attribute__((used)) static int {name}(void *m) {{ seq_write(m, \"{name}\", 4); return 1; }}\n\
             asm(\".pushsection .kpatch.strings, \\\"a\\\"\\n\
             1: .asciz \\\"{name}\\\"\\n2: .asciz \\\"{object}\\\"\\n.popsection\\n\
             .pushsection .kpatch.funcs, \\\"a\\\"\\n.balign 8\\n\
             .quad {name}, 1b, 2b, {position}\\n.popsection\");\n"
        ));
    }
    let file = dir.join(format!("{object}.c"));
    fs::write(&file, source).unwrap();
    let output = file.with_extension("o");
    let mut gcc = Command::new(&kernel.compiler);
    gcc.args(["-c", "-O2", "-ffreestanding", "-mcmodel=kernel", "-mno-red-zone", "-mno-sse"]);
    gcc.args(["-fno-pie", "-ffunction-sections", "-fno-asynchronous-unwind-tables"]);
    gcc.args(["-fno-stack-protector", "-pg", "-mfentry", "-mrecord-mcount"]);
    let optional = [
        (kernel.options.ibt, "-fcf-protection=branch"),
        (!kernel.options.ibt, "-fcf-protection=none"),
        (kernel.options.rethunk, "-mfunction-return=thunk-extern"),
        (kernel.options.sls, "-mharden-sls=all"),
    ];
    gcc.args(optional.iter().filter(|(on, _)| *on).map(|(_, flag)| flag));
    if let Some(bytes) = kernel.options.call_padding {
        gcc.arg(format!("-fpatchable-function-entry={bytes},{bytes}"));
    }
    let made = gcc.arg("-o").arg(&output).arg(&file).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    output
}

/// Every file below `dir` with its size and time of change. Symbolic links are not followed.
fn snapshot(dir: &Path, all: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let data = entry.metadata().unwrap();
        all.insert(entry.path(), (data.len(), data.modified().unwrap()));
        if data.is_dir() {
            snapshot(&entry.path(), all);
        }
    }
}

fn build_one(
    kernel: &Kernel,
    template: Template,
    dir: &Path,
    name: &str,
    diff_objects: &[PathBuf],
    functions: usize,
) -> anyhow::Result<PathBuf> {
    let log = ToolLog::open(&dir.join("log")).unwrap();
    let target = Target {
        source: &kernel.source,
        object_dir: &kernel.object_dir,
        release: &kernel.release,
        compiler: &kernel.compiler,
        options: &kernel.options,
    };
    let klp_objects = diff_objects.len();
    let module = PatchModule {
        name,
        code: Code::Diff(diff_objects),
        functions,
        callbacks: 0,
        klp_objects,
        states: &BTreeMap::new(),
        gate: None,
        replace: true,
        pin: false,
        template,
    };
    build(&target, &module, &dir.join("work"), &cache_dir(), 2, &log)
}

/// The addresses (section, offset) that the relocations of section `name` name.
fn targets(file: &object::File<'_>, name: &str) -> BTreeSet<(usize, u64)> {
    let Some(section) = file.section_by_name(name) else { return BTreeSet::new() };
    let address = |relocation: &object::Relocation| {
        let RelocationTarget::Symbol(symbol) = relocation.target() else { panic!("no symbol") };
        let symbol = file.symbol_by_index(symbol).unwrap();
        let offset = symbol.address().wrapping_add_signed(relocation.addend());
        (symbol.section_index().map_or(0, |index| index.0), offset)
    };
    section.relocations().map(|(_, relocation)| address(&relocation)).collect()
}

fn symbol(file: &object::File<'_>, name: &str) -> (usize, u64) {
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
    let symbol = symbol.unwrap_or_else(|| panic!("no symbol {name}"));
    (symbol.section_index().unwrap().0, symbol.address())
}

#[test]
fn the_module_has_all_that_the_kernel_wants() {
    let Some(kernel) = kernel() else { return };
    has_all_that_the_kernel_wants(&kernel, Template::Freestanding);
}

/// What tells modules whose entry points `module!` has made (rust/macros/module.rs).
fn is_rust(module: &[u8]) -> bool {
    let file = object::File::parse(module).unwrap();
    file.symbols().any(|symbol| symbol.name().is_ok_and(|name| name.contains("IS_RUST_MODULE")))
}

#[test]
fn both_templates_serve_a_kernel_with_rust() {
    let Some(kernel) = rust_kernel() else { return };
    let by_rust = has_all_that_the_kernel_wants(&kernel, Template::RustForLinux);
    assert!(is_rust(&by_rust));
    let by_itself = has_all_that_the_kernel_wants(&kernel, Template::Freestanding);
    assert!(!is_rust(&by_itself));
    assert!(
        has_all_that_the_kernel_wants(&kernel, Template::Auto) == by_rust,
        "auto takes another"
    );
}

#[test]
fn a_kernel_without_rust_is_served_freestanding_only() {
    let Some(kernel) = kernel() else { return };
    if kernel.options.rustc.is_some() {
        return skip("the kernel has Rust");
    }
    let dir = tempfile::tempdir().unwrap();
    let diffs = [diff_object(&kernel, dir.path(), "vmlinux", &["cmdline_proc_show"])];
    let module = |template| build_one(&kernel, template, dir.path(), "kpatch-test", &diffs, 1);
    let error = module(Template::RustForLinux).unwrap_err();
    let refusal = error.downcast::<kpatch_refusal::Refusal>().unwrap();
    assert_eq!(refusal.code, kpatch_refusal::Code::TargetIncomplete, "{refusal}");
    assert!(!is_rust(&fs::read(module(Template::Auto).unwrap()).unwrap()));
}

/// Builds a module and looks at all of it.
fn has_all_that_the_kernel_wants(kernel: &Kernel, template: Template) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let diff_objects = [
        diff_object(kernel, dir.path(), "vmlinux", &["cmdline_proc_show", "version_proc_show"]),
        diff_object(kernel, dir.path(), "some_module", &["some_show"]),
    ];
    let mut before = BTreeMap::new();
    snapshot(&kernel.object_dir, &mut before);
    snapshot(&kernel.source, &mut before);
    let ko = build_one(kernel, template, dir.path(), "kpatch-test", &diff_objects, 3).unwrap();
    let mut after = BTreeMap::new();
    snapshot(&kernel.object_dir, &mut after);
    snapshot(&kernel.source, &mut after);
    assert!(before == after, "kbuild wrote outside of the module's directory");

    assert_eq!(ko.file_name().unwrap(), "kpatch-test.ko");
    let data = fs::read(&ko).unwrap();
    let file = object::File::parse(&*data).unwrap();

    let modinfo = file.section_by_name(".modinfo").unwrap().data().unwrap();
    let modinfo: Vec<String> =
        modinfo.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into()).collect();
    for expected in ["livepatch=Y", "license=GPL", "name=kpatch_test"] {
        assert!(modinfo.contains(&expected.to_owned()), "no {expected} in {modinfo:?}");
    }
    let vermagic = format!("vermagic={} ", kernel.release);
    assert!(modinfo.iter().any(|one| one.starts_with(&vermagic)), "{modinfo:?}");

    // The new functions must be in kallsyms, by their names.
    for name in ["cmdline_proc_show", "version_proc_show", "some_show", "kpatch_core_load"] {
        let (section, offset) = symbol(&file, name);
        let covered = targets(&file, ".orc_unwind_ip");
        let covered = covered.iter().any(|(at, from)| *at == section && *from <= offset);
        assert!(covered, "no unwind information for {name}");
    }

    let left: Vec<&str> = file
        .symbols()
        .filter(|symbol| symbol.is_undefined() && symbol.is_weak())
        .map(|symbol| symbol.name().unwrap())
        .collect();
    assert_eq!(left, [""; 0], "weak symbols that nobody defines");

    if kernel.options.rethunk {
        let jumps: usize = file
            .sections()
            .filter(|section| section.name().is_ok_and(|name| name.contains(".text")))
            .flat_map(|section| section.relocations().collect::<Vec<_>>())
            .filter(|(_, relocation)| match relocation.target() {
                RelocationTarget::Symbol(symbol) => {
                    file.symbol_by_index(symbol).unwrap().name() == Ok("__x86_return_thunk")
                }
                _ => false,
            })
            .count();
        assert!(jumps >= 4, "glue, core and patch return");
        assert_eq!(targets(&file, ".return_sites").len(), jumps, "a return that is not patched");
    }
    if kernel.options.ibt {
        let sealed = targets(&file, ".ibt_endbr_seal");
        assert!(sealed.contains(&symbol(&file, "kpatch_core_load")), "objtool did not look");
        for name in ["init_module", "cleanup_module"] {
            assert!(!sealed.contains(&symbol(&file, name)), "{name} is sealed");
        }
    }

    // Records in link order, behind the glue's mark.
    let table = file.section_by_name(".kpatch.funcs").unwrap();
    let mut records: Vec<(u64, (usize, u64))> = table
        .relocations()
        .filter(|(offset, _)| offset % 32 == 0)
        .map(|(offset, relocation)| {
            let RelocationTarget::Symbol(of) = relocation.target() else { panic!("no symbol") };
            let of = file.symbol_by_index(of).unwrap();
            let at = of.address().wrapping_add_signed(relocation.addend());
            (offset, (of.section_index().unwrap().0, at))
        })
        .collect();
    records.sort();
    let records: Vec<_> = records.into_iter().map(|(_, function)| function).collect();
    let expected = ["cmdline_proc_show", "version_proc_show", "some_show"];
    assert_eq!(records, expected.map(|name| symbol(&file, name)));
    data
}

#[test]
fn a_wrong_number_of_functions_is_noticed() {
    let Some(kernel) = kernel() else { return };
    let dir = tempfile::tempdir().unwrap();
    let diff_objects = [diff_object(&kernel, dir.path(), "vmlinux", &["cmdline_proc_show"])];
    let template = Template::Freestanding;
    let error =
        build_one(&kernel, template, dir.path(), "kpatch-test", &diff_objects, 2).unwrap_err();
    let refusal = error.downcast::<kpatch_refusal::Refusal>().unwrap();
    assert_eq!(refusal.code, kpatch_refusal::Code::ModuleMalformed, "{refusal}");
}

#[test]
fn two_builds_are_equal() {
    let Some(kernel) = kernel() else { return };
    let modules: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let dir = tempfile::tempdir().unwrap();
            let diffs = [diff_object(&kernel, dir.path(), "vmlinux", &["cmdline_proc_show"])];
            let template = Template::Auto;
            fs::read(build_one(&kernel, template, dir.path(), "glue", &diffs, 1).unwrap()).unwrap()
        })
        .collect();
    assert!(modules[0] == modules[1], "the module depends on where it is built");
}

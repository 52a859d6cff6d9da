//! Compiling by the records of a build, in each of the ways in which kbuild names the source: in place, from
//! a directory in the tree, and from one beside it. The kernel is a toy of a few files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use anyhow::Result;
use kpatch_build::cache::Cache;
use kpatch_build::compile_database::Owner;
use kpatch_build::front;
use kpatch_build::front::Context;
use kpatch_build::front::Front;
use kpatch_build::prepare::Built;
use kpatch_build::prepare::Origin;
use kpatch_build::progress::Progress;
use kpatch_build::source_tree;
use kpatch_build::source_tree::Made;
use kpatch_refusal::Code;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use tool_run::ToolLog;

/// A toy kernel, and how its build named the source.
struct Toy {
    dir: tempfile::TempDir,
    /// The object directory, relative to the place of all.
    objects: &'static str,
}

/// `objects`, what commands put before a path of the source, and before an include directory.
const WAYS: [(&str, &str, &str); 3] =
    [("linux", "", "./"), ("linux/build", "../", "../"), ("out", "@/linux/", "@/linux/")];

impl Toy {
    fn new((objects, prefix, include): (&'static str, &str, &str)) -> Self {
        let toy = Self { dir: tempfile::tempdir().unwrap(), objects };
        let root = toy.root();
        let at_root = |text: &str| text.replace('@', root.to_str().unwrap());
        let (prefix, include) = (at_root(prefix), at_root(include));
        let write = |path: String, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let source = |path: &str, text: &str| write(format!("linux/{path}"), text);
        let made = |path: &str, text: &str| write(format!("{objects}/{path}"), text);
        source("Makefile", "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n");
        source("fs/local.h", "#define LOCAL 3\n");
        source(
            "fs/d/a.c",
            "#include <deep.h>\n#include \"../local.h\"\nint a(void)\n{\n\treturn LOCAL + DEEP + GENERATED;\n}\n",
        );
        source("fs/d/in.c", "int in(void)\n{\n\treturn LOCAL;\n}\n");
        source(
            "fs/d/m.c",
            "#include \"../local.h\"\n#include \"in.c\"\nconst char *m(void)\n{\n\treturn __FILE__;\n}\n\
             #define NAME(x) #x\n#include NAME(odd.h)\nint odd(void)\n{\n\treturn ODD;\n}\n",
        );
        source("fs/d/odd.h", "#define ODD (INNER + 1)\n#include <inner.h>\n");
        source("include/inner.h", "#define INNER 5\n");
        source("include/deep.h", "#define DEEP 4\n");
        made("include/generated/autoconf.h", "#define GENERATED 5\n");
        let version = Command::new("gcc").arg("--version").output().unwrap().stdout;
        let version = String::from_utf8(version).unwrap();
        let version = version.lines().next().unwrap();
        made(".config", &format!("CONFIG_CC_VERSION_TEXT=\"{version}\"\nCONFIG_X=y\n"));
        made(
            "include/config/auto.conf",
            &format!("CONFIG_CC_VERSION_TEXT={version}\nCONFIG_X=y\n"),
        );
        source("fs/d/s.c", "int s(void)\n{\n\treturn 7;\n}\n");
        source("fs/d/Makefile", "obj-y += a.o\nobj-m += m.o p.o q.o\np-y += s.o\nq-y += s.o\n");
        made("modules.order", "fs/d/m.o\nfs/d/p.o\nfs/d/q.o\n");
        let unit = |name: &str, flags: &str, includes: &str| {
            let command = format!(
                "gcc -Wp,-MMD,fs/d/.{name}.o.d -nostdinc -I{include}include -include \
                 ./include/generated/autoconf.h -D__KERNEL__ -O2 -fcf-protection=none {flags} \
                 -fmacro-prefix-map={include}= -DKBUILD_BASENAME='\"{name}\"' -DKBUILD_MODNAME='\"{name}\"' \
                 -D__KBUILD_MODNAME=kmod_{name} -c -o fs/d/{name}.o \
                 {prefix}fs/d/{name}.c"
            );
            let record = format!(
                "savedcmd_fs/d/{name}.o := {command}  ; ./tools/objtool/objtool fs/d/{name}.o\n\n\
                 source_fs/d/{name}.o := {prefix}fs/d/{name}.c\n\ndeps_fs/d/{name}.o := \\\n  \
                 {prefix}fs/d/../local.h \\\n{includes}\nx: $(deps_x)\n"
            );
            made(&format!("fs/d/.{name}.o.cmd"), &record);
            // What was built is only there to be left alone.
            made(&format!("fs/d/{name}.o"), "object");
        };
        unit("a", "-DKBUILD_MODFILE='\"fs/d/a\"'", "");
        unit("s", "-DMODULE", "");
        let included = ["in.c", "odd.h"].map(|name| format!("  {prefix}fs/d/{name} \\\n"));
        let included = [&included.concat(), &format!("  {prefix}include/inner.h \\\n")];
        unit("m", "-DMODULE", &included.map(String::as_str).concat());
        for (module, objects) in [("m", "m.o"), ("p", "s.o"), ("q", "s.o")] {
            let command = format!(
                "printf '%s\\n'   {objects} | awk '!x[$$0]++ {{ print(\"fs/d/\"$$0) }}' > fs/d/{module}.mod"
            );
            let record = format!("savedcmd_fs/d/{module}.mod := {command}\n");
            made(&format!("fs/d/.{module}.mod.cmd"), &record);
        }
        let archive = "rm -f built-in.a;  printf \"./%s \" fs/d/a.o | xargs ar cDPrST built-in.a";
        made(".built-in.a.cmd", &format!("savedcmd_built-in.a := {archive}\n"));
        toy
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn front(&self, work: &Path, patch: &str) -> Result<Front> {
        self.front_with(work, patch, 200)
    }

    /// The like with at most so many objects.
    fn front_with(&self, work: &Path, patch: &str, most: usize) -> Result<Front> {
        let file = work.join("x.patch");
        fs::write(&file, patch)?;
        let cache = Cache::open(&work.join("cache"))?;
        let log = ToolLog::open(&work.join("log"))?;
        let progress = Progress::new(true);
        let context = Context { cache: &cache, work, jobs: 2, log: &log, progress: &progress };
        let objects = self.root().join(self.objects);
        let made = match self.objects {
            "out" => Made::LeftOut,
            _ => Made::Generated,
        };
        let tree = source_tree::read_with(&self.root().join("linux"), made)?;
        let origin = Origin::Built(Built { config: objects.join(".config"), objects });
        front::run(&context, &tree, &origin, &front::read_patches(&[file])?, most)
    }

    /// All files with their times and contents.
    fn state(&self) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
        let mut state = BTreeMap::new();
        let mut open = vec![self.root()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                let modified = entry.metadata().unwrap().modified().unwrap();
                let is_dir = entry.path().is_dir();
                let content = if is_dir { Vec::new() } else { fs::read(entry.path()).unwrap() };
                state.insert(entry.path(), (modified, content));
                open.extend(is_dir.then(|| entry.path()));
            }
        }
        state
    }
}

/// The number that the function `name` returns, as disassembled.
fn returned(object: &Path, name: &str) -> String {
    let output = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn", &format!("--disassemble={name}")])
        .arg(object)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains(",%eax")).unwrap_or_else(|| panic!("{text}"));
    line.split(['$', ',']).nth(1).unwrap().to_owned()
}

const A: &str = "--- a/fs/d/a.c\n+++ b/fs/d/a.c\n@@ -4,2 +4,2 @@\n {\n-\treturn LOCAL + DEEP + GENERATED;\n\
                 +\treturn LOCAL + DEEP + GENERATED + 0x100;\n";

#[test]
fn compiles_both_sides_however_the_source_is_named_and_touches_nothing() {
    for way in WAYS {
        let toy = Toy::new(way);
        let before = toy.state();
        let work = tempfile::tempdir().unwrap();
        let work = work.path().canonicalize().unwrap();
        let front = toy.front(&work, A).unwrap();
        let [pair] = front.pairs.as_slice() else { panic!("{:?}", front.pairs) };
        assert_eq!((pair.unit.object.as_str(), &pair.unit.owner), ("fs/d/a.o", &Owner::Vmlinux));
        assert_eq!(returned(&pair.exact, "a"), "0xc", "{way:?}");
        assert_eq!(returned(&pair.original, "a"), "0xc");
        assert_eq!(returned(&pair.patched, "a"), "0x10c");
        assert_eq!(toy.state(), before, "{way:?}");
        let unit = &front.prepared.database().unwrap().units_of("fs/d/in.c").unwrap()[0];
        let read = front.prepared.database().unwrap().files_read(unit).unwrap().unwrap();
        let files = ["fs/d/in.c", "fs/d/m.c", "fs/d/odd.h", "fs/local.h", "include/inner.h"];
        assert_eq!(read, files.map(str::to_owned).into());
    }
}

#[test]
fn a_file_that_a_module_includes_is_read_from_the_farm() {
    for way in WAYS {
        let toy = Toy::new(way);
        let work = tempfile::tempdir().unwrap();
        let work = work.path().canonicalize().unwrap();
        let patch = "--- a/fs/d/in.c\n+++ b/fs/d/in.c\n@@ -2,3 +2,3 @@\n {\n-\treturn LOCAL;\n\
                     +\treturn LOCAL + 0x100;\n }\n";
        let front = toy.front(&work, patch).unwrap();
        let [pair] = front.pairs.as_slice() else { panic!("{:?}", front.pairs) };
        assert_eq!(pair.unit.owner, Owner::Module { name: "m".into(), path: "fs/d/m".into() });
        assert_eq!(returned(&pair.original, "in"), "0x3");
        assert_eq!(returned(&pair.patched, "in"), "0x103", "{way:?}");
        // The path that the kernel would print is the one that it was built with.
        for object in [&pair.exact, &pair.patched] {
            let bytes = fs::read(object).unwrap();
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(has(b"\0fs/d/m.c\0") || has(b"fs/d/m.c\0"), "{}", object.display());
            assert!(!has(toy.root().to_str().unwrap().as_bytes()), "{way:?}");
        }
    }
}

#[test]
fn users_of_a_header_are_who_read_it() {
    let change = |name: &str, value: &str| {
        let (file, macro_name) = name.split_once(' ').unwrap();
        format!(
            "--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-#define {macro_name} {value}\n\
             +#define {macro_name} 0x100\n"
        )
    };
    for way in WAYS {
        let toy = Toy::new(way);
        let work = tempfile::tempdir().unwrap();
        let work = work.path().canonicalize().unwrap();
        let front = toy.front(&work, &change("fs/local.h LOCAL", "3")).unwrap();
        let objects: Vec<&str> = front.pairs.iter().map(|pair| &*pair.unit.object).collect();
        assert_eq!(objects, ["fs/d/a.o", "fs/d/m.o"], "{way:?}");
        let error = toy.front_with(&work, &change("fs/local.h LOCAL", "3"), 1).unwrap_err();
        let refusal = error.downcast::<Refusal>().unwrap();
        assert_eq!(refusal.code, Code::TooManyObjects, "{way:?}");
        // No text has the name `odd.h` together; and only the preprocessor sees the use of `INNER`.
        for (changed, old, new) in
            [("fs/d/odd.h ODD", "(INNER + 1)", "0x100"), ("include/inner.h INNER", "5", "0x101")]
        {
            let front = toy.front(&work, &change(changed, old)).unwrap();
            let [pair] = front.pairs.as_slice() else {
                panic!("{way:?} {changed}: {:?}", front.pairs)
            };
            assert_eq!(returned(&pair.original, "odd"), "0x6");
            assert_eq!(returned(&pair.patched, "odd"), new, "{way:?}");
        }
    }
}

#[test]
fn an_object_of_two_modules_is_patched_for_both() {
    let toy = Toy::new(WAYS[0]);
    let work = tempfile::tempdir().unwrap();
    let work = work.path().canonicalize().unwrap();
    let patch =
        "--- a/fs/d/s.c\n+++ b/fs/d/s.c\n@@ -2,3 +2,3 @@\n {\n-\treturn 7;\n+\treturn 8;\n }\n";
    let front = toy.front(&work, patch).unwrap();
    let owner = |name: &str| Owner::Module { name: name.into(), path: format!("fs/d/{name}") };
    let owners: Vec<&Owner> = front.pairs.iter().map(|pair| &pair.unit.owner).collect();
    assert_eq!(owners, [&owner("p"), &owner("q")]);
    let [p, q] = front.pairs.as_slice() else { panic!("{:?}", front.pairs) };
    assert_eq!((&p.patched, returned(&p.patched, "s").as_str()), (&q.patched, "0x8"));
}

/// A patch that adds `fs/d/new.c`, which returns a macro of a header of its own, and `line` in the Makefile.
fn new_file(line: &str) -> String {
    let file = |name: &str, text: &str| {
        let lines: String = text.lines().map(|line| format!("+{line}\n")).collect();
        let count = text.lines().count();
        format!("--- /dev/null\n+++ b/fs/d/{name}\n@@ -0,0 +1,{count} @@\n{lines}")
    };
    file("new.h", "#define NEW 0x70\n")
        + &file(
            "new.c",
            "#include \"../local.h\"\n#include \"new.h\"\n#include <deep.h>\nconst char *name = KBUILD_MODFILE;\n\
             int fresh(void)\n{\n\treturn NEW + LOCAL + DEEP + GENERATED;\n}\n",
        )
        + &format!(
            "--- a/fs/d/Makefile\n+++ b/fs/d/Makefile\n@@ -1,1 +1,2 @@\n obj-y += a.o\n+{line}\n"
        )
}

#[test]
fn a_new_file_is_compiled_as_its_neighbours_are() {
    for way in WAYS {
        let toy = Toy::new(way);
        let before = toy.state();
        let work = tempfile::tempdir().unwrap();
        let work = work.path().canonicalize().unwrap();
        let front = toy.front(&work, &(new_file("obj-$(CONFIG_X) += new.o") + A)).unwrap();
        let [a, new] = front.pairs.as_slice() else { panic!("{:?}", front.pairs) };
        assert_eq!((a.unit.object.as_str(), new.unit.object.as_str()), ("fs/d/a.o", "fs/d/new.o"));
        assert_eq!((&new.unit.owner, new.unit.source.as_str()), (&Owner::Vmlinux, "fs/d/new.c"));
        assert_eq!(returned(&new.patched, "fresh"), "0x7c", "{way:?}");
        let bytes = fs::read(&new.patched).unwrap();
        assert!(
            bytes
                .windows(10)
                .any(|window| window == b"fs/d/new\0\0" || window[..9] == *b"fs/d/new\0")
        );
        for nothing in [&new.exact, &new.original] {
            let object = kpatch_elf::read(&fs::read(nothing).unwrap()).unwrap();
            assert!(object.sections.iter().all(|section| !section.name.starts_with(".text.")));
            assert!(!object.symbols.iter().any(|symbol| symbol.name == "fresh"));
        }
        assert_eq!(toy.state(), before, "{way:?}");
        // Nothing of it is left in the farm for the next run.
        let again = toy.front(&work, A).unwrap();
        assert_eq!(again.pairs.len(), 1);
    }
}

#[test]
fn a_new_file_that_is_not_plainly_listed_is_refused() {
    let toy = Toy::new(WAYS[2]);
    let work = tempfile::tempdir().unwrap();
    let work = work.path().canonicalize().unwrap();
    let refused = |line: &str| {
        let Refusals(all) = toy.front(&work, &new_file(line)).unwrap_err().downcast().unwrap();
        assert_eq!(all.len(), 1, "{line}: {all:?}");
        (all[0].code, all[0].message.clone())
    };
    for (line, code, says) in [
        ("obj-m += new.o", Code::AddsOrRemovesFile, "a module of its own"),
        ("obj-$(CONFIG_Y) += new.o", Code::FileNotBuilt, "CONFIG_Y is off"),
        ("m-y += new.o", Code::AddsOrRemovesFile, "no other object of `fs/d` and `fs/d/m.o`"),
        ("p-y += new.o", Code::AddsOrRemovesFile, "no other object of `fs/d` and `fs/d/p.o`"),
        ("always-y += new.o", Code::AddsOrRemovesFile, "no other object"),
        ("obj-$(X) += new.o", Code::AddsOrRemovesFile, "no list of objects"),
        ("obj-y += other.o", Code::TouchesBuildFile, "`obj-y += other.o`"),
        ("ccflags-y += -DX", Code::TouchesBuildFile, "`ccflags-y += -DX`"),
        ("# nothing", Code::FileNotBuilt, "no Makefile of the patch lists it"),
    ] {
        let (found, message) = refused(line);
        assert_eq!(found, code, "{line}: {message}");
        assert!(message.contains(says), "{line}: {message}");
    }
    let makefile = toy.root().join("linux/fs/d/Makefile");
    let text = fs::read_to_string(&makefile).unwrap();
    for flags in [
        "CFLAGS_new.o := -DX\n",
        "CFLAGS_a.o := -DX\n",
        "$(foreach f,$(l),$(eval CFLAGS_$(f) := -DX))\n",
    ] {
        fs::write(&makefile, text.clone() + flags).unwrap();
        assert_eq!(refused("obj-y += new.o").0, Code::AddsOrRemovesFile, "{flags}");
    }
    fs::write(&makefile, text).unwrap();
    fs::write(toy.root().join("linux/fs/d/Kbuild"), "obj-y += a.o\n").unwrap();
    assert_eq!(refused("obj-y += new.o").0, Code::TouchesBuildFile);
}

#[test]
fn an_edit_is_seen_and_a_changed_option_is_refused() {
    let toy = Toy::new(WAYS[0]);
    let work = tempfile::tempdir().unwrap();
    let work = work.path().canonicalize().unwrap();
    toy.front(&work, A).unwrap();
    let generated = toy.root().join("linux/include/generated/autoconf.h");
    fs::write(generated, "#define GENERATED 0x25\n").unwrap();
    let front = toy.front(&work, A).unwrap();
    assert_eq!(returned(&front.pairs[0].exact, "a"), "0x2c", "not what the cache has of before");
    let config = toy.root().join("linux/.config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("CONFIG_X=y", "CONFIG_X=m")).unwrap();
    let Refusals(all) = toy.front(&work, A).unwrap_err().downcast().unwrap();
    assert_eq!(all[0].code, Code::ConfigDrift);
    assert!(all[0].message.contains("CONFIG_X: built with y, now m"), "{}", all[0]);
}

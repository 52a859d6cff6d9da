//! Reads what kbuild's commands say about objects: compiler commands (of C, assembly, linker scripts), `.mod` files (the objects of a
//! module), `built-in.a` and `lib.a` archives (the objects of vmlinux). Their form is that of
//! scripts/Makefile.build: `cmd_cc_o_c`, `cmd_as_o_S`, `cmd_cpp_lds_S`, `cmd_mod`, `cmd_ar_builtin`, and `cmd_ar` of
//! scripts/Makefile.lib. They come from `make -n`, or from the records of a build.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use rayon::prelude::*;

use super::Owner;
use super::TranslationUnit;
use super::normalize;
use super::shell;

/// One command that says something about C objects.
pub(super) enum Recipe {
    Compile(TranslationUnit),
    /// A module's path without suffix, and its objects.
    Module(String, Vec<String>),
    /// An archive of vmlinux and what is in it: objects, and archives that have recipes of their own.
    Archive(String, Vec<String>),
}

/// The translation units that the dry run's output `text` names, in its order.
pub(super) fn read(text: &str, source: &Path) -> Result<Vec<TranslationUnit>> {
    let source = source.to_str().context("the source tree's path is not UTF-8")?;
    let prefix = format!("{source}/");
    // A generated C file lies in the object directory; no patch can touch it.
    let source_of = |input: &str| normalize(input.strip_prefix(&prefix)?);
    let lines: Vec<&str> = text.lines().filter(|line| line.len() > 1).collect();
    let printed = |line: &&str| {
        let (_, body) = line.split_once("; ").filter(|(first, _)| *first == "set -e")?;
        recipe(body, &source_of)
    };
    Ok(units(lines.par_iter().filter_map(printed).collect()))
}

/// The units among `recipes`, with what the others say of what they are linked into.
pub(super) fn units(recipes: Vec<Recipe>) -> Vec<TranslationUnit> {
    let mut owners: BTreeMap<String, BTreeSet<Owner>> = BTreeMap::new();
    let mut units: BTreeMap<String, TranslationUnit> = BTreeMap::new();
    let mut own = |object: String, owner: &Owner| {
        owners.entry(normalize(&object).unwrap_or(object)).or_default().insert(owner.clone());
    };
    for recipe in recipes {
        match recipe {
            Recipe::Compile(unit) => {
                units.insert(unit.object.clone(), unit);
            }
            Recipe::Module(path, objects) => {
                let base = path.rsplit('/').next().unwrap_or(&path);
                let owner = Owner::Module { name: base.replace('-', "_"), path: path.clone() };
                objects.into_iter().for_each(|object| own(object, &owner));
            }
            Recipe::Archive(_, objects) => {
                objects.into_iter().for_each(|object| own(object, &Owner::Vmlinux));
            }
        }
    }
    let with_owners = |mut unit: TranslationUnit| {
        let place = normalize(&unit.object);
        let all = place.as_ref().and_then(|place| owners.get(place));
        unit.owners = all.into_iter().flatten().cloned().collect();
        unit
    };
    units.into_values().map(with_owners).collect()
}

/// What the command `body` says; `source_of` gives the C file that a compiler is given, relative to the
/// source tree, if it is in there.
pub(super) fn recipe(body: &str, source_of: &dyn Fn(&str) -> Option<String>) -> Option<Recipe> {
    let makes = body.contains(" -c -o ") || body.contains(" -DLINKER_SCRIPT ");
    if makes && body.contains("-Wp,-MMD,") {
        return compile(body, source_of).map(Recipe::Compile);
    }
    if let Some((list, rest)) = between(body, "printf '%s\\n' ", " | awk '!x[$0]++ { print(\"") {
        let (dir, rest) = rest.split_once("\"$0) }' > ")?;
        let path = first_command(rest).strip_suffix(".mod")?;
        let objects = list.split_whitespace().map(|object| format!("{dir}{object}"));
        return Some(Recipe::Module(path.to_owned(), objects.collect()));
    }
    if let Some((pattern, rest)) = between(body, "printf \"", "%s \" ") {
        let (list, rest) = rest.split_once(" | xargs ")?;
        // Thin archives made of full paths: `ar cDPrST dir/built-in.a`.
        let archive = first_command(rest).split_whitespace().last()?;
        is_named(archive, "built-in.a").then_some(())?;
        let objects = list.split_whitespace().map(|object| format!("{pattern}{object}"));
        return Some(Recipe::Archive(archive.to_owned(), objects.collect()));
    }
    if let Some((_, rest)) = body.split_once("/lib.a; ar ") {
        let mut words = first_command(rest).split_whitespace().skip(1);
        // The EFI stub's archive holds copies (`.stub.o`) and goes into the boot wrapper.
        let archive = words.next().filter(|archive| archive.ends_with("lib.a"))?;
        return Some(Recipe::Archive(archive.to_owned(), words.map(str::to_owned).collect()));
    }
    None
}

/// Whether a path's last part is `name`.
fn is_named(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}

/// What is before the first `;`.
fn first_command(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// What is between the first `start` and the next `end`, and what follows.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end)
}

fn compile(body: &str, source_of: &dyn Fn(&str) -> Option<String>) -> Option<TranslationUnit> {
    let is_compile = |words: &[String]| {
        words.iter().any(|word| word == "-c" || word == "-DLINKER_SCRIPT")
            && words.last().is_some_and(|word| word.ends_with(".c") || word.ends_with(".S"))
            && words.iter().any(|word| word.starts_with("-Wp,-MMD,"))
            && words.iter().any(|word| word == "-D__KERNEL__")
    };
    let arguments = shell::find_command(body, is_compile)?;
    let at = arguments.iter().rposition(|word| word == "-o")?;
    let object = arguments.get(at + 1)?.clone();
    let source = source_of(arguments.last()?)?;
    let modname = arguments
        .iter()
        .find_map(|word| word.strip_prefix("-DKBUILD_MODNAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default();
    let module = arguments.iter().any(|word| word == "-DMODULE");
    let (owners, added) = (Vec::new(), false);
    Some(TranslationUnit { source, object, owners, modname, module, added, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CC: &str = "set -e;  echo '  CC'; gcc -Wp,-MMD,d/.@.o.d -D__KERNEL__ \
                      -DKBUILD_MODNAME='\"@\"' -c -o d/@.o /s/d/@.c  ; fixdep x";

    fn line(name: &str) -> String {
        CC.replace("@", name)
    }

    #[test]
    fn knows_what_an_object_is_linked_into() {
        let text = [
            "make: Entering directory".to_owned(),
            line("a"),
            line("b"),
            line("../e/c"),
            line("vdso"),
            line("lib"),
            "set -e;  trap; printf '%s\\n'   b.o ../e/c.o | awk '!x[$0]++ { print(\"d/\"$0) }' > \
             d/m-b.mod; printf '%s\\n' 'savedcmd_d/m-b.mod := x' > d/.m-b.mod.cmd"
                .to_owned(),
            "set -e;  trap 'rm -f d/built-in.a; x' HUP; rm -f d/built-in.a;  printf \"d/%s \" a.o sub/built-in.a | xargs ar \
             cDPrST d/built-in.a; printf '%s\\n' 'savedcmd"
                .to_owned(),
            "set -e;  trap 'rm -f d/lib.a; trap - HUP' HUP; rm -f d/lib.a; ar cDPrsT d/lib.a d/lib.o; printf 'x'".to_owned(),
        ]
        .join("\n");
        let units = read(&text, Path::new("/s")).unwrap();
        let owner = |object: &str| {
            let unit = units.iter().find(|unit| unit.object == object).unwrap();
            unit.owners.iter().map(|owner| owner.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(units.len(), 5);
        assert_eq!(owner("d/a.o"), ["vmlinux"]);
        assert_eq!(owner("d/b.o"), ["m_b"]);
        assert_eq!(owner("d/../e/c.o"), ["m_b"]);
        assert_eq!(owner("d/lib.o"), ["vmlinux"]);
        assert!(owner("d/vdso.o").is_empty());
        let odd = units.iter().find(|unit| unit.object == "d/../e/c.o").unwrap();
        assert_eq!(odd.source, "e/c.c");
        assert_eq!(odd.modname, "../e/c");
        assert_eq!(odd.arguments[0], "gcc");
    }
}

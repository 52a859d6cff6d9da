//! Reads the recipes that `make -n` prints: compiler commands, `.mod` files (the objects of a
//! module), `built-in.a` and `lib.a` archives (the objects of vmlinux). Their form is that of
//! scripts/Makefile.build: `cmd_cc_o_c`, `cmd_mod`, `cmd_ar_builtin`, and `cmd_ar` of
//! scripts/Makefile.lib.

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

/// One recipe line that says something about C objects.
enum Recipe {
    Compile(TranslationUnit),
    /// A module's path without suffix, and its objects.
    Module(String, Vec<String>),
    /// Objects (and archives, which have recipes of their own) of vmlinux.
    Vmlinux(Vec<String>),
}

/// The translation units that the dry run's output `text` names, in its order.
pub(super) fn read(text: &str, source: &Path) -> Result<Vec<TranslationUnit>> {
    let source = source.to_str().context("the source tree's path is not UTF-8")?;
    let prefix = format!("{source}/");
    let lines: Vec<&str> = text.lines().filter(|line| line.len() > 1).collect();
    let recipes: Vec<Recipe> = lines.par_iter().filter_map(|line| recipe(line, &prefix)).collect();
    let mut owners: BTreeMap<String, BTreeSet<Owner>> = BTreeMap::new();
    let mut units: BTreeMap<String, TranslationUnit> = BTreeMap::new();
    for recipe in recipes {
        match recipe {
            Recipe::Compile(unit) => {
                units.insert(unit.object.clone(), unit);
            }
            Recipe::Module(path, objects) => {
                let base = path.rsplit('/').next().unwrap_or(&path);
                let owner = Owner::Module { name: base.replace('-', "_"), path: path.clone() };
                for object in objects {
                    owners.entry(object).or_default().insert(owner.clone());
                }
            }
            Recipe::Vmlinux(objects) => {
                for object in objects {
                    owners.entry(object).or_default().insert(Owner::Vmlinux);
                }
            }
        }
    }
    let own = |mut unit: TranslationUnit| {
        unit.owners = owners.get(&unit.object).into_iter().flatten().cloned().collect();
        unit
    };
    Ok(units.into_values().map(own).collect())
}

fn recipe(line: &str, prefix: &str) -> Option<Recipe> {
    let (_, echoed) = line.split_once("; ").filter(|(first, _)| *first == "set -e")?;
    let body = echoed;
    if body.contains(" -c -o ") && body.contains("-Wp,-MMD,") {
        return compile(body, prefix).map(Recipe::Compile);
    }
    if let Some((list, rest)) = between(body, "printf '%s\\n' ", " | awk '!x[$0]++ { print(\"") {
        let (dir, rest) = rest.split_once("\"$0) }' > ")?;
        let (path, _) = rest.split_once(".mod;")?;
        let objects = list.split_whitespace().map(|object| format!("{dir}{object}"));
        return Some(Recipe::Module(path.to_owned(), objects.collect()));
    }
    if let Some((pattern, rest)) = between(body, "printf \"", "%s \" ") {
        let (list, rest) = rest.split_once(" | xargs ")?;
        // Thin archives made of full paths: `ar cDPrST dir/built-in.a`.
        rest.split(';').next().filter(|command| command.ends_with("/built-in.a"))?;
        let objects = list.split_whitespace().map(|object| format!("{pattern}{object}"));
        return Some(Recipe::Vmlinux(objects.collect()));
    }
    if let Some((_, rest)) = body.split_once("/lib.a; ar ") {
        let (command, _) = rest.split_once(';')?;
        let mut words = command.split_whitespace().skip(1);
        // The EFI stub's archive holds copies (`.stub.o`) and goes into the boot wrapper.
        words.next().filter(|archive| archive.ends_with("lib.a"))?;
        return Some(Recipe::Vmlinux(words.map(str::to_owned).collect()));
    }
    None
}

/// What is between the first `start` and the next `end`, and what follows.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end)
}

fn compile(body: &str, prefix: &str) -> Option<TranslationUnit> {
    let is_compile = |words: &[String]| {
        words.iter().any(|word| word == "-c")
            && words.last().is_some_and(|word| word.ends_with(".c"))
            && words.iter().any(|word| word.starts_with("-Wp,-MMD,"))
            && words.iter().any(|word| word == "-D__KERNEL__")
    };
    let arguments = shell::find_command(body, is_compile)?;
    let at = arguments.iter().rposition(|word| word == "-o")?;
    let object = arguments.get(at + 1)?.clone();
    let input = arguments.last()?;
    // A generated C file lies in the object directory; no patch can touch it.
    let source = normalize(input.strip_prefix(prefix)?)?;
    let modname = arguments
        .iter()
        .find_map(|word| word.strip_prefix("-DKBUILD_MODNAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default();
    let module = arguments.iter().any(|word| word == "-DMODULE");
    Some(TranslationUnit { source, object, owners: Vec::new(), modname, module, arguments })
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

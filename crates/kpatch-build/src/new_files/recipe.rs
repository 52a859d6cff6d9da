//! The command by which kbuild would compile an added object: that of its neighbours in the same directory and
//! of the same kind, with names exchanged. Bias: all neighbours of which the Makefile says nothing special must
//! be compiled alike; where they are not, it is not known which one to follow.
//!
//! The names in a command are those of scripts/Makefile.lib (`basename_flags`, `modname_flags`,
//! `modfile_flags`, which modules do not have).

use crate::compile_database::Owner;
use crate::compile_database::TranslationUnit;

/// What a command names after its object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) directory: &'a str,
    /// The object without directory and `.o`.
    pub(super) stem: &'a str,
    /// The object, or the composite that it is a part of, likewise.
    pub(super) part_of: &'a str,
}

/// `name-fix-token` of scripts/Makefile.lib.
pub(super) fn fixed(name: &str) -> String {
    name.replace(['-', ','], "_")
}

impl Names<'_> {
    /// All arguments that hold one of the names.
    fn arguments(&self) -> [String; 6] {
        let Names { directory, stem, part_of } = self;
        let module = fixed(part_of);
        [
            format!("-Wp,-MMD,{directory}/.{stem}.o.d"),
            format!("-DKBUILD_MODFILE=\"{directory}/{part_of}\""),
            format!("-DKBUILD_BASENAME=\"{}\"", fixed(stem)),
            format!("-DKBUILD_MODNAME=\"{module}\""),
            format!("-D__KBUILD_MODNAME=kmod_{module}"),
            format!("{directory}/{stem}.o"),
        ]
    }

    fn source(&self) -> String {
        format!("{}/{}.c", self.directory, self.stem)
    }
}

/// The command `arguments` of the object that `from` names, as that of `to`. `None` if it does not have each of
/// the names once; `KBUILD_MODFILE` may be missing.
pub(super) fn renamed(arguments: &[String], from: Names<'_>, to: Names<'_>) -> Option<Vec<String>> {
    let mut renamed = arguments.to_vec();
    for (old, new) in from.arguments().into_iter().zip(to.arguments()) {
        let mut places = renamed.iter_mut().filter(|argument| **argument == old);
        match (places.next(), places.next()) {
            (Some(place), None) => *place = new,
            (None, _) if old.starts_with("-DKBUILD_MODFILE=") => {}
            _ => return None,
        }
    }
    let file = renamed.last_mut()?;
    let before = file.strip_suffix(&from.source())?;
    *file = format!("{before}{}", to.source());
    Some(renamed)
}

/// What one of the neighbours is compiled by, and what it is linked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// The object.
    pub(super) object: String,
    /// What it is linked into.
    pub(super) owner: Owner,
    /// Compiled as a part of a module.
    pub(super) module: bool,
    /// Its command, as that of the added object.
    pub(super) arguments: Vec<String>,
}

/// `unit` as a neighbour of the object `to`, which is to be a part of `composite`, or else an object of vmlinux
/// by itself. `None` if it is none.
pub(super) fn neighbour(
    unit: &TranslationUnit,
    composite: Option<&str>,
    to: Names<'_>,
) -> Option<Neighbour> {
    let [owner] = unit.owners.as_slice() else { return None };
    let directory = to.directory;
    let stem = unit.object.strip_prefix(directory)?.strip_prefix('/')?.strip_suffix(".o")?;
    if stem.contains('/') || unit.source != format!("{directory}/{stem}.c") {
        return None;
    }
    let part_of = match (composite, owner) {
        (Some(composite), _) if stem == composite => return None,
        (Some(composite), Owner::Module { path, .. }) => {
            (*path == format!("{directory}/{composite}")).then(|| composite.to_owned())?
        }
        (_, Owner::Vmlinux) if !unit.module => {
            let file = unit.arguments.iter().find_map(|a| a.strip_prefix("-DKBUILD_MODFILE="))?;
            let file = file.trim_matches('"').strip_prefix(directory)?.strip_prefix('/')?;
            (composite.is_none_or(|composite| composite == file)).then(|| file.to_owned())?
        }
        _ => return None,
    };
    let from = Names { directory, stem, part_of: &part_of };
    Some(Neighbour {
        object: unit.object.clone(),
        owner: owner.clone(),
        module: unit.module,
        arguments: renamed(&unit.arguments, from, to)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(stem: &str, part_of: &str, owner: Owner, flags: &str) -> TranslationUnit {
        let module = owner != Owner::Vmlinux;
        let file = if module { String::new() } else { format!("-DKBUILD_MODFILE=\"d/{part_of}\"") };
        let name = fixed(part_of);
        let command = format!(
            "gcc -Wp,-MMD,d/.{stem}.o.d {flags} {file} -DKBUILD_BASENAME=\"{}\" \
             -DKBUILD_MODNAME=\"{name}\" -D__KBUILD_MODNAME=kmod_{name} -c -o d/{stem}.o /s/d/{stem}.c",
            fixed(stem)
        );
        TranslationUnit {
            source: format!("d/{stem}.c"),
            object: format!("d/{stem}.o"),
            owners: vec![owner],
            modname: name,
            module,
            added: false,
            arguments: command.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn module(name: &str) -> Owner {
        Owner::Module { name: fixed(name), path: format!("d/{name}") }
    }

    #[test]
    fn follows_objects_of_the_same_kind() {
        let alone = Names { directory: "d", stem: "ne-w", part_of: "ne-w" };
        let found = neighbour(&unit("a", "a", Owner::Vmlinux, "-DX"), None, alone).unwrap();
        let expected = "gcc -Wp,-MMD,d/.ne-w.o.d -DX -DKBUILD_MODFILE=\"d/ne-w\" \
                        -DKBUILD_BASENAME=\"ne_w\" -DKBUILD_MODNAME=\"ne_w\" \
                        -D__KBUILD_MODNAME=kmod_ne_w -c -o d/ne-w.o /s/d/ne-w.c";
        assert_eq!(found.arguments.join(" "), expected);
        // A part of a composite is as good as an example of flags.
        let other = neighbour(&unit("b", "comp", Owner::Vmlinux, "-DX"), None, alone).unwrap();
        assert_eq!(other.arguments, found.arguments);
        assert!(neighbour(&unit("m", "m", module("m"), ""), None, alone).is_none());

        let part = Names { part_of: "co-mp", ..alone };
        let found =
            neighbour(&unit("a", "co-mp", module("co-mp"), "-DMODULE"), Some("co-mp"), part);
        let found = found.unwrap();
        assert!(found.module && found.owner == module("co-mp"));
        assert!(found.arguments.contains(&"-DKBUILD_MODNAME=\"co_mp\"".to_owned()));
        for none in [
            unit("a", "other", module("other"), ""),
            unit("co-mp", "co-mp", module("co-mp"), ""),
            unit("a", "a", Owner::Vmlinux, ""),
        ] {
            assert!(neighbour(&none, Some("co-mp"), part).is_none(), "{none:?}");
        }
    }

    #[test]
    fn an_unusual_command_is_no_example() {
        let names = Names { directory: "d", stem: "new", part_of: "new" };
        let usual = unit("a", "a", Owner::Vmlinux, "");
        assert!(neighbour(&usual, None, names).is_some());
        for (index, _) in usual
            .arguments
            .iter()
            .enumerate()
            .filter(|(_, a)| a.contains("a.") || a.contains("=\"a"))
        {
            let mut other = usual.clone();
            other.arguments.remove(index);
            let is_there = neighbour(&other, None, names).is_some();
            assert!(!is_there, "{other:?}");
            other.arguments.insert(index, usual.arguments[index].clone());
            other.arguments.insert(index, usual.arguments[index].clone());
            let is_last = index + 1 == usual.arguments.len();
            assert_eq!(
                neighbour(&other, None, names).is_some(),
                is_last || usual.arguments[index].contains("MODFILE")
            );
        }
        let mut shared = usual.clone();
        shared.owners.push(module("m"));
        assert!(neighbour(&shared, None, names).is_none());
        let far = TranslationUnit { object: "d/../e/a.o".into(), ..usual };
        assert!(neighbour(&far, None, names).is_none());
    }
}

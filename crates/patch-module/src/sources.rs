//! The in-kernel sources, carried in the binary so that it works wherever it is installed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;

/// A file: its path within its directory, and its text.
pub(crate) type Source = (&'static str, &'static str);

macro_rules! core_files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../kmod/core/src/", $name)))),*]
    };
}

/// The Rust core, `lib.rs` first. Its tests stay at home.
pub(crate) const CORE: &[Source] = core_files![
    "lib.rs",
    "author.rs",
    "author/callbacks.rs",
    "author/memory.rs",
    "author/parameter.rs",
    "author/patch.rs",
    "author/print.rs",
    "author/shadow.rs",
    "author/state.rs",
    "author/task.rs",
    "errno.rs",
    "gate.rs",
    "glue.rs",
    "layout.rs",
    "name.rs",
    "notes.rs",
    "tables.rs",
    "tables/build.rs",
    "tables/callbacks.rs",
    "tables/functions.rs",
    "tables/params.rs",
];

/// What both templates have in common: the Kbuild file, and the C glue with its header.
pub(crate) const KBUILD: &str = include_str!("../../../kmod/templates/Kbuild");
/// See [`KBUILD`].
pub(crate) const GLUE: &[Source] = &[
    ("glue.c", include_str!("../../../kmod/templates/glue.c")),
    ("glue.h", include_str!("../../../kmod/templates/glue.h")),
];

/// What modules whose code an author wrote in Rust have besides.
pub(crate) const AUTHOR: Source = ("author.c", include_str!("../../../kmod/templates/author.c"));

/// The entry points of the freestanding template.
pub(crate) const ENTRY_IN_C: &str = include_str!("../../../kmod/templates/freestanding/entry.c");

/// The entry points of the template for kernels with Rust support.
pub(crate) const ENTRY_IN_RUST: &str =
    include_str!("../../../kmod/templates/rust-for-linux/entry.rs");

/// Writes the core's sources below `directory`, its root under the name `root`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write_core(directory: &Path, root: &str) -> Result<()> {
    for (name, text) in CORE {
        let file = directory.join(if *name == "lib.rs" { root } else { name });
        let written = file.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A module that is declared but not carried would only be missed on a user's machine.
    #[test]
    fn every_module_of_the_core_is_carried() {
        let declared: Vec<String> =
            CORE.iter().flat_map(|(file, text)| modules(file, text)).collect();
        assert!(!declared.is_empty());
        let carried: BTreeSet<&str> = CORE[1..].iter().map(|(name, _)| *name).collect();
        assert_eq!(declared.iter().map(String::as_str).collect::<BTreeSet<_>>(), carried);
    }

    /// The files of the modules that a file declares.
    fn modules(file: &str, text: &str) -> Vec<String> {
        let directory = match file {
            "lib.rs" => String::new(),
            _ => format!("{}/", file.strip_suffix(".rs").unwrap()),
        };
        let names = text.lines().filter_map(|line| {
            let line =
                ["pub(crate) ", "pub "].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line);
            line.strip_prefix("mod ")?.strip_suffix(';')
        });
        names.filter(|name| *name != "tests").map(|name| format!("{directory}{name}.rs")).collect()
    }
}

//! The in-kernel sources, carried in the binary so that it works wherever it is installed.

/// A file: its name within its directory, and its text.
pub(crate) type Source = (&'static str, &'static str);

macro_rules! core_files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../kmod/core/src/", $name)))),*]
    };
}

/// The Rust core, `lib.rs` first. Its tests stay at home.
pub(crate) const CORE: &[Source] = core_files![
    "lib.rs",
    "callbacks.rs",
    "gate.rs",
    "glue.rs",
    "layout.rs",
    "name.rs",
    "notes.rs",
    "params.rs",
    "patch.rs",
    "table.rs",
];

/// What both templates have in common: the Kbuild file, and the C glue with its header.
pub(crate) const KBUILD: &str = include_str!("../../../kmod/templates/Kbuild");
/// See [`KBUILD`].
pub(crate) const GLUE: &[Source] = &[
    ("glue.c", include_str!("../../../kmod/templates/glue.c")),
    ("glue.h", include_str!("../../../kmod/templates/glue.h")),
];

/// The entry points of the freestanding template.
pub(crate) const ENTRY_IN_C: &str = include_str!("../../../kmod/templates/freestanding/entry.c");

/// The entry points of the template for kernels with Rust support.
pub(crate) const ENTRY_IN_RUST: &str =
    include_str!("../../../kmod/templates/rust-for-linux/entry.rs");

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that is declared but not carried would only be missed on a user's machine.
    #[test]
    fn every_module_of_the_core_is_carried() {
        let (_, root) = CORE[0];
        let declared: Vec<String> = root
            .lines()
            .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
            .filter(|name| *name != "tests")
            .map(|name| format!("{name}.rs"))
            .collect();
        assert!(!declared.is_empty());
        let carried: Vec<&str> = CORE[1..].iter().map(|(name, _)| *name).collect();
        assert_eq!(declared, carried);
    }
}

//! What `verify` tells of a module that it has nothing against.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::Serializer;

/// What a verified module holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the module, from `.modinfo`.
    pub name: String,
    /// The kernel that it is for, from `.modinfo`.
    pub vermagic: String,
    /// The kernel and the modules that it may be enabled on, each as `OBJECT:BUILD-ID`; all of its vermagic
    /// if it names none.
    pub built_for: Vec<String>,
    /// Livepatch relocations by the object whose loading applies them.
    pub applied_with: BTreeMap<String, AppliedWith>,
    /// All livepatch symbols, sorted by name.
    pub symbols: Vec<Resolved>,
    /// Patched functions that the table for the core names; none without a table.
    pub functions: Vec<Patches>,
}

/// The livepatch relocations of one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AppliedWith {
    /// Number of sections.
    pub sections: usize,
    /// Number of relocations in them.
    pub relocations: usize,
}

/// A livepatch symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// `.klp.sym.<object>.<name>,<position>`.
    pub name: String,
    /// What the kernel finds; `None` if its object was not given.
    pub found: Option<Found>,
}

/// A patched function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patches {
    /// `vmlinux` or the module that has it.
    pub object: String,
    /// Its name there.
    pub name: String,
    /// Its position among those of its name, 0 for a unique one.
    pub position: u64,
    /// What the kernel finds; `None` if the object was not given.
    pub found: Option<Found>,
}

/// A symbol of the shipped kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// As `nm` prints it; of a module's symbols `t`, `d` or `?`.
    pub kind: char,
    /// Where it is.
    pub place: Where,
}

/// Where a symbol is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// In the image, at the address to which the kernel is linked.
    #[serde(serialize_with = "hexadecimal")]
    Address(u64),
    /// In a module.
    Section {
        /// The section's name.
        name: String,
        /// Offset in it.
        offset: u64,
    },
}

/// JSON's numbers are too small for addresses.
fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#018x}"))
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Where::Address(address) => write!(f, "{address:016x} {}", self.kind),
            Where::Section { name, offset } => write!(f, "{name}+{offset:#x} {}", self.kind),
        }
    }
}

fn shown(found: &Option<Found>) -> String {
    found.as_ref().map_or_else(|| "not looked up".to_owned(), ToString::to_string)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "livepatch module `{}` for {}", self.name, self.vermagic)?;
        for line in &self.built_for {
            writeln!(f, "  built for {line}")?;
        }
        for (object, counts) in &self.applied_with {
            writeln!(
                f,
                "  {} relocation(s) in {} section(s) applied with `{object}`",
                counts.relocations, counts.sections
            )?;
        }
        for symbol in &self.symbols {
            writeln!(f, "  {}: {}", symbol.name, shown(&symbol.found))?;
        }
        for Patches { object, name, position, found } in &self.functions {
            writeln!(f, "  patches `{name}`,{position} of `{object}`: {}", shown(found))?;
        }
        write!(f, "  {} patched function(s) in the table", self.functions.len())
    }
}

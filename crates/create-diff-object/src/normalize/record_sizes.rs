//! Sizes of the records of special sections, where a user knows them from elsewhere. They follow from
//! the object itself, and where it shows them it is right: kpatch's scripts set variables from the debug
//! information of a whole kernel, or from nothing. What is given counts where it cannot be seen.

use std::collections::BTreeMap;

/// The variables that can be given, by kpatch's names for them. `PRINTK_INDEX_STRUCT_SIZE` is the size
/// of what `.printk_index` points at, not of its records, which are pointers.
pub const VARIABLES: &[&str] = &[
    ALTERNATIVES,
    BUGS,
    EXCEPTIONS,
    JUMPS,
    UNWIND,
    PARAVIRT,
    STATIC_CALLS,
    "PRINTK_INDEX_STRUCT_SIZE",
];
/// `struct alt_instr`.
pub const ALTERNATIVES: &str = "ALT_STRUCT_SIZE";
/// `struct bug_entry`.
pub const BUGS: &str = "BUG_STRUCT_SIZE";
/// `struct exception_table_entry`.
pub const EXCEPTIONS: &str = "EX_STRUCT_SIZE";
/// `struct jump_entry`.
pub const JUMPS: &str = "JUMP_STRUCT_SIZE";
/// `struct orc_entry`.
pub const UNWIND: &str = "ORC_STRUCT_SIZE";
/// `struct paravirt_patch_site`.
pub const PARAVIRT: &str = "PARA_STRUCT_SIZE";
/// `struct static_call_site`.
pub const STATIC_CALLS: &str = "STATIC_CALL_STRUCT_SIZE";

/// Known sizes, in bytes. The default knows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSizes {
    by_variable: BTreeMap<&'static str, u64>,
}

impl RecordSizes {
    /// Takes the sizes from variables, in decimal; `value` looks one up (`std::env::var` does).
    ///
    /// # Errors
    /// The name and content of the first that is not a positive number.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut by_variable = BTreeMap::new();
        for name in VARIABLES {
            let Some(text) = value(name) else { continue };
            match text.trim().parse::<u64>() {
                Ok(size) if size > 0 => by_variable.insert(*name, size),
                _ => return Err(format!("{name}: `{text}` is not a size in bytes")),
            };
        }
        Ok(RecordSizes { by_variable })
    }

    /// The size that was given for a variable of [`VARIABLES`].
    pub fn get(&self, variable: &str) -> Option<u64> {
        self.by_variable.get(variable).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_variables() {
        let one = |name: &str| (name == JUMPS).then(|| "24".to_owned());
        let sizes = RecordSizes::from_variables(one).unwrap();
        assert_eq!((sizes.get(JUMPS), sizes.get(BUGS)), (Some(24), None));
        for wrong in ["", "0", "-1", "x"] {
            let all = |_: &str| Some(wrong.to_owned());
            assert!(RecordSizes::from_variables(all).is_err(), "{wrong}");
        }
    }
}

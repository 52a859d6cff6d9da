//! What a patch module may be called.

/// The most characters that the kernel takes: `MODULE_NAME_LEN` is 56 on 64-bit, NUL included
/// (`include/linux/moduleparam.h`, `include/linux/module.h`).
pub const NAME_MAX: usize = 55;

/// A name that a patch module cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing at all.
    #[error("the module's name is empty")]
    Empty,
    /// More than [`NAME_MAX`] characters.
    #[error("the module's name `{0}` has more than {NAME_MAX} characters")]
    TooLong(String),
    /// A character that the kernel, make or a shell would take for something else.
    #[error("the module's name `{0}` has a character other than letters, digits, `_` and `-`")]
    Character(String),
    /// A beginning that tools would take for an option.
    #[error("the module's name `{0}` does not begin with a letter, digit or `_`")]
    Beginning(String),
    /// The name by which livepatch means the kernel itself.
    #[error("a module cannot be called `vmlinux`")]
    Vmlinux,
}

/// Checks the name of a patch module, file name without `.ko`. The running kernel shows every `-` in
/// it as `_`.
///
/// # Errors
/// When it cannot be a module's name.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() {
        Err(InvalidName::Empty)
    } else if !name.chars().all(allowed) {
        Err(InvalidName::Character(name.to_owned()))
    } else if name.len() > NAME_MAX {
        Err(InvalidName::TooLong(name.to_owned()))
    } else if name.starts_with('-') {
        Err(InvalidName::Beginning(name.to_owned()))
    } else if name == "vmlinux" {
        Err(InvalidName::Vmlinux)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_kernel_takes() {
        for name in ["kpatch-cmdline", "a", "_x", "9p_fix", "glue", "core", &"x".repeat(55)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let long = "x".repeat(56);
        assert_eq!(check_name(""), Err(InvalidName::Empty));
        assert_eq!(check_name(&long), Err(InvalidName::TooLong(long.clone())));
        assert_eq!(check_name("vmlinux"), Err(InvalidName::Vmlinux));
        assert_eq!(check_name("-rf"), Err(InvalidName::Beginning("-rf".into())));
        for name in ["a b", "a.b", "a/b", "a$(x)", "ä", "a\n"] {
            assert_eq!(check_name(name), Err(InvalidName::Character(name.into())));
        }
    }
}

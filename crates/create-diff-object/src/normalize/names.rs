//! What the names that compilers and the kernel's macros make up say about a symbol. Numbers in them
//! are counters of one compilation and mean nothing; the words do.
//!
//! A static variable of a function is `count.12` to gcc. To clang it is `f.count`, and a second one of
//! the name `f.count.1`.

/// The name without the numbers that the compiler appends or inserts: `foo.isra.3` becomes
/// `foo.isra`, `count.12` becomes `count`, `__UNIQUE_ID_ddebug419` becomes `__UNIQUE_ID_ddebug`.
pub fn base_name(name: &str) -> String {
    let mut parts = name.split('.');
    let mut base = without_unique_number(parts.next().unwrap_or_default()).to_owned();
    for part in parts {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            base.push('.');
            base.push_str(without_unique_number(part));
        }
    }
    base
}

/// `__UNIQUE_ID()` of `include/linux/compiler.h` appends a counter.
fn without_unique_number(part: &str) -> &str {
    match part.starts_with("__UNIQUE_ID_") {
        true => part.trim_end_matches(|c: char| c.is_ascii_digit()),
        false => part,
    }
}

/// Whether the compiler numbered the name: that of a static variable of a function.
pub fn is_numbered(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether the name is one that a compiler makes up for a static variable of a function.
pub fn is_of_function(name: &str) -> bool {
    name.bytes().rposition(|byte| byte == b'.').is_some_and(|at| at > 0)
}

/// The function that a split-off cold part belongs to: `foo.isra.0` for `foo.isra.0.cold`.
pub fn parent_of_cold(name: &str) -> Option<&str> {
    let head = name.strip_suffix(".cold").or_else(|| {
        let (head, number) = name.rsplit_once('.')?;
        number.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        head.strip_suffix(".cold")
    })?;
    (!head.is_empty()).then_some(head)
}

/// Data that a macro or the compiler puts beside each use of something. A copy of its own serves a
/// patched function as well as the old one: once flags fire once more, ratelimits and lock classes
/// start afresh.
///
/// Sources: `include/linux/once_lite.h`, `once.h`, `ratelimit.h`, `lockdep.h`, `dynamic_debug.h`,
/// `printk.h`.
pub fn is_private_to_its_use(name: &str) -> bool {
    const BASES: [&str; 11] = [
        "__already_done",
        "__warned",
        "__print_once",
        "___done",
        "___once_key",
        "__key",
        "_rs",
        "descriptor",
        "__UNIQUE_ID_ddebug",
        "_entry",
        "_entry_ptr",
    ];
    // A file-scope object of such a name has no number and is the author's own.
    let base = base_name(name);
    let variable = base.rsplit('.').next().unwrap_or_default();
    base != name && BASES.contains(&base.as_str())
        || base.len() > variable.len() && BASES.contains(&variable)
}

/// Read-only data that the compiler makes from code: its content is part of the function.
pub fn is_compiler_table(name: &str) -> bool {
    const BASES: [&str; 5] = ["CSWTCH", "C", "__func__", "__FUNCTION__", "__PRETTY_FUNCTION__"];
    // clang: `__func__.f`; tables and initialisers are nameless unless a linker needed to see them.
    const HEADS: [&str; 5] =
        ["__func__.", "__FUNCTION__.", "__PRETTY_FUNCTION__.", "switch.table.", "__const."];
    let base = base_name(name);
    name.starts_with(".L")
        || base != name && BASES.contains(&base.as_str())
        || HEADS.iter().any(|head| name.starts_with(head))
}

/// Whether a section's content is gone once the kernel has booted or the module is loaded, or runs
/// only when the module goes.
pub fn is_init_section(name: &str) -> bool {
    [".init.", ".exit.", ".meminit.", ".initcall", ".exitcall"].iter().any(|p| name.starts_with(p))
}

/// Whether code in a section runs where tracing would break the kernel: `noinstr`, `__cpuidle` and entry
/// code (`include/linux/compiler_types.h`, `arch/x86/include/asm/linkage.h`).
pub fn is_untraceable_section(name: &str) -> bool {
    [".noinstr.text", ".cpuidle.text", ".entry.text"].iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_words_stay() {
        assert_eq!(base_name("foo.constprop.1.isra.0"), "foo.constprop.isra");
        assert_eq!(base_name("foo.part.0.cold"), "foo.part.cold");
        assert_eq!(base_name("__UNIQUE_ID_ddebug419.3"), "__UNIQUE_ID_ddebug");
        assert_eq!(base_name("plain"), "plain");
        assert_eq!(base_name("f.__UNIQUE_ID_ddebug419"), "f.__UNIQUE_ID_ddebug");
        assert_eq!(base_name("f.count.1"), "f.count");
    }

    #[test]
    fn cold_parts_know_their_function() {
        assert_eq!(parent_of_cold("foo.isra.0.cold"), Some("foo.isra.0"));
        assert_eq!(parent_of_cold("foo.cold.12"), Some("foo"));
        assert_eq!(parent_of_cold("foo.cool"), None);
    }

    #[test]
    fn authors_own_names_are_not_the_macros() {
        assert!(is_private_to_its_use("__already_done.12"));
        assert!(!is_private_to_its_use("__key"));
        assert!(is_compiler_table("CSWTCH.5") && !is_compiler_table("CSWTCH"));
    }

    #[test]
    fn clang_puts_the_function_first() {
        assert!(is_private_to_its_use("f.__already_done") && is_private_to_its_use("f.__key.2"));
        assert!(!is_private_to_its_use("__key.count"));
        assert!(is_compiler_table("__func__.f") && is_compiler_table("switch.table.f"));
        assert!(!is_compiler_table("C.count"));
        assert!(is_of_function("f.table") && is_of_function("table.3") && !is_of_function("table"));
    }
}

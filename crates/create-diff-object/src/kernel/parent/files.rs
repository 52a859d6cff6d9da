//! Finds the part of the parent's symbol table that came from one object: several source files have the
//! same name, and several of their functions, too.
//!
//! A part is the object's if the local functions and variables are the same, both ways, but for those
//! that the kernel's linker script discards. Assembly code has no `FILE` symbol, so its local symbols
//! seem to belong to the file before: if there is only one file of that name, names behind the object's
//! own are let pass. Bias: no part and several parts are the same answer, a refusal.

use std::collections::HashMap;
use std::collections::HashSet;

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolKind;

use super::listing::FilePart;

/// A source file of the object, with its local functions and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPart<'a> {
    /// The file's name, without directories.
    pub name: &'a str,
    /// Those that are in the linked parent, too.
    pub kept: Vec<&'a str>,
    /// All local names that the object defines in that part.
    pub all: HashSet<&'a str>,
}

/// The parts of an object: one for a compiled file, several for linked ones.
pub fn parts_of(object: &ObjectFile) -> Vec<ObjectPart<'_>> {
    let mut parts: Vec<ObjectPart<'_>> = Vec::new();
    for symbol in object.symbols.iter().skip(1).filter(|s| s.binding == Binding::Local) {
        if symbol.kind == SymbolKind::File {
            let (kept, all) = (Vec::new(), HashSet::new());
            parts.push(ObjectPart { name: &symbol.name, kept, all });
            continue;
        }
        let (Some(part), Some(section)) = (parts.last_mut(), symbol.section()) else { continue };
        if symbol.kind == SymbolKind::Section || symbol.name.is_empty() {
            continue;
        }
        part.all.insert(&symbol.name);
        // The linker drops empty variables (a lock class without lockdep) with their empty sections.
        let is_named = match symbol.kind {
            SymbolKind::Function => true,
            SymbolKind::Object => symbol.size > 0,
            _ => false,
        };
        if is_named && !is_discarded(&object[section].name) && !may_be_discarded(&symbol.name) {
            part.kept.push(&symbol.name);
        }
    }
    parts
}

/// The parts of the parent that fit. `is_linked_in`: whether the object's global symbols are all there.
pub fn matching<'p, 't>(
    part: &ObjectPart<'_>,
    listed: &'p [FilePart<'t>],
    is_linked_in: bool,
) -> Vec<&'p FilePart<'t>> {
    let candidates: Vec<_> = listed.iter().filter(|other| other.name == part.name).collect();
    if let ([only], true) = (candidates.as_slice(), is_linked_in) {
        return if fits(part, only, true) { vec![*only] } else { Vec::new() };
    }
    candidates.into_iter().filter(|other| fits(part, other, false)).collect()
}

/// The names of the global functions and variables of an object that its parent has to have.
pub fn globals_of(object: &ObjectFile) -> impl Iterator<Item = &str> {
    let symbols = object.symbols.iter().skip(1).filter(|s| s.binding == Binding::Global);
    let is_named = |s: &&Symbol| matches!(s.kind, SymbolKind::Function | SymbolKind::Object);
    let kept = |s: &&Symbol| s.section().is_some_and(|id| !is_discarded(&object[id].name));
    let symbols = symbols.filter(is_named).filter(kept);
    symbols.map(|s| s.name.as_str()).filter(|name| !may_be_discarded(name))
}

fn fits(part: &ObjectPart<'_>, listed: &FilePart<'_>, more_behind: bool) -> bool {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for name in &part.kept {
        *left.entry(name).or_default() += 1;
    }
    let mut missing = part.kept.len();
    for name in listed.locals.iter().filter(|name| !may_be_discarded(name)) {
        match left.get_mut(name).filter(|count| **count > 0) {
            Some(count) => {
                *count -= 1;
                missing -= 1;
            }
            None if part.all.contains(name) => {}
            None => return more_behind && missing == 0,
        }
    }
    missing == 0
}

/// Sections that are not in a linked kernel or module (`include/asm-generic/vmlinux.lds.h`,
/// `scripts/module.lds.S`).
fn is_discarded(section: &str) -> bool {
    [".discard", ".exitcall", ".export_symbol", ".gnu.", ".llvm", ".modinfo", ".no_trim_symbol"]
        .iter()
        .any(|prefix| section.starts_with(prefix))
}

/// Names of what may be in such a section or is made by tools that ran on one side only: macros of
/// `include/linux/{init,export,compiler,tracepoint}.h`, `arch/x86/include/asm/setup.h`, labels and
/// sanitizer data of compilers, and the names that objtool gives to call padding.
fn may_be_discarded(name: &str) -> bool {
    const PREFIXES: [&str; 12] = [
        ".L",
        "__pfx_",
        "__cfi_",
        "__exitcall_",
        "__brk_reservation_fn_",
        "__func_stack_frame_non_standard_",
        "__trace_check",
        "__export_symbol_",
        "__gendwarfksyms_ptr_",
        "__UNIQUE_ID_",
        "Lubsan",
        "___ksymtab",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.contains("__addressable_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u32; 0] = [];

    fn part<'a>(locals: &[&'a str]) -> ObjectPart<'a> {
        ObjectPart { name: "core.c", kept: locals.to_vec(), all: locals.iter().copied().collect() }
    }

    fn listed<'a>(file: u32, name: &'a str, locals: &[&'a str]) -> FilePart<'a> {
        FilePart { name, file, locals: locals.to_vec() }
    }

    fn found(part: &ObjectPart<'_>, listed: &[FilePart<'_>]) -> Vec<u32> {
        matching(part, listed, true).iter().map(|part| part.file).collect()
    }

    #[test]
    fn all_local_names_decide() {
        let all = [
            listed(1, "core.c", &["show", "store"]),
            listed(2, "core.c", &["show", "count.1", "__pfx_show"]),
            listed(3, "core.c", &["show"]),
            listed(4, "other.c", &["count.1", "show"]),
        ];
        assert_eq!(found(&part(&["count.1", "show"]), &all), [2]);
        assert_eq!(found(&part(&["show"]), &all), [3]);
        assert_eq!(found(&part(&["show", "store", "more"]), &all), NONE);
        assert_eq!(found(&part(&["show", "show"]), &all), NONE);
    }

    #[test]
    fn empty_variables_need_not_be_in_the_parent() {
        let mut object = ObjectFile::default();
        let section = object.add_section(kpatch_elf::Section::progbits(".bss.x", 0, 1));
        let local = |name: &str, kind, size| Symbol {
            kind,
            size,
            definition: kpatch_elf::Definition::Section(section),
            ..Symbol::undefined(name, Binding::Local)
        };
        object.add_symbol(local("core.c", SymbolKind::File, 0));
        object.add_symbol(local("__key.1", SymbolKind::Object, 0));
        object.add_symbol(local("count", SymbolKind::Object, 4));
        let parts = parts_of(&object);
        assert_eq!((parts[0].name, parts[0].kept.as_slice()), ("core.c", &["count"][..]));
        assert!(parts[0].all.contains("__key.1"));
    }

    #[test]
    fn twins_stay_twins() {
        let all = [listed(1, "core.c", &["show"]), listed(2, "core.c", &["show"])];
        assert_eq!(found(&part(&["show"]), &all), [1, 2]);
    }

    #[test]
    fn assembly_code_behind_a_file_is_let_pass() {
        let all = [listed(1, "core.c", &["show", "asm_helper"]), listed(2, "x.c", &["other"])];
        assert_eq!(found(&part(&["show"]), &all), [1]);
        assert_eq!(found(&part(&["asm_helper"]), &all), NONE);
        // It may be another file's part if the object itself is not there, or another one is.
        assert!(matching(&part(&["show"]), &all, false).is_empty());
        let two = [all[0].clone(), listed(2, "core.c", &["other"])];
        assert_eq!(found(&part(&["show"]), &two), NONE);
    }

    #[test]
    fn discarded_names_do_not_count() {
        let mut part = part(&["show"]);
        part.all.insert("__setup_gone");
        assert_eq!(found(&part, &[listed(1, "core.c", &["show", "__exitcall_x"])]), [1]);
        assert_eq!(found(&part, &[listed(1, "core.c", &["__setup_gone", "show"])]), [1]);
    }
}

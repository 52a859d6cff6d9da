//! New globals of one name in several objects of a patch. The kernel keeps them apart: each module, and vmlinux,
//! has its own, as where one object is linked into two modules. In the patch they meet in one module, so all
//! but one become local, where no other object needs them by name.
//!
//! Bias: which one is meant by a name is never left to the linker.

use std::collections::BTreeMap;

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolId;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// An object of the patch.
#[derive(Debug)]
pub struct OfObject<'a> {
    /// The object of the kernel that it was made from.
    pub name: &'a str,
    /// What it patches: `vmlinux` or a module.
    pub patches: &'a str,
    /// Its content.
    pub object: &'a mut ObjectFile,
}

/// objtool finds the key of a static call by its name, wherever it is.
const BY_NAME: &str = "__SC";

/// Makes those of several new globals of one name local that only their own object needs.
///
/// # Errors
/// `AmbiguousMatch` for names that more than one of the rest has.
pub fn keep_apart(objects: &mut [OfObject<'_>]) -> Result<(), Refusals> {
    let mut defined: BTreeMap<String, Vec<(usize, SymbolId)>> = BTreeMap::new();
    let mut wanted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, of) in objects.iter().enumerate() {
        let symbols = of.object.symbols_with_ids();
        for (id, symbol) in symbols.filter(|(_, symbol)| symbol.binding != Binding::Local) {
            let name = symbol.name.clone();
            match symbol.section() {
                Some(_) => defined.entry(name).or_default().push((index, id)),
                None => wanted.entry(name).or_default().push(index),
            }
        }
    }
    let mut refusals = Vec::new();
    for (name, all) in defined.iter().filter(|(_, all)| all.len() > 1) {
        let users = wanted.get(name).map_or(&[][..], Vec::as_slice);
        // What is new in vmlinux may be meant by all.
        let sees = |user: usize, patches| patches == VMLINUX || objects[user].patches == patches;
        let is_needed = |(index, _): &&(usize, SymbolId)| {
            let patches = objects[*index].patches;
            users.iter().any(|user| sees(*user, patches))
        };
        let needed = all.iter().filter(is_needed).count();
        let mut owners: Vec<&str> = all.iter().map(|(index, _)| objects[*index].patches).collect();
        owners.sort_unstable();
        owners.dedup();
        if needed > 1 || owners.len() < all.len() || name.starts_with(BY_NAME) {
            let names: Vec<String> = all
                .iter()
                .map(|(index, _)| {
                    let OfObject { name, patches, .. } = &objects[*index];
                    format!("`{name}` for `{patches}`")
                })
                .collect();
            refusals.push(Refusal::new(
                Code::AmbiguousMatch,
                Place::object(objects[all[0].0].name).symbol(name),
                format!("`{name}` is new in several objects of the patch: {}", names.join(", ")),
                "make it static, or define it in files that are each a part of only one of them",
            ));
            continue;
        }
        let apart: Vec<(usize, SymbolId)> =
            all.iter().filter(|one| needed == 0 || !is_needed(one)).copied().collect();
        for (index, SymbolId(number)) in apart {
            objects[index].object.symbols[number as usize].binding = Binding::Local;
        }
    }
    Refusals::none_or(refusals, ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpatch_elf::Definition;
    use kpatch_elf::Section;
    use kpatch_elf::Symbol;
    use kpatch_elf::section_flags;

    fn object(defines: &[&str], wants: &[&str]) -> ObjectFile {
        let mut object = ObjectFile::default();
        let text = Section::progbits(".text", section_flags::ALLOC | section_flags::EXEC, 1);
        let text = object.add_section(text);
        for name in defines {
            let symbol = Symbol::undefined(*name, Binding::Global);
            object.add_symbol(Symbol { definition: Definition::Section(text), ..symbol });
        }
        for name in wants {
            object.add_symbol(Symbol::undefined(*name, Binding::Global));
        }
        object
    }

    /// What is global of `x` afterwards, by object.
    fn run(objects: &[(&str, &[&str], &[&str])]) -> Result<Vec<bool>, Vec<Code>> {
        let mut files: Vec<ObjectFile> =
            objects.iter().map(|(_, defines, wants)| object(defines, wants)).collect();
        let mut all: Vec<OfObject<'_>> = files
            .iter_mut()
            .zip(objects)
            .map(|(object, (patches, ..))| OfObject { name: "s.o", patches, object })
            .collect();
        keep_apart(&mut all).map_err(|all| all.0.iter().map(|one| one.code).collect::<Vec<_>>())?;
        let global = |file: &ObjectFile| {
            let mut all = file.symbols.iter().filter(|symbol| symbol.section().is_some());
            all.any(|symbol| symbol.name == "x" && symbol.binding == Binding::Global)
        };
        Ok(files.iter().map(global).collect())
    }

    #[test]
    fn what_only_its_own_object_needs_becomes_local() {
        assert_eq!(run(&[("a", &["x"], &[]), ("b", &["y"], &["x"])]).unwrap(), [true, false]);
        let shared: &[&str] = &["x"];
        assert_eq!(run(&[("a", shared, &[]), ("b", shared, &[])]).unwrap(), [false, false]);
        let used = [("a", shared, &[][..]), ("a", &[], &["x"]), ("b", shared, &[])];
        assert_eq!(run(&used).unwrap(), [true, false, false]);
        // The user of vmlinux' own cannot see the module's.
        let kernel = [("vmlinux", shared, &[][..]), ("b", shared, &[]), ("c", &[], &["x"])];
        assert_eq!(run(&kernel).unwrap(), [true, false, false]);
    }

    #[test]
    fn what_several_need_by_name_is_refused() {
        let shared: &[&str] = &["x"];
        let user = |patches| (patches, &[][..], &["x"][..]);
        for objects in [
            vec![("a", shared, &[][..]), ("b", shared, &[]), user("a"), user("b")],
            vec![("vmlinux", shared, &[][..]), ("b", shared, &[]), user("b")],
            vec![("a", shared, &[][..]), ("a", shared, &[])],
            vec![("a", &["__SCK__x"][..], &[][..]), ("b", &["__SCK__x"], &[])],
        ] {
            assert_eq!(run(&objects).unwrap_err(), [Code::AmbiguousMatch], "{objects:?}");
        }
    }
}

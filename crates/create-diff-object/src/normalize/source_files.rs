//! Which source file a local symbol comes from, where several files are linked into one object: their
//! static functions and variables may have the same names.
//!
//! The linker keeps the `FILE` symbol of each file in front of its local symbols. Names of files have no
//! directories, so several may be equal; these are told apart by their order, which is that of linking
//! and no patch changes. Bias: where the two objects do not have equally many files of a name, or those
//! that belong together by order have nothing in common, the files are not told apart, and what is
//! ambiguous stays so.

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use rustc_hash::FxHashMap;
use rustc_hash::FxHashSet;

/// The source files of an object by symbol.
#[derive(Debug)]
pub struct SourceFiles {
    /// For each symbol the number of its file; [`UNKNOWN`] for global ones.
    of_symbol: Vec<u32>,
}

/// The number for symbols whose file is not known, or that are no file's own. It is that of all symbols
/// of an object that is not linked of several.
pub const UNKNOWN: u32 = 0;

impl SourceFiles {
    /// The files of one object, numbered in their order.
    pub fn of(object: &ObjectFile) -> Self {
        let mut number = UNKNOWN;
        let mut of_symbol = Vec::with_capacity(object.symbols.len());
        for symbol in &object.symbols {
            number += u32::from(symbol.kind == SymbolKind::File);
            of_symbol.push(if symbol.binding == Binding::Local { number } else { UNKNOWN });
        }
        if number <= 1 {
            of_symbol.fill(UNKNOWN);
        }
        SourceFiles { of_symbol }
    }

    /// The files of two objects, numbered so that one number means one file.
    pub fn of_both(original: &ObjectFile, patched: &ObjectFile) -> (Self, Self) {
        let mut files = (Self::of(original), Self::of(patched));
        let old = parts(original, &files.0);
        let new = parts(patched, &files.1);
        let mut renumbered = (FxHashMap::default(), FxHashMap::default());
        for (name, old) in &old {
            let Some(new) = new.get(name).filter(|new| belong_together(old, new)) else { continue };
            for (old, new) in old.iter().zip(new) {
                renumbered.0.insert(old.number, old.number);
                renumbered.1.insert(new.number, old.number);
            }
        }
        files.0.renumber(&renumbered.0);
        files.1.renumber(&renumbered.1);
        files
    }

    /// The number of the file that a symbol comes from.
    pub fn of_symbol(&self, symbol: SymbolId) -> u32 {
        self.of_symbol.get(symbol.0 as usize).copied().unwrap_or(UNKNOWN)
    }

    fn renumber(&mut self, numbers: &FxHashMap<u32, u32>) {
        for number in &mut self.of_symbol {
            *number = numbers.get(number).copied().unwrap_or(UNKNOWN);
        }
    }
}

/// What one source file put into an object.
struct Part<'a> {
    number: u32,
    locals: FxHashSet<&'a str>,
}

/// The parts of an object by the names of their files, in order.
fn parts<'a>(object: &'a ObjectFile, files: &SourceFiles) -> FxHashMap<&'a str, Vec<Part<'a>>> {
    let mut parts: FxHashMap<&str, Vec<Part<'_>>> = FxHashMap::default();
    let mut file = "";
    for (id, symbol) in object.symbols_with_ids() {
        let number = files.of_symbol(id);
        if number == UNKNOWN {
            continue;
        }
        if symbol.kind == SymbolKind::File {
            file = &symbol.name;
            let locals = FxHashSet::default();
            parts.entry(file).or_default().push(Part { number, locals });
        } else if matches!(symbol.kind, SymbolKind::Function | SymbolKind::Object) {
            let part = parts.get_mut(file).and_then(|parts| parts.last_mut());
            part.map(|part| part.locals.insert(&symbol.name));
        }
    }
    parts
}

fn belong_together(old: &[Part<'_>], new: &[Part<'_>]) -> bool {
    let related = |old: &Part<'_>, new: &Part<'_>| {
        old.locals.is_empty() || new.locals.is_empty() || !old.locals.is_disjoint(&new.locals)
    };
    old.len() == new.len()
        && (old.len() == 1 || old.iter().zip(new).all(|(old, new)| related(old, new)))
}

#[cfg(test)]
mod tests {
    use kpatch_elf::Definition;
    use kpatch_elf::Section;
    use kpatch_elf::Symbol;

    use super::*;

    /// An object linked of files with these local functions.
    fn linked(files: &[(&str, &[&str])]) -> ObjectFile {
        let mut object = ObjectFile::default();
        let text = object.add_section(Section::progbits(".text", 0, 1));
        for (file, functions) in files {
            let file = Symbol::undefined(*file, Binding::Local);
            object.add_symbol(Symbol { kind: SymbolKind::File, ..file });
            for function in *functions {
                object.add_symbol(Symbol {
                    kind: SymbolKind::Function,
                    definition: Definition::Section(text),
                    ..Symbol::undefined(*function, Binding::Local)
                });
            }
        }
        object
    }

    fn numbers(original: &ObjectFile, patched: &ObjectFile, name: &str) -> (Vec<u32>, Vec<u32>) {
        let files = SourceFiles::of_both(original, patched);
        let of = |object: &ObjectFile, files: &SourceFiles| {
            let named = object.symbols_with_ids().filter(|(_, symbol)| symbol.name == name);
            named.map(|(id, _)| files.of_symbol(id)).collect()
        };
        (of(original, &files.0), of(patched, &files.1))
    }

    #[test]
    fn a_compiled_object_is_one_file() {
        let object = linked(&[("a.c", &["f"])]);
        assert_eq!(numbers(&object, &object, "f"), (vec![UNKNOWN], vec![UNKNOWN]));
    }

    #[test]
    fn files_of_one_name_go_by_order() {
        let original = linked(&[("a.c", &["f", "x"]), ("core.c", &["f"]), ("core.c", &["f"])]);
        let patched = linked(&[("core.c", &["f"]), ("core.c", &["f"]), ("a.c", &["f", "x"])]);
        assert_eq!(numbers(&original, &patched, "f"), (vec![1, 2, 3], vec![2, 3, 1]));
    }

    #[test]
    fn files_that_cannot_be_told_apart_are_unknown() {
        let original = linked(&[("a.c", &[]), ("core.c", &["f"]), ("core.c", &["g"])]);
        let swapped = linked(&[("a.c", &[]), ("core.c", &["g"]), ("core.c", &["f"])]);
        assert_eq!(numbers(&original, &swapped, "f"), (vec![UNKNOWN], vec![UNKNOWN]));
        let fewer = linked(&[("a.c", &[]), ("core.c", &["f"])]);
        assert_eq!(numbers(&original, &fewer, "f"), (vec![UNKNOWN], vec![UNKNOWN]));
    }
}

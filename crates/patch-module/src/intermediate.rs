//! Checks what the core will rely on in the linked module: one table of functions, one of callbacks and
//! one of build-ids, where the glue believes them to be, with as many records as announced, those of each
//! patched object in one run. Bias: the core would refuse any other table, but only when the module is loaded.

use std::collections::BTreeSet;

use anyhow::Context;
use anyhow::Result;
use kpatch_elf::livepatch::CALLBACK_RECORD;
use kpatch_elf::livepatch::CALLBACKS;
use kpatch_elf::livepatch::FUNCTION_RECORD;
use kpatch_elf::livepatch::FUNCTIONS;
use kpatch_elf::livepatch::GATE;
use kpatch_elf::livepatch::GATE_RECORD;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use object::File;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use object::RelocationTarget;
use object::Section;

use crate::Gate;
use crate::PatchModule;

/// A table that the core reads.
struct Table {
    section: &'static str,
    /// Bytes of a record.
    record: usize,
    /// Where in a record the pointer to the name of the patched object is.
    object_name: u64,
    /// The glue's mark at the beginning.
    start: &'static str,
}

/// `kmod/core/src/tables/functions.rs`.
const OF_FUNCTIONS: Table =
    Table { section: FUNCTIONS, record: FUNCTION_RECORD, object_name: 16, start: "kpatch_records" };
/// `kmod/core/src/tables/callbacks.rs`.
const OF_CALLBACKS: Table = Table {
    section: CALLBACKS,
    record: CALLBACK_RECORD,
    object_name: 8,
    start: "kpatch_callbacks",
};
/// `kmod/core/src/gate.rs`.
const OF_GATE: Table =
    Table { section: GATE, record: GATE_RECORD, object_name: 0, start: "kpatch_gate" };

/// Checks a module whose file is `data`: it must have the records that `module` announces.
///
/// # Errors
/// A [`Refusal`] when the tables are not as the core will read them.
pub(crate) fn check(data: &[u8], module: &PatchModule<'_>) -> Result<()> {
    let file = File::parse(data).context("kbuild's module is not an ELF file")?;
    check_tables(&file, module).map_err(|message| {
        let hint = "this is a defect of the tool: please report it with the log";
        let place = Place::object(format!("{}.ko", module.name));
        Refusal::new(Code::ModuleMalformed, place, message, hint).into()
    })
}

/// What an object that was not linked yet announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) functions: usize,
    pub(crate) callbacks: usize,
    /// Of what they are.
    pub(crate) objects: BTreeSet<String>,
}

/// Reads the tables of functions and callbacks in an object.
///
/// # Errors
/// When they are not as the core will read them.
pub(crate) fn announced(file: &File<'_>) -> Result<Announced, Refusal> {
    let mut objects = BTreeSet::new();
    let mut count = |table: &Table| -> Result<usize, String> {
        let section = file.sections().find(|section| section.name() == Ok(table.section));
        let Some(section) = section.filter(|section| section.size() > 0) else { return Ok(0) };
        let count = section.size() as usize / table.record;
        let names = names_in(file, &section, table)?;
        if names.len() != count {
            return Err(format!("{} of {count} records name a patched object", names.len()));
        }
        for name in names {
            let name = String::from_utf8(name).map_err(|_| "a name that is no text".to_owned())?;
            objects.insert(name);
        }
        Ok(count)
    };
    let counted = count(&OF_FUNCTIONS).and_then(|functions| Ok((functions, count(&OF_CALLBACKS)?)));
    let (functions, callbacks) = counted.map_err(|message| {
        let hint = "a livepatch in Rust says what it patches by `kpatch_core::livepatch!`";
        Refusal::new(Code::ModuleMalformed, Place::default(), message, hint)
    })?;
    Ok(Announced { functions, callbacks, objects })
}

fn check_tables(file: &File<'_>, module: &PatchModule<'_>) -> Result<(), String> {
    let mut names = object_names(file, &OF_FUNCTIONS, module.functions)?;
    names.dedup();
    let runs = names.len();
    let mut objects: BTreeSet<Vec<u8>> = names.into_iter().collect();
    if objects.len() != runs {
        return Err("the records of one patched object do not follow each other".into());
    }
    objects.extend(object_names(file, &OF_CALLBACKS, module.callbacks)?);
    if objects.len() != module.klp_objects {
        return Err(format!(
            "`{FUNCTIONS}` and `{CALLBACKS}` are about {} objects, not {}",
            objects.len(),
            module.klp_objects
        ));
    }
    let count = module.gate.map_or(0, Gate::count);
    let names = object_names(file, &OF_GATE, count)?;
    if count > 0 {
        objects.insert(VMLINUX.into());
        if count != objects.len() || names.into_iter().collect::<BTreeSet<_>>() != objects {
            return Err(format!("`{GATE}` is not about the kernel and all that is patched"));
        }
    }
    Ok(())
}

/// The patched objects that the `count` records of a table name, in the order of the records.
fn object_names(file: &File<'_>, table: &Table, count: usize) -> Result<Vec<Vec<u8>>, String> {
    let Table { section: name, record, start, .. } = table;
    let sections = file.sections().filter(|one| one.name() == Ok(name) && one.size() > 0);
    let sections: Vec<_> = sections.collect();
    let section = match sections.as_slice() {
        [] if count == 0 => return Ok(Vec::new()),
        [section] => section,
        _ => return Err(format!("it has {} sections `{name}`", sections.len())),
    };
    if section.size() != (record * count) as u64 {
        let size = section.size();
        return Err(format!("`{name}` has {size} bytes, {count} records take {record} each"));
    }
    let mark = file.symbols().find(|symbol| symbol.name() == Ok(start));
    let at_start = mark.as_ref().is_some_and(|symbol| {
        symbol.section_index() == Some(section.index()) && symbol.address() == 0
    });
    if !at_start {
        return Err(format!("`{start}` is not the beginning of `{name}`"));
    }
    let names = names_in(file, section, table)?;
    if names.len() != count {
        return Err(format!("{} of {count} records name a patched object", names.len()));
    }
    Ok(names)
}

fn names_in(
    file: &File<'_>,
    section: &Section<'_, '_>,
    table: &Table,
) -> Result<Vec<Vec<u8>>, String> {
    let mut names = Vec::new();
    for (offset, relocation) in section.relocations() {
        if offset % table.record as u64 == table.object_name {
            let text = string_at(file, &relocation).ok_or_else(|| {
                let name = table.section;
                format!("the name at {offset:#x} of `{name}` is not a string of the module")
            })?;
            names.push((offset, text));
        }
    }
    names.sort();
    Ok(names.into_iter().map(|(_, text)| text).collect())
}

/// The NUL-terminated string that a relocation points to.
fn string_at(file: &File<'_>, relocation: &object::Relocation) -> Option<Vec<u8>> {
    let RelocationTarget::Symbol(symbol) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(symbol).ok()?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let start = symbol.address().checked_add_signed(relocation.addend())?;
    let data = section.data().ok()?.get(usize::try_from(start).ok()?..)?;
    let end = data.iter().position(|byte| *byte == 0)?;
    data.get(..end).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Template;
    use object::Architecture;
    use object::BinaryFormat;
    use object::Endianness;
    use object::RelocationFlags;
    use object::SectionKind;
    use object::SymbolFlags;
    use object::SymbolKind;
    use object::SymbolScope;
    use object::elf;
    use object::write;

    static NO_STATES: std::collections::BTreeMap<u64, u32> = std::collections::BTreeMap::new();

    /// What the tests vary in a module.
    #[derive(Clone)]
    struct Module<'a> {
        /// For each table, which it is and the patched object that each record names.
        tables: Vec<(&'a Table, &'a [&'a str])>,
        /// Where in the tables the glue's marks are.
        mark: u64,
        /// Whether the records have relocations for the names.
        named: bool,
    }

    fn write(module: &Module<'_>) -> Vec<u8> {
        let mut object =
            write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let mut section = |name: &str| {
            object.add_section(vec![], name.as_bytes().to_vec(), SectionKind::ReadOnlyData)
        };
        let strings = section(".kpatch.strings");
        let sections: Vec<_> =
            module.tables.iter().map(|(table, _)| section(table.section)).collect();
        let strings_symbol = object.section_symbol(strings);
        for (section, (table, names)) in sections.into_iter().zip(&module.tables) {
            let size = names.len() * table.record;
            object.append_section_data(section, &vec![0; size], 8);
            for (record, name) in names.iter().enumerate().filter(|_| module.named) {
                let text = format!("{name}\0");
                let addend = object.append_section_data(strings, text.as_bytes(), 1);
                let relocation = write::Relocation {
                    offset: (record * table.record) as u64 + table.object_name,
                    symbol: strings_symbol,
                    addend: addend as i64,
                    flags: RelocationFlags::Elf { r_type: elf::R_X86_64_64 },
                };
                object.add_relocation(section, relocation).unwrap();
            }
            object.add_symbol(write::Symbol {
                name: table.start.as_bytes().to_vec(),
                value: module.mark,
                size: 0,
                kind: SymbolKind::Data,
                scope: SymbolScope::Compilation,
                weak: false,
                section: write::SymbolSection::Section(section),
                flags: SymbolFlags::None,
            });
        }
        object.write().unwrap()
    }

    fn module<'a>(functions: &'a [&'a str], callbacks: &'a [&'a str]) -> Module<'a> {
        let tables = [(&OF_FUNCTIONS, functions), (&OF_CALLBACKS, callbacks)];
        let tables = tables.into_iter().filter(|(_, names)| !names.is_empty()).collect();
        Module { tables, mark: 0, named: true }
    }

    /// Numbers of functions, callbacks and objects.
    fn announce(functions: usize, callbacks: usize, klp_objects: usize) -> PatchModule<'static> {
        PatchModule {
            name: "kpatch-x",
            code: crate::Code::Diff(&[]),
            functions,
            callbacks,
            klp_objects,
            states: &NO_STATES,
            gate: None,
            replace: true,
            pin: false,
            template: Template::Auto,
        }
    }

    /// Why the module is refused.
    fn refusal(module: &Module<'_>, announced: &PatchModule<'_>) -> String {
        let error = check(&write(module), announced).unwrap_err();
        let refusal = error.downcast::<Refusal>().unwrap();
        assert_eq!(refusal.code, Code::ModuleMalformed);
        refusal.message
    }

    #[test]
    fn the_announced_tables_pass() {
        let one = write(&module(&["vmlinux", "vmlinux"], &[]));
        check(&one, &announce(2, 0, 1)).unwrap();
        let three = write(&module(&["vmlinux", "vmlinux", "ext4", "jbd2"], &[]));
        check(&three, &announce(4, 0, 3)).unwrap();
        let both = write(&module(&["vmlinux"], &["ext4", "vmlinux", "ext4"]));
        check(&both, &announce(1, 3, 2)).unwrap();
        let callbacks_only = write(&module(&[], &["ext4"]));
        check(&callbacks_only, &announce(0, 1, 1)).unwrap();
    }

    #[test]
    fn a_table_is_one_and_whole() {
        let two: &[&str] = &["vmlinux", "vmlinux"];
        let one_table = module(two, &[]);
        let mut twice = one_table.clone();
        twice.tables.extend(one_table.tables.clone());
        assert!(refusal(&module(&[], &[]), &announce(2, 0, 1)).contains("0 sections"));
        assert!(refusal(&twice, &announce(2, 0, 1)).contains("2 sections"));
        assert!(refusal(&one_table, &announce(1, 0, 1)).contains("64 bytes"));
        assert!(refusal(&one_table, &announce(3, 0, 1)).contains("64 bytes"));
        assert!(refusal(&one_table, &announce(0, 0, 1)).contains("64 bytes"));
        assert!(refusal(&one_table, &announce(2, 1, 1)).contains("0 sections"));
        assert!(refusal(&module(&[], two), &announce(0, 1, 1)).contains("48 bytes"));
        let later = Module { mark: 32, ..one_table };
        assert!(refusal(&later, &announce(2, 0, 1)).contains("not the beginning"));
    }

    #[test]
    fn the_records_of_an_object_follow_each_other() {
        let scattered = module(&["vmlinux", "ext4", "vmlinux"], &[]);
        assert!(refusal(&scattered, &announce(3, 0, 3)).contains("follow each other"));
        assert!(refusal(&scattered, &announce(3, 0, 2)).contains("follow each other"));
    }

    #[test]
    fn the_gate_is_about_all_that_is_patched() {
        let functions: &[&str] = &["vmlinux", "ext4"];
        let gated = |names| {
            let mut gated = module(functions, &[]);
            gated.tables.push((&OF_GATE, names));
            gated
        };
        let gate = crate::gate::tests::gate(&["ext4"]);
        let announced = PatchModule { gate: Some(&gate), ..announce(2, 0, 2) };
        check(&write(&gated(&["vmlinux", "ext4"])), &announced).unwrap();
        for names in [&["vmlinux", "jbd2"], &["ext4", "ext4"], &["ext4", "jbd2"]] {
            assert!(refusal(&gated(names), &announced).contains("all that is patched"));
        }
        assert!(refusal(&gated(&["vmlinux"]), &announced).contains("64 bytes"));
        assert!(refusal(&module(functions, &[]), &announced).contains("0 sections"));
        let none_announced = announce(2, 0, 2);
        assert!(refusal(&gated(&["vmlinux", "ext4"]), &none_announced).contains("128 bytes"));

        // The kernel has a record also if only a module is patched.
        let mut of_module = module(&["ext4"], &[]);
        of_module.tables.push((&OF_GATE, &["vmlinux", "ext4"]));
        let announced = PatchModule { gate: Some(&gate), ..announce(1, 0, 1) };
        check(&write(&of_module), &announced).unwrap();
    }

    #[test]
    fn the_objects_are_those_announced() {
        let two = module(&["vmlinux", "ext4"], &["ext4"]);
        assert!(refusal(&two, &announce(2, 1, 1)).contains("about 2 objects, not 1"));
        let nameless = Module { named: false, ..two };
        assert!(refusal(&nameless, &announce(2, 1, 2)).contains("0 of 2"));
    }
}

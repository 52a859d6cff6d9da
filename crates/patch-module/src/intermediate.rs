//! Checks what the core will rely on in the linked module: one table, where the glue believes it to
//! be, with as many records as announced, those of each patched object in one run. Bias: the core
//! would refuse any other table, but only when the module is loaded.

use anyhow::Context;
use anyhow::Result;
use kpatch_elf::livepatch::FUNCTION_RECORD;
use kpatch_elf::livepatch::FUNCTIONS;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use object::File;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use object::RelocationTarget;
use object::Section;

/// The glue's mark at the beginning of the table.
const START: &str = "kpatch_records";
/// Where in a record the pointer to the name of the patched object is (`kmod/core/src/table.rs`).
const OBJECT_NAME: u64 = 16;

/// Checks the module `name`, whose file is `data`: `functions` records for `objects` patched objects.
///
/// # Errors
/// A [`Refusal`] when the table is not as the core will read it.
pub(crate) fn check(data: &[u8], name: &str, functions: usize, objects: usize) -> Result<()> {
    let file = File::parse(data).context("kbuild's module is not an ELF file")?;
    check_table(&file, functions, objects).map_err(|message| {
        let hint = "this is a defect of the tool: please report it with the log";
        let place = Place::object(format!("{name}.ko"));
        Refusal::new(Code::ModuleMalformed, place, message, hint).into()
    })
}

fn check_table(file: &File<'_>, functions: usize, objects: usize) -> Result<(), String> {
    let tables: Vec<_> = file.sections().filter(|one| one.name() == Ok(FUNCTIONS)).collect();
    let [table] = tables.as_slice() else {
        return Err(format!("it has {} sections `{FUNCTIONS}`", tables.len()));
    };
    if table.size() != (FUNCTION_RECORD * functions) as u64 {
        return Err(format!(
            "`{FUNCTIONS}` has {} bytes, {functions} patched functions take {FUNCTION_RECORD} each",
            table.size(),
        ));
    }
    let start = file.symbols().find(|symbol| symbol.name() == Ok(START));
    let at_start = start.as_ref().is_some_and(|symbol| {
        symbol.section_index() == Some(table.index()) && symbol.address() == 0
    });
    if !at_start {
        return Err(format!("`{START}` is not the beginning of `{FUNCTIONS}`"));
    }

    let mut names = object_names(file, table)?;
    if names.len() != functions {
        return Err(format!("{} of {functions} records name a patched object", names.len()));
    }
    names.dedup();
    let runs = names.len();
    names.sort();
    names.dedup();
    if names.len() != runs {
        return Err("the records of one patched object do not follow each other".into());
    }
    if runs != objects {
        return Err(format!("`{FUNCTIONS}` is about {runs} objects, not {objects}"));
    }
    Ok(())
}

/// The patched objects that the records name, in the order of the records.
fn object_names(file: &File<'_>, table: &Section<'_, '_>) -> Result<Vec<Vec<u8>>, String> {
    let mut names = Vec::new();
    for (offset, relocation) in table.relocations() {
        if offset % FUNCTION_RECORD as u64 == OBJECT_NAME {
            let text = string_at(file, &relocation).ok_or_else(|| {
                format!("the name at {offset:#x} of `{FUNCTIONS}` is not a string of the module")
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

    /// What the tests vary in a module.
    struct Module<'a> {
        /// For each table, the patched object that each record names.
        tables: &'a [&'a [&'a str]],
        /// Where in the first table the glue's mark is.
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
        let tables: Vec<_> = module.tables.iter().map(|_| section(FUNCTIONS)).collect();
        let strings_symbol = object.section_symbol(strings);
        for (index, (table, names)) in tables.into_iter().zip(module.tables).enumerate() {
            let size = names.len() * FUNCTION_RECORD;
            object.append_section_data(table, &vec![0; size], 8);
            for (record, name) in names.iter().enumerate().filter(|_| module.named) {
                let text = format!("{name}\0");
                let addend = object.append_section_data(strings, text.as_bytes(), 1);
                let relocation = write::Relocation {
                    offset: (record * FUNCTION_RECORD) as u64 + OBJECT_NAME,
                    symbol: strings_symbol,
                    addend: addend as i64,
                    flags: RelocationFlags::Elf { r_type: elf::R_X86_64_64 },
                };
                object.add_relocation(table, relocation).unwrap();
            }
            if index == 0 {
                object.add_symbol(write::Symbol {
                    name: START.as_bytes().to_vec(),
                    value: module.mark,
                    size: 0,
                    kind: SymbolKind::Data,
                    scope: SymbolScope::Compilation,
                    weak: false,
                    section: write::SymbolSection::Section(table),
                    flags: SymbolFlags::None,
                });
            }
        }
        object.write().unwrap()
    }

    fn module<'a>(tables: &'a [&'a [&'a str]]) -> Module<'a> {
        Module { tables, mark: 0, named: true }
    }

    /// Why the module is refused when `functions` and `objects` were announced.
    fn refusal(module: &Module<'_>, functions: usize, objects: usize) -> String {
        let error = check(&write(module), "kpatch-x", functions, objects).unwrap_err();
        let refusal = error.downcast::<Refusal>().unwrap();
        assert_eq!(refusal.code, Code::ModuleMalformed);
        refusal.message
    }

    #[test]
    fn the_announced_table_passes() {
        let one = write(&module(&[&["vmlinux", "vmlinux"]]));
        check(&one, "kpatch-x", 2, 1).unwrap();
        let three = write(&module(&[&["vmlinux", "vmlinux", "ext4", "jbd2"]]));
        check(&three, "kpatch-x", 4, 3).unwrap();
    }

    #[test]
    fn the_table_is_one_and_whole() {
        let two: &[&str] = &["vmlinux", "vmlinux"];
        assert!(refusal(&module(&[]), 2, 1).contains("0 sections"));
        assert!(refusal(&module(&[two, two]), 2, 1).contains("2 sections"));
        assert!(refusal(&module(&[two]), 1, 1).contains("64 bytes"));
        assert!(refusal(&module(&[two]), 3, 1).contains("64 bytes"));
        let tables = [two];
        let later = Module { mark: 32, ..module(&tables) };
        assert!(refusal(&later, 2, 1).contains("not the beginning"));
    }

    #[test]
    fn the_records_of_an_object_follow_each_other() {
        let scattered = module(&[&["vmlinux", "ext4", "vmlinux"]]);
        assert!(refusal(&scattered, 3, 3).contains("follow each other"));
        assert!(refusal(&scattered, 3, 2).contains("follow each other"));
    }

    #[test]
    fn the_objects_are_those_announced() {
        let two = module(&[&["vmlinux", "ext4"]]);
        assert!(refusal(&two, 2, 1).contains("about 2 objects, not 1"));
        let nameless = Module { named: false, ..two };
        assert!(refusal(&nameless, 2, 2).contains("0 of 2"));
    }
}

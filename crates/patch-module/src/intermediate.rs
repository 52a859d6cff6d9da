//! Checks what the core will rely on in the linked module: one table, where the glue believes it to
//! be, with as many records as announced. Bias: a module whose table is not exactly that is not
//! handed on.

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;

/// The section of the table (`kmod/core/src/table.rs`).
const TABLE: &str = ".kpatch.funcs";
/// Bytes of a record.
const RECORD: u64 = 32;
/// The glue's mark at the beginning of the table.
const START: &str = "kpatch_records";

/// Checks the module `name`, whose file is `data`.
///
/// # Errors
/// A [`Refusal`] when the table is not as the core will read it.
pub(crate) fn check(data: &[u8], name: &str, functions: usize) -> Result<()> {
    let file = object::File::parse(data).context("kbuild's module is not an ELF file")?;
    let tables: Vec<_> = file.sections().filter(|one| one.name() == Ok(TABLE)).collect();
    let [table] = tables.as_slice() else {
        return Err(malformed(name, format!("it has {} sections `{TABLE}`", tables.len())));
    };
    if table.size() != RECORD * functions as u64 {
        let size = table.size();
        return Err(malformed(
            name,
            format!("`{TABLE}` has {size} bytes, {functions} patched functions take {RECORD} each"),
        ));
    }
    let start = file.symbols().find(|symbol| symbol.name() == Ok(START));
    let at_start = start.as_ref().is_some_and(|symbol| {
        symbol.section_index() == Some(table.index()) && symbol.address() == 0
    });
    if !at_start {
        return Err(malformed(name, format!("`{START}` is not the beginning of `{TABLE}`")));
    }
    Ok(())
}

fn malformed(name: &str, message: String) -> anyhow::Error {
    let hint = "this is a defect of the tool: please report it with the log";
    Refusal::new(Code::ModuleMalformed, Place::object(format!("{name}.ko")), message, hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::Architecture;
    use object::BinaryFormat;
    use object::Endianness;
    use object::SectionKind;
    use object::SymbolFlags;
    use object::SymbolKind;
    use object::SymbolScope;
    use object::write;

    /// A module with tables of the given sizes and the mark at an offset of the first.
    fn module(sizes: &[usize], mark: u64) -> Vec<u8> {
        let mut object =
            write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        for (index, size) in sizes.iter().enumerate() {
            let table =
                object.add_section(vec![], TABLE.as_bytes().to_vec(), SectionKind::ReadOnlyData);
            object.append_section_data(table, &vec![0; *size], 8);
            if index == 0 {
                object.add_symbol(write::Symbol {
                    name: START.as_bytes().to_vec(),
                    value: mark,
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

    fn refusal(sizes: &[usize], mark: u64) -> String {
        let error = check(&module(sizes, mark), "kpatch-x", 2).unwrap_err();
        let refusal = error.downcast::<Refusal>().unwrap();
        assert_eq!(refusal.code, Code::ModuleMalformed);
        refusal.message
    }

    #[test]
    fn one_table_of_the_announced_size_passes() {
        check(&module(&[64], 0), "kpatch-x", 2).unwrap();
    }

    #[test]
    fn every_other_table_is_refused() {
        assert!(refusal(&[], 0).contains("0 sections"));
        assert!(refusal(&[64, 32], 0).contains("2 sections"));
        assert!(refusal(&[32], 0).contains("32 bytes"));
        assert!(refusal(&[96], 0).contains("96 bytes"));
        assert!(refusal(&[64], 32).contains("not the beginning"));
    }
}

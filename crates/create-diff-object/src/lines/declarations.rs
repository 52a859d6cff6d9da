//! Where symbols are declared in the source, by name.

use std::collections::HashMap;

use gimli::AttributeValue;
use gimli::DebuggingInformationEntry;
use gimli::Dwarf;
use gimli::Unit;
use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolId;

use super::debug;
use super::debug::Debug;
use super::debug::Slice;

use crate::normalize::names;

/// Declaration lines of functions and variables by name without numbers.
#[derive(Debug, Default)]
pub struct Lines {
    by_name: HashMap<String, (String, u32)>,
}

impl Lines {
    /// Reads the debug information of an object.
    pub fn read(object: &ObjectFile) -> Self {
        let debug = Debug::read(object);
        let mut lines = Lines::default();
        if let Some(dwarf) = debug.dwarf() {
            // Whatever was read before an error is right.
            let _ = lines.collect(&dwarf);
        }
        lines
    }

    /// File and line where a symbol of `object` is declared, if the name tells it.
    pub fn of_symbol(&self, object: &ObjectFile, symbol: SymbolId) -> Option<(String, u32)> {
        let base = names::base_name(&object[symbol].name);
        let plain = base.split('.').next().unwrap_or_default();
        self.by_name.get(plain).cloned()
    }

    fn collect(&mut self, dwarf: &Dwarf<Slice<'_>>) -> gimli::Result<()> {
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            let unit = dwarf.unit(header)?;
            let mut entries = unit.entries();
            while let Some((_, entry)) = entries.next_dfs()? {
                let named =
                    matches!(entry.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_variable);
                if !named || entry.attr_value(gimli::DW_AT_declaration)?.is_some() {
                    continue;
                }
                if let Some((name, place)) = declaration(dwarf, &unit, entry) {
                    self.by_name.entry(name).or_insert(place);
                }
            }
        }
        Ok(())
    }
}

fn declaration(
    dwarf: &Dwarf<Slice<'_>>,
    unit: &Unit<Slice<'_>>,
    entry: &DebuggingInformationEntry<'_, '_, Slice<'_>>,
) -> Option<(String, (String, u32))> {
    let value = |attribute| entry.attr_value(attribute).ok()?;
    let text = |value| dwarf.attr_string(unit, value).ok()?.to_string().ok().map(str::to_owned);
    let name = text(value(gimli::DW_AT_name)?)?;
    let line = value(gimli::DW_AT_decl_line)?.udata_value()?;
    let AttributeValue::FileIndex(index) = value(gimli::DW_AT_decl_file)? else {
        return None;
    };
    let program = unit.line_program.as_ref()?.header();
    let file = program.file(index)?;
    let path = debug::path(dwarf, unit, program, file)?;
    Some((name, (path, u32::try_from(line).ok()?)))
}

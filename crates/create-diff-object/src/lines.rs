//! Where symbols are in the source, for messages: from the debug information that the kernel's own
//! flags make the compiler write. An object without it, or with one that is not understood, has no
//! lines; nothing else depends on them.

use std::collections::HashMap;

use gimli::AttributeValue;
use gimli::DebuggingInformationEntry;
use gimli::Dwarf;
use gimli::EndianSlice;
use gimli::LittleEndian;
use gimli::Unit;
use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SymbolId;

use crate::names;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Declaration lines of functions and variables by name without numbers.
#[derive(Debug, Default)]
pub struct Lines {
    by_name: HashMap<String, (String, u32)>,
}

impl Lines {
    /// Reads the debug information of an object.
    pub fn read(object: &ObjectFile) -> Self {
        let sections: HashMap<&str, Vec<u8>> = object
            .sections
            .iter()
            .filter(|section| section.name.starts_with(".debug_"))
            .map(|section| (section.name.as_str(), relocated(object, section)))
            .collect();
        let load = |id: gimli::SectionId| -> Result<Slice<'_>, gimli::Error> {
            let data = sections.get(id.name()).map_or(&[][..], Vec::as_slice);
            Ok(EndianSlice::new(data, LittleEndian))
        };
        let mut lines = Lines::default();
        if let Ok(dwarf) = Dwarf::load(load) {
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
    let mut path = text(file.path_name())?;
    if let Some(directory) = file.directory(program).and_then(text) {
        // Directory 0 is where the compiler ran; a file there has its whole path in its name.
        if file.directory_index() != 0 && !path.starts_with('/') {
            path = format!("{directory}/{path}");
        }
    }
    let path = path.trim_start_matches("./").to_owned();
    Some((name, (path, u32::try_from(line).ok()?)))
}

/// A debug section with its references to other debug sections filled in.
fn relocated(object: &ObjectFile, section: &Section) -> Vec<u8> {
    let mut data = section.data.clone();
    for relocation in &section.relocations {
        let symbol = &object[relocation.symbol];
        let value = (symbol.value as i64).wrapping_add(relocation.addend);
        let at = relocation.offset as usize;
        let width = match relocation.kind {
            RelocationKind::ABS64 => 8,
            RelocationKind::ABS32 | RelocationKind::ABS32S => 4,
            _ => continue,
        };
        if let Some(field) = data.get_mut(at..at + width) {
            field.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
    data
}

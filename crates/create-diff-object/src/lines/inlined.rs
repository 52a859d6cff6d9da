//! Which functions the compiler inlined into which, by the names in the source.

use std::collections::BTreeSet;
use std::collections::HashMap;

use gimli::AttributeValue;
use gimli::DebuggingInformationEntry;
use gimli::Dwarf;
use gimli::Unit;
use kpatch_elf::ObjectFile;

use super::debug::Debug;
use super::debug::Slice;

/// How many entries a name may be away: from an inlined copy to its abstract function, and from that to
/// its declaration.
const NAME_DEPTH: usize = 4;

/// The inlined calls of an object.
#[derive(Debug, Default)]
pub struct Inlined {
    by_function: HashMap<String, BTreeSet<String>>,
}

impl Inlined {
    /// Reads the debug information of an object.
    pub fn read(object: &ObjectFile) -> Self {
        let mut inlined = Inlined::default();
        Debug::read(object).each_unit(|dwarf, unit| inlined.collect(dwarf, unit));
        inlined
    }

    /// The functions of which `function` has a copy in its code, deeper ones included.
    pub fn of(&self, function: &str) -> impl Iterator<Item = &str> {
        self.by_function.get(function).into_iter().flatten().map(String::as_str)
    }

    fn collect(&mut self, dwarf: &Dwarf<Slice<'_>>, unit: &Unit<Slice<'_>>) -> gimli::Result<()> {
        let mut entries = unit.entries();
        let mut depth = 0;
        // The function with code that the entries are in, and how deep it is.
        let mut function: Option<(isize, String)> = None;
        while let Some((delta, entry)) = entries.next_dfs()? {
            depth += delta;
            if function.as_ref().is_some_and(|(outer, _)| depth <= *outer) {
                function = None;
            }
            match entry.tag() {
                gimli::DW_TAG_subprogram if function.is_none() => {
                    let has = |attribute| entry.attr_value(attribute).is_ok_and(|v| v.is_some());
                    if has(gimli::DW_AT_low_pc) || has(gimli::DW_AT_ranges) {
                        function = name(dwarf, unit, entry, NAME_DEPTH).map(|name| (depth, name));
                    }
                }
                gimli::DW_TAG_inlined_subroutine => {
                    let callee = name(dwarf, unit, entry, NAME_DEPTH);
                    if let (Some((_, function)), Some(callee)) = (&function, callee) {
                        self.by_function.entry(function.clone()).or_default().insert(callee);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn name(
    dwarf: &Dwarf<Slice<'_>>,
    unit: &Unit<Slice<'_>>,
    entry: &DebuggingInformationEntry<'_, '_, Slice<'_>>,
    depth: usize,
) -> Option<String> {
    if let Some(name) = entry.attr_value(gimli::DW_AT_name).ok()? {
        let name = dwarf.attr_string(unit, name).ok()?;
        return name.to_string().ok().map(str::to_owned);
    }
    let depth = depth.checked_sub(1)?;
    let origins = [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification];
    origins.into_iter().find_map(|attribute| match entry.attr_value(attribute).ok()?? {
        AttributeValue::UnitRef(offset) => name(dwarf, unit, &unit.entry(offset).ok()?, depth),
        _ => None,
    })
}

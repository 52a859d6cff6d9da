//! Which function each static variable belongs to, as the source has it: where functions are inlined into one,
//! their code no longer tells.

use gimli::AttributeValue;
use gimli::Dwarf;
use gimli::Operation;
use gimli::Unit;
use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use rustc_hash::FxHashMap;

use super::debug;
use super::debug::Debug;
use super::debug::Slice;

/// The functions of static variables, by the variable's place.
#[derive(Debug, Default)]
pub struct Scopes {
    /// `None`: the debug information says two things of one place.
    by_place: FxHashMap<(SectionId, u64), Option<String>>,
}

impl Scopes {
    /// Reads the debug information of an object.
    pub fn read(object: &ObjectFile) -> Self {
        let mut scopes = Scopes::default();
        Debug::read(object).each_unit(|dwarf, unit| scopes.collect(dwarf, unit));
        scopes
    }

    /// The name of the function in which the variable at a place is declared.
    pub fn of(&self, section: SectionId, offset: u64) -> Option<&str> {
        self.by_place.get(&(section, offset))?.as_deref()
    }

    fn collect(&mut self, dwarf: &Dwarf<Slice<'_>>, unit: &Unit<Slice<'_>>) -> gimli::Result<()> {
        let mut entries = unit.entries();
        let mut depth = 0;
        // The function that the entries are in, as it is declared, and how deep it is. Copies of it where it
        // was inlined repeat its variables without a name.
        let mut function: Option<(isize, String)> = None;
        while let Some((delta, entry)) = entries.next_dfs()? {
            depth += delta;
            if function.as_ref().is_some_and(|(outer, _)| depth <= *outer) {
                function = None;
            }
            let value = |attribute| entry.attr_value(attribute).ok()?;
            match entry.tag() {
                gimli::DW_TAG_subprogram if function.is_none() => {
                    let name = value(gimli::DW_AT_name);
                    let name = name.and_then(|name| dwarf.attr_string(unit, name).ok());
                    let name = name.and_then(|name| name.to_string().ok());
                    function = name.map(|name| (depth, name.to_owned()));
                }
                gimli::DW_TAG_variable if value(gimli::DW_AT_name).is_some() => {
                    let place = value(gimli::DW_AT_location).and_then(|at| place(unit, at));
                    if let (Some((_, function)), Some(place)) = (&function, place) {
                        let known = self.by_place.entry(place);
                        let known = known.or_insert_with(|| Some(function.clone()));
                        if known.as_deref() != Some(function) {
                            *known = None;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where a variable is that always is at one place.
fn place(unit: &Unit<Slice<'_>>, location: AttributeValue<Slice<'_>>) -> Option<(SectionId, u64)> {
    let mut operations = location.exprloc_value()?.operations(unit.encoding());
    let Operation::Address { address } = operations.next().ok()?? else { return None };
    let alone = matches!(operations.next(), Ok(None));
    if alone { debug::place(address) } else { None }
}

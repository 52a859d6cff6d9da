//! A module as what runs: the file that is loaded. It is not linked, so its fields are empty; what they
//! will hold is in its relocations.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;

use crate::running::Place;
use crate::running::Running;

/// A module's file.
#[derive(Debug)]
pub struct LoadableModule {
    object: ObjectFile,
    by_name: BTreeMap<String, Vec<SymbolId>>,
    /// Named places of each section, by value.
    by_place: Vec<Vec<(u64, SymbolId)>>,
}

impl LoadableModule {
    /// Wraps a module that was read; the indices of its symbols are those of the file.
    pub fn new(object: ObjectFile) -> Self {
        let mut by_name: BTreeMap<String, Vec<SymbolId>> = BTreeMap::new();
        let mut by_place = vec![Vec::new(); object.sections.len()];
        for (id, symbol) in object.symbols_with_ids() {
            if symbol.name.is_empty() || symbol.kind == SymbolKind::File {
                continue;
            }
            by_name.entry(symbol.name.clone()).or_default().push(id);
            if let Some(section) = symbol.section() {
                by_place[section.0 as usize].push((symbol.value, id));
            }
        }
        by_place.iter_mut().for_each(|names| names.sort_unstable());
        Self { object, by_name, by_place }
    }

    /// The module's file.
    pub fn object(&self) -> &ObjectFile {
        &self.object
    }

    /// The symbols of a name.
    pub fn symbols(&self, name: &str) -> &[SymbolId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The place of a symbol; `None` for what has no place, as absolute ones.
    pub fn place_of(&self, id: SymbolId) -> Option<Place> {
        let symbol = &self.object[id];
        match symbol.definition {
            Definition::Section(section) => Some(Place::Section(section, symbol.value as i64)),
            Definition::Undefined => {
                // Equal names are one symbol outside, whatever their index.
                let first = self.symbols(&symbol.name).first().copied().unwrap_or(id);
                Some(Place::Outside(first, 0))
            }
            _ => None,
        }
    }
}

impl Running for LoadableModule {
    fn named(&self, name: &str) -> Vec<Place> {
        self.symbols(name).iter().filter_map(|id| self.place_of(*id)).collect()
    }

    fn bytes(&self, place: Place) -> Option<&[u8]> {
        let Place::Section(section, at) = place else { return None };
        let data = &self.object.sections.get(section.0 as usize)?.data;
        data.get(usize::try_from(at).ok()?..).filter(|rest| !rest.is_empty())
    }

    fn symbol_of_slot(&self, slot: Place, kind: RelocationKind, addend: i64) -> Option<Place> {
        let Place::Section(section, at) = slot else { return None };
        let at = u64::try_from(at).ok()?;
        let section: &kpatch_elf::Section = self.object.sections.get(section.0 as usize)?;
        let [relocation] = section.relocations_in(at..at + 1) else { return None };
        // Compilers choose freely between the two, and the loader makes no difference.
        let plain = |kind| if kind == RelocationKind::PLT32 { RelocationKind::PC32 } else { kind };
        if plain(relocation.kind) != plain(kind) {
            return None;
        }
        let symbol = self.place_of(relocation.symbol)?;
        Some(symbol.offset(relocation.addend.wrapping_sub(addend)))
    }

    fn branch_target(&self, slot: Place, end: Place, to: Place) -> Option<Place> {
        let (Place::Section(section, at), Place::Section(_, end)) = (slot, end) else {
            return None;
        };
        let at = u64::try_from(at).ok()?;
        let relocations = self.object.sections.get(section.0 as usize)?.relocations_in(at..at + 1);
        match relocations {
            [] => Some(to),
            [relocation] => {
                let bias = end.wrapping_sub(at as i64);
                let symbol = self.place_of(relocation.symbol)?;
                Some(symbol.offset(relocation.addend.wrapping_add(bias)))
            }
            _ => None,
        }
    }

    fn extent(&self, place: Place) -> Option<u64> {
        let Place::Section(section, at) = place else { return None };
        let at = u64::try_from(at).ok()?;
        let names = self.by_place.get(section.0 as usize)?;
        let next = names.partition_point(|(value, _)| *value <= at);
        let end = names.get(next).map_or(self.object[section].size, |(value, _)| *value);
        end.checked_sub(at)
    }

    fn name_of(&self, place: Place) -> Cow<'_, str> {
        let with = |name: &str, by: i64| match by {
            0 => name.to_owned(),
            by if by < 0 => format!("{name}-{:#x}", by.unsigned_abs()),
            by => format!("{name}+{by:#x}"),
        };
        match place {
            Place::Outside(symbol, by) => with(&self.object[symbol].name, by).into(),
            Place::Section(section, at) => {
                let names = self.by_place.get(section.0 as usize).map_or(&[][..], Vec::as_slice);
                let next = names.partition_point(|(value, _)| (*value as i64) <= at);
                match next.checked_sub(1).and_then(|index| names.get(index)) {
                    Some((value, id)) => with(&self.object[*id].name, at - *value as i64).into(),
                    None => with(&self.object[section].name, at).into(),
                }
            }
            Place::Address(address) => format!("{address:#x}").into(),
        }
    }
}

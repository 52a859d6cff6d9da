//! What the relocated fields of matched code tell: where each section and each symbol of the object is
//! in what runs. One fact comes from many fields; all must agree.

use std::collections::BTreeMap;

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags::MERGE;

use crate::running::Place;

/// Where the parts of an object are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// First bytes of sections.
    sections: BTreeMap<SectionId, Place>,
    /// Symbols that are not, or not surely, part of a section of the object: undefined and weak ones.
    symbols: BTreeMap<SymbolId, Place>,
}

/// Two fields tell two places of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// What they speak of: a symbol or a section.
    pub what: String,
    /// What the first said.
    pub known: Place,
    /// What the second says.
    pub other: Place,
}

/// What a relocation speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A section of the object: the relocation's symbol is so many bytes from its start.
    Section(SectionId, i64),
    /// A place in a section whose parts the linker merges with equal ones of other objects.
    Mergeable(SectionId, i64),
    /// A symbol.
    Symbol(SymbolId),
    /// Nothing that has a place: a fixed address.
    Nothing,
}

impl Subject {
    pub(crate) fn of(object: &ObjectFile, relocation: &Relocation) -> Self {
        let symbol = &object[relocation.symbol];
        match symbol.section() {
            Some(section) if object[section].has(MERGE) => {
                Subject::Mergeable(section, symbol.value as i64)
            }
            Some(section) if symbol.binding != Binding::Weak => {
                Subject::Section(section, symbol.value as i64)
            }
            None if relocation.symbol == SymbolId::NULL => Subject::Nothing,
            _ => Subject::Symbol(relocation.symbol),
        }
    }
}

impl Facts {
    /// Where a section begins.
    pub fn section(&self, section: SectionId) -> Option<Place> {
        self.sections.get(&section).copied()
    }

    /// The sections whose places are known.
    pub fn sections(&self) -> impl Iterator<Item = (SectionId, Place)> {
        self.sections.iter().map(|(section, place)| (*section, *place))
    }

    /// Where a symbol is: for one that the object defines, its part of the section.
    pub fn symbol(&self, object: &ObjectFile, id: SymbolId) -> Option<Place> {
        let symbol = &object[id];
        let told = self.symbols.get(&id).copied();
        let here = || Some(self.section(symbol.section()?)?.offset(symbol.value as i64));
        // A weak symbol is where its users find it, which need not be here.
        if symbol.binding == Binding::Weak { told } else { told.or_else(here) }
    }

    /// Where what the object itself calls a symbol is, also if it is weak and another one is used.
    pub fn definition(&self, object: &ObjectFile, id: SymbolId) -> Option<Place> {
        let symbol = &object[id];
        Some(self.section(symbol.section()?)?.offset(symbol.value as i64))
    }

    /// Notes that a relocation's symbol is at `place`.
    ///
    /// # Errors
    /// When it is known to be elsewhere; nothing is noted then.
    pub(crate) fn learn(
        &mut self,
        object: &ObjectFile,
        subject: Subject,
        place: Place,
    ) -> Result<(), Contradiction> {
        let (known, place) = match subject {
            Subject::Section(section, value) => {
                let place = place.offset(-value);
                (*self.sections.entry(section).or_insert(place), place)
            }
            Subject::Symbol(symbol) => {
                // What is part of a section is where that is.
                let defined = Some(symbol).filter(|id| object[*id].binding != Binding::Weak);
                let here = defined.and_then(|id| self.definition(object, id));
                (here.unwrap_or_else(|| *self.symbols.entry(symbol).or_insert(place)), place)
            }
            Subject::Mergeable(..) | Subject::Nothing => return Ok(()),
        };
        if known == place {
            return Ok(());
        }
        let what = match subject {
            Subject::Section(section, _) => format!("section `{}`", object[section].name),
            Subject::Symbol(symbol) => format!("`{}`", object[symbol].name),
            Subject::Mergeable(..) | Subject::Nothing => String::new(),
        };
        Err(Contradiction { what, known, other: place })
    }

    /// All that both know.
    ///
    /// # Errors
    /// When they contradict each other.
    pub(crate) fn with(&self, object: &ObjectFile, more: &Facts) -> Result<Self, Contradiction> {
        let mut all = self.clone();
        for (section, place) in &more.sections {
            all.learn(object, Subject::Section(*section, 0), *place)?;
        }
        for (symbol, place) in &more.symbols {
            all.learn(object, Subject::Symbol(*symbol), *place)?;
        }
        Ok(all)
    }

    /// Whether a symbol has a name of its own by which others could be meant.
    pub(crate) fn named(object: &ObjectFile, id: SymbolId) -> Option<&str> {
        let symbol = &object[id];
        let named = !symbol.name.is_empty() && symbol.kind != SymbolKind::Section;
        named.then_some(symbol.name.as_str())
    }
}

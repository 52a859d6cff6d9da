//! Strings of a table that is being written.

use std::collections::BTreeMap;

use crate::Binding;
use crate::Definition;
use crate::ObjectFile;
use crate::Section;
use crate::SectionId;
use crate::Symbol;
use crate::SymbolId;
use crate::SymbolKind;
use crate::section_flags;

/// A section of NUL-terminated strings, each stored once. It is loaded and not mergeable: linkers put
/// such sections of several objects one behind the other.
#[derive(Debug)]
pub struct Strings {
    section: SectionId,
    symbol: SymbolId,
    offsets: BTreeMap<String, u64>,
}

impl Strings {
    /// Adds an empty section called `name` to `output`.
    pub fn new(output: &mut ObjectFile, name: &str) -> Self {
        let section = output.add_section(Section::progbits(name, section_flags::ALLOC, 1));
        let symbol = output.add_symbol(Symbol {
            kind: SymbolKind::Section,
            definition: Definition::Section(section),
            ..Symbol::undefined("", Binding::Local)
        });
        Strings { section, symbol, offsets: BTreeMap::new() }
    }

    /// Symbol and addend of `text` in `output`, which must be that of [`Strings::new`].
    pub fn add(&mut self, output: &mut ObjectFile, text: &str) -> (SymbolId, u64) {
        let section = &mut output.sections[self.section.0 as usize];
        let offset = *self.offsets.entry(text.to_owned()).or_insert_with(|| {
            let offset = section.data.len() as u64;
            section.data.extend_from_slice(text.as_bytes());
            section.data.push(0);
            section.size = section.data.len() as u64;
            offset
        });
        (self.symbol, offset)
    }
}

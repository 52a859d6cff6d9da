//! What every emitted object has to be, whatever the case: readable by the project and by binutils,
//! linkable, and with nothing in its tables that leads nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch;
use kpatch_elf::livepatch::LivepatchSymbol;

use crate::case::Referred;
use crate::compile;
use crate::expect::plain;

/// An emitted object under test.
#[derive(Debug)]
pub(crate) struct Emitted<'a> {
    object: &'a ObjectFile,
}

impl<'a> Emitted<'a> {
    pub(crate) fn new(object: &'a ObjectFile) -> Self {
        Emitted { object }
    }

    /// Names behind the placeholders, sorted.
    pub(crate) fn placeholders(&self) -> Vec<String> {
        let mut names: Vec<String> =
            placeholder_table(self.object).iter().map(|(_, meant)| plain(&meant.name)).collect();
        names.sort();
        names
    }

    /// What a symbol's section, or all sections of a name, refer to.
    pub(crate) fn references_of(&self, from: &str) -> Result<BTreeSet<Referred>, String> {
        let sections: Vec<SectionId> = match from.starts_with(['.', '_']) {
            true => self
                .object
                .sections_with_ids()
                .filter(|(_, section)| section.name == from)
                .map(|(id, _)| id)
                .collect(),
            false => self
                .object
                .symbols
                .iter()
                .filter(|s| plain(&s.name) == from)
                .filter_map(Symbol::section)
                .collect(),
        };
        if sections.is_empty() {
            return Err(format!("`{from}` was not emitted"));
        }
        let table = placeholder_table(self.object);
        let relocations = sections.iter().flat_map(|id| &self.object[*id].relocations);
        Ok(relocations.flat_map(|relocation| self.referred(&table, relocation)).collect())
    }

    fn referred(
        &self,
        table: &[(SymbolId, LivepatchSymbol)],
        relocation: &Relocation,
    ) -> Vec<Referred> {
        let symbol = &self.object[relocation.symbol];
        if let Some((_, meant)) = table.iter().find(|(id, _)| *id == relocation.symbol) {
            return vec![Referred::Placeholder(plain(&meant.name))];
        }
        let Some(section) = symbol.section() else {
            return vec![Referred::Plain(symbol.name.clone())];
        };
        let named = self.object.symbols.iter().filter(|s| s.section() == Some(section));
        named.filter(|s| !s.name.is_empty()).map(|s| Referred::Here(plain(&s.name))).collect()
    }

    /// Bytes in all sections of a name.
    pub(crate) fn size_of(&self, section: &str) -> u64 {
        self.object.sections.iter().filter(|s| s.name == section).map(|s| s.size).sum()
    }

    /// Whether some section holds that text.
    pub(crate) fn has_text(&self, text: &str) -> bool {
        let holds = |data: &[u8]| data.windows(text.len()).any(|part| part == text.as_bytes());
        self.object.sections.iter().any(|section| holds(&section.data))
    }
}

/// The NUL-terminated string that a relocation of a table points at.
fn string(object: &ObjectFile, relocation: &Relocation) -> Option<String> {
    let symbol = &object[relocation.symbol];
    let at = usize::try_from(symbol.value as i64 + relocation.addend).ok()?;
    let rest = object[symbol.section()?].data.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

fn table<'a>(object: &'a ObjectFile, name: &str) -> &'a [Relocation] {
    object.section_by_name(name).map_or(&[], |id| &object[id].relocations)
}

/// The placeholders and what each stands for; a broken record is left out, and then missed.
pub(crate) fn placeholder_table(object: &ObjectFile) -> Vec<(SymbolId, LivepatchSymbol)> {
    let records = table(object, livepatch::PLACEHOLDERS).chunks(3);
    let parse = |record: &[Relocation]| {
        let meant = LivepatchSymbol::parse(&string(object, record.get(2)?)?).ok()?;
        string(object, &record[1])?;
        Some((record[0].symbol, meant))
    };
    records.filter_map(parse).collect()
}

/// The table of patched functions names exactly these.
pub(crate) fn names_patched_functions(
    object: &ObjectFile,
    changed: &[String],
) -> Result<(), String> {
    let relocations = table(object, livepatch::FUNCTIONS);
    let size = Emitted::new(object).size_of(livepatch::FUNCTIONS);
    if size != (changed.len() * livepatch::FUNCTION_RECORD) as u64 {
        return Err(format!("{size} bytes of records for {changed:?}"));
    }
    let mut found = Vec::new();
    for record in relocations.chunks(3) {
        let [new, name, owner] = record else { return Err("a record is cut".into()) };
        let symbol = &object[new.symbol];
        let is_local_function =
            symbol.kind == SymbolKind::Function && symbol.binding == Binding::Local;
        if !is_local_function || new.addend != 0 {
            return Err(format!("a record leads to {symbol:?} + {}", new.addend));
        }
        if string(object, owner).as_deref() != Some(livepatch::VMLINUX) {
            return Err("a record without object".into());
        }
        found.push(plain(&string(object, name).unwrap_or_default()));
    }
    found.sort();
    let mut wanted: Vec<String> = changed.iter().map(|name| plain(name)).collect();
    wanted.sort();
    if found == wanted { Ok(()) } else { Err(format!("records {found:?}, changed {wanted:?}")) }
}

/// All that holds for any emitted object.
pub(crate) fn is_sound(object: &ObjectFile, directory: &Path) -> Result<(), String> {
    leads_somewhere(object)?;
    alternatives_are_whole(object)?;
    let bytes = kpatch_elf::write(object).map_err(|e| format!("{e:#}"))?;
    let again = kpatch_elf::read(&bytes).map_err(|e| e.to_string())?;
    leads_somewhere(&again)?;
    if kpatch_elf::write(&again).map_err(|e| format!("{e:#}"))? != bytes {
        return Err("written again it is another file".into());
    }
    let path = directory.join("emitted.o");
    fs::write(&path, bytes).map_err(|e| e.to_string())?;
    let complaints = compile::run(Command::new("readelf").arg("-WSrs").arg(&path))?;
    if !complaints.is_empty() {
        return Err(format!("readelf: {complaints}"));
    }
    let linked = directory.join("linked.o");
    let mut ld = Command::new("ld");
    compile::run(ld.args(["-r", "--fatal-warnings", "-o"]).arg(linked).arg(&path))?;
    Ok(())
}

/// Entries keep the layout that the kernel, objtool and the converter know: two relocations each, in 12
/// to 14 bytes.
fn alternatives_are_whole(object: &ObjectFile) -> Result<(), String> {
    for section in object.sections.iter().filter(|s| s.name == ".altinstructions") {
        let entries = section.relocations.len() as u64 / 2;
        let fits = |size| entries * size == section.size;
        if !(12..=14).any(fits) || section.relocations.len() % 2 != 0 {
            return Err(format!("{} relocations in {}", section.relocations.len(), section.name));
        }
    }
    Ok(())
}

fn leads_somewhere(object: &ObjectFile) -> Result<(), String> {
    for section in &object.sections {
        if [".init", ".exit"].iter().any(|gone| section.name.starts_with(gone)) {
            return Err(format!("`{}` goes away", section.name));
        }
        let mut end = 0;
        for relocation in &section.relocations {
            let place = || format!("`{}`+{:#x}", section.name, relocation.offset);
            let width = relocation.kind.width().unwrap_or(0) as u64;
            if relocation.offset < end || relocation.offset + width > section.size {
                return Err(format!("{}: overlaps or lies outside", place()));
            }
            if section.kind == SectionKind::Nobits {
                return Err(format!("{}: nothing is there", place()));
            }
            end = relocation.offset + width;
            let symbol = object
                .symbols
                .get(relocation.symbol.0 as usize)
                .ok_or_else(|| format!("{}: no such symbol", place()))?;
            leads_to(object, relocation, symbol).map_err(|e| format!("{}: {e}", place()))?;
        }
    }
    let known: BTreeSet<SymbolId> = placeholder_table(object).into_iter().map(|r| r.0).collect();
    let weak: BTreeSet<SymbolId> = object
        .symbols_with_ids()
        .filter(|(_, s)| s.binding == Binding::Weak && s.definition == Definition::Undefined)
        .map(|(id, _)| id)
        .collect();
    if weak != known {
        return Err(format!("weak undefined symbols {weak:?}, placeholders {known:?}"));
    }
    Ok(())
}

fn leads_to(object: &ObjectFile, relocation: &Relocation, symbol: &Symbol) -> Result<(), String> {
    let Some(id) = symbol.section() else {
        let undefined = symbol.definition == Definition::Undefined && !symbol.name.is_empty();
        // A relocation without symbol is a fixed address.
        let fixed = relocation.symbol == SymbolId::NULL && relocation.addend != 0;
        return if undefined || fixed { Ok(()) } else { Err(format!("leads to {symbol:?}")) };
    };
    let section = object.sections.get(id.0 as usize).ok_or("leads to no section")?;
    if symbol.value > section.size {
        return Err(format!("`{}` is outside `{}`", symbol.name, section.name));
    }
    // An instruction of 15 bytes at most separates the field from what it counts from; pointers to
    // the end of an array, or one before its start, are wide of the mark by an element.
    let at = symbol.value as i64 + relocation.addend;
    if at < -64 || at > section.size as i64 + 64 {
        return Err(format!("leads to `{}`{at:+#x}", section.name));
    }
    Ok(())
}

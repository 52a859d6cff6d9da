//! What the comparison found and what goes into the patch, one line each: for `--debug`.

use kpatch_elf::Binding;

use crate::Difference;
use crate::compare::Reason;
use crate::compare::What;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::side::Side;

impl Difference<'_> {
    /// Every pair that differs, with the reason, then every piece that goes into the patch.
    pub fn details(&self) -> Vec<String> {
        let Difference { patched, correlation, selection, .. } = self;
        let mut lines = Vec::new();
        let changed =
            selection.changed.iter().chain(&selection.copied).chain(&selection.changed_data);
        for (id, reason) in changed {
            let old = correlation.original_of(*id).map_or("", |o| self.original.name(o));
            let section = &patched.section(*id).name;
            let name = match patched.name(*id) {
                name if name == old => name.to_owned(),
                name => format!("{name} (was {old})"),
            };
            lines.push(format!("{name} in {section} differs: {}", described(patched, reason)));
        }
        for id in &selection.included {
            let new = if correlation.original_of(*id).is_none() { "new " } else { "" };
            lines.push(format!("takes {new}{}", piece(patched, *id)));
        }
        lines
    }
}

/// A piece as a user knows it from `readelf`.
fn piece(side: &Side<'_>, id: AtomId) -> String {
    let atom = &side.atoms[id];
    let what = match atom.kind {
        AtomKind::Function => "function",
        AtomKind::Data => "variable",
        AtomKind::String => "string",
        AtomKind::Constant => "constant",
        AtomKind::Anonymous => "data",
        AtomKind::Fragment => "code",
    };
    let name = match side.symbol(id) {
        Some(symbol) if symbol.binding == Binding::Local => format!(" {}", symbol.name),
        Some(symbol) => format!(" {} (global)", symbol.name),
        None => String::new(),
    };
    let (section, size) = (&side.section(id).name, atom.end - atom.start);
    format!("{what}{name}: {size} bytes at {section}+{:#x}", atom.start)
}

fn described(patched: &Side<'_>, reason: &Reason) -> String {
    let what = kind(patched, &reason.what);
    match (reason.original, reason.patched) {
        (Some(original), Some(patched)) if original == patched => format!("{what} at {patched:#x}"),
        (Some(original), Some(patched)) => format!("{what} at {original:#x}, now {patched:#x}"),
        (Some(original), None) => format!("{what} at {original:#x} of the original"),
        (None, Some(patched)) => format!("{what} at {patched:#x} of the patched"),
        (None, None) => what,
    }
}

fn kind(patched: &Side<'_>, what: &What) -> String {
    match what {
        What::Size => "size".to_owned(),
        What::Memory => "kind of memory".to_owned(),
        What::Bytes => "bytes".to_owned(),
        What::Instruction => "instruction".to_owned(),
        What::Reference => "reference".to_owned(),
        What::References => "number of references".to_owned(),
        What::Entry(section) => format!("entry in {section}"),
        What::ColdPart { part, what } => {
            format!("{} in {}", kind(patched, what), patched.name(*part))
        }
        What::Callee { function, what } => {
            format!("{} in {}, which it calls", kind(patched, what), patched.name(*function))
        }
    }
}

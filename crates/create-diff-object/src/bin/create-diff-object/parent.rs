//! What the command line says of the running kernel. It is read only for an object that changed.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use create_diff_object::kernel::symbols::Resolution;
use create_diff_object::kernel::symbols::Symbols;
use create_diff_object::kernel::symbols::Wanted;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_refusal::Refusal;
use shipped_kernel::Exports;
use shipped_kernel::symvers;

/// Reads `Module.symvers`; an empty file, such as /dev/null, has no exports.
pub(crate) fn exports(path: &Path) -> Result<Exports> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
    if text.trim().is_empty() {
        return Ok(Exports::new());
    }
    // A file that cannot be used is an error, not a property of the patch.
    symvers::parse(&name, &text)
        .map_err(|refusals| anyhow::anyhow!("cannot use `{name}`: {refusals}"))
}

/// Passes questions on and notes the answers.
pub(crate) struct Noting<'a> {
    symbols: &'a dyn Symbols,
    notes: RefCell<Vec<String>>,
}

impl<'a> Noting<'a> {
    pub(crate) fn new(symbols: &'a dyn Symbols) -> Self {
        Noting { symbols, notes: RefCell::default() }
    }

    pub(crate) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }
}

fn described(symbol: &LivepatchSymbol) -> String {
    let position = match symbol.position {
        0 => "the only one".to_owned(),
        position => format!("number {position}"),
    };
    format!("`{}` of `{}`, {position} of that name", symbol.name, symbol.object)
}

impl Symbols for Noting<'_> {
    fn patched_object(&self) -> &str {
        self.symbols.patched_object()
    }

    fn resolve(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        let answer = self.symbols.resolve(wanted)?;
        let how = match &answer {
            Resolution::Ordinary => "by the module loader".to_owned(),
            Resolution::Livepatch { placeholder, .. } => {
                format!("by livepatch: {}", described(&placeholder.symbol))
            }
        };
        self.notes.borrow_mut().push(format!("symbol {} resolved {how}", wanted.name));
        Ok(answer)
    }

    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal> {
        let answer = self.symbols.patched_function(wanted)?;
        let note = format!("function {} replaces {}", wanted.name, described(&answer));
        self.notes.borrow_mut().push(note);
        Ok(answer)
    }
}

//! A kernel that knows what a case says of it: some names are exported, modules own some, and all
//! others are there for the livepatch core to find.

use create_diff_object::kernel::symbols::Resolution;
use create_diff_object::kernel::symbols::Symbols;
use create_diff_object::kernel::symbols::Wanted;
use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::Placeholder;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::case::Case;

/// The kernel that runs the original object.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    pub(crate) case: &'a Case,
    pub(crate) original: &'a ObjectFile,
}

impl Kernel<'_> {
    /// A name that the differ takes for one of the compared object has to be there, under that very
    /// name and as visible as said: this is how the shipped kernel is searched.
    fn check(&self, wanted: Wanted<'_>) -> Result<(), Refusal> {
        let mut named = self.original.symbols.iter().filter(|s| s.name == wanted.name);
        let known = named.any(|symbol| {
            symbol.section().is_some() && (symbol.binding == Binding::Local) == wanted.local
        });
        if known || !wanted.defined_here {
            return Ok(());
        }
        let message = format!("the kernel has no such symbol: {wanted:?}");
        Err(Refusal::new(Code::SymbolNotFound, Place::default().symbol(wanted.name), message, ""))
    }
}

fn livepatch_symbol(object: &str, name: &str) -> LivepatchSymbol {
    LivepatchSymbol { object: object.to_owned(), name: name.to_owned(), position: 0 }
}

impl Symbols for Kernel<'_> {
    fn patched_object(&self) -> &str {
        VMLINUX
    }

    fn resolve(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        self.check(wanted)?;
        let exported = wanted.name == "__fentry__"
            || wanted.name.starts_with("__x86_")
            || self.case.exported.iter().any(|name| name == wanted.name);
        if exported && !wanted.local {
            return Ok(Resolution::Ordinary);
        }
        let owner = self.case.modules.iter().find(|(_, name)| name == wanted.name);
        let owner = owner.map_or(VMLINUX, |(module, _)| module);
        let symbol = livepatch_symbol(owner, wanted.name);
        let placeholder = Placeholder { applied_with: owner.to_owned(), symbol };
        Ok(Resolution::Livepatch { placeholder, plain_name: false })
    }

    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal> {
        self.check(wanted)?;
        Ok(livepatch_symbol(VMLINUX, wanted.name))
    }
}

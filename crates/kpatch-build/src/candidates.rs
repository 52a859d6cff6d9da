//! All symbols that a name could mean, in the order in which the kernel counts them, each with its place
//! and with the position by which livepatch names it.

use kpatch_elf::SymbolId;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::modules::Binding;
use shipped_kernel::modules::SymbolSection;
use shipped_kernel::symbols;

use crate::modules::PatchedModule;

/// One symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is, if that can be compared with what code tells.
    pub place: Option<run_pre::Place>,
    /// How livepatch names it; `None` if it cannot.
    pub position: Option<u32>,
    /// Whether other objects see it.
    pub global: bool,
    /// Whether it is a weak definition.
    pub weak: bool,
    /// Its index in the table that it is from.
    pub index: usize,
    /// Place and kind, for messages.
    pub shown: String,
}

/// Those of vmlinux. Capital letters are global (scripts/kallsyms.c, nm).
pub fn in_kernel(kallsyms: &Kallsyms, name: &str) -> Vec<Candidate> {
    let all =
        kallsyms.positions(name).iter().filter_map(|index| Some((*index, kallsyms.get(*index)?)));
    let candidate = |(index, symbol): (usize, shipped_kernel::Symbol<'_>)| Candidate {
        place: Some(run_pre::Place::Address(symbol.address as u32)),
        position: symbols::kernel_position(kallsyms, name, symbol.address).and_then(number),
        global: symbol.kind.is_ascii_uppercase(),
        weak: matches!(symbol.kind, 'W' | 'V'),
        index,
        shown: format!("{:#x} ({})", symbol.address, symbol.kind),
    };
    all.map(candidate).collect()
}

/// Those of a module that is patched.
pub fn in_module(module: &PatchedModule, name: &str) -> Vec<Candidate> {
    let mut all = in_file(&module.shipped, name);
    for candidate in &mut all {
        let id = u32::try_from(candidate.index).ok().map(SymbolId);
        candidate.place = id.and_then(|id| module.loadable.place_of(id));
    }
    all
}

/// Those of any module's file.
pub fn in_file(module: &Module, name: &str) -> Vec<Candidate> {
    let named =
        module.symbols.iter().enumerate().filter(|(_, symbol)| {
            symbol.name == name && symbol.section != SymbolSection::Undefined
        });
    // What only initialisation has is gone when a patch comes.
    let kept = named.filter(|(_, symbol)| module.is_core(symbol));
    let candidate = |(index, symbol): (usize, &shipped_kernel::ModuleSymbol)| Candidate {
        place: None,
        position: symbols::module_position(module, index).and_then(number),
        global: symbol.binding != Binding::Local,
        weak: symbol.binding == Binding::Weak,
        index,
        shown: format!("{}+{:#x}", module.section_name(symbol).unwrap_or("?"), symbol.value),
    };
    kept.map(candidate).collect()
}

fn number(position: symbols::Position) -> Option<u32> {
    u32::try_from(position.0).ok()
}

/// All of them, for messages.
pub fn list(all: &[Candidate]) -> String {
    let shown: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(nth, candidate)| format!("{} at {}", nth + 1, candidate.shown))
        .collect();
    shown.join(", ")
}

/// The first of several refusals, where one is asked for.
pub(crate) fn first(refusals: Refusals) -> Refusal {
    let Refusals(mut all) = refusals;
    all.swap_remove(0)
}

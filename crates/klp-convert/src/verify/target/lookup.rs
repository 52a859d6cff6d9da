//! Names as the kernel's livepatch core will look them up (`klp_find_object_symbol` in
//! `kernel/livepatch/core.c`).

use kpatch_elf::livepatch::VMLINUX;
use shipped_kernel::Found as Count;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::ModuleSymbol;
use shipped_kernel::Position;
use shipped_kernel::modules::SymbolKind;
use shipped_kernel::modules::SymbolSection;
use shipped_kernel::symbols;

use super::Target;
use crate::verify::report::Found;
use crate::verify::report::Where;

/// A symbol of the kernel or a module.
#[derive(Debug, Clone, Copy)]
pub(super) enum Symbol<'a> {
    Kernel { address: u64, size: u64, kind: char },
    Module { module: &'a Module, symbol: &'a ModuleSymbol, section: usize },
}

impl Symbol<'_> {
    pub(super) fn shown(&self) -> Found {
        match self {
            Self::Kernel { address, kind, .. } => {
                Found { kind: *kind, place: Where::Address(*address) }
            }
            Self::Module { module, symbol, section } => Found {
                kind: match symbol.kind {
                    SymbolKind::Function => 't',
                    SymbolKind::Object => 'd',
                    _ => '?',
                },
                place: Where::Section {
                    name: module.sections.get(*section).map_or("", |s| &s.name).to_owned(),
                    offset: symbol.value,
                },
            },
        }
    }
}

/// The symbol that the kernel finds; `None` if nobody gave the object.
///
/// # Errors
/// Why it finds none.
pub(super) fn find<'a>(
    target: &Target<'a>,
    object: &str,
    name: &str,
    position: u64,
) -> Result<Option<Symbol<'a>>, String> {
    if object == VMLINUX {
        let Some((_, kallsyms)) = target.kernel else { return Ok(None) };
        return in_kernel(kallsyms, name, position).map(Some);
    }
    let Some(modules) = target.modules else { return Ok(None) };
    let module = modules.get(object).ok_or_else(|| format!("there is no module `{object}`"))?;
    in_module(module, name, position).map(Some)
}

fn ambiguous(object: &str, name: &str, count: usize) -> String {
    format!("`{name}` is {count} times in `{object}`, and the position 0 names none of them")
}

fn beyond(object: &str, name: &str, count: usize, position: u64) -> String {
    format!("`{name}` is {count} times in `{object}`: there is no position {position}")
}

fn in_kernel<'a>(kallsyms: &Kallsyms, name: &str, position: u64) -> Result<Symbol<'a>, String> {
    let all = kallsyms.positions(name);
    let nth = match (all.len(), position) {
        (0, _) => return Err(format!("`{name}` is not in the kernel's symbol table")),
        (1, 0) => 0,
        (count, 0) => return Err(ambiguous(VMLINUX, name, count)),
        (_, position) => position - 1,
    };
    let index = usize::try_from(nth).ok().and_then(|nth| all.get(nth));
    let index = *index.ok_or_else(|| beyond(VMLINUX, name, all.len(), position))?;
    let symbol = kallsyms.get(index).filter(|symbol| symbol.address != 0);
    let symbol =
        symbol.ok_or_else(|| format!("`{name}` is at address 0, as if it were not there"))?;
    let size = kallsyms.size(index).unwrap_or(0);
    Ok(Symbol::Kernel { address: symbol.address, size, kind: symbol.kind })
}

fn in_module<'a>(module: &'a Module, name: &str, position: u64) -> Result<Symbol<'a>, String> {
    let object = &module.name;
    let count = match symbols::find_in_module(module, name) {
        Count::None => return Err(format!("`{name}` is not in the symbol table of `{object}`")),
        Count::Unique => 1,
        Count::Many(count) if position == 0 => return Err(ambiguous(object, name, count)),
        Count::Many(count) => count,
    };
    let defined =
        module.symbols.iter().enumerate().filter(|(_, symbol)| {
            symbol.section != SymbolSection::Undefined && symbol.name == name
        });
    let nth = usize::try_from(position.saturating_sub(1)).ok();
    let found = nth.and_then(|nth| defined.clone().nth(nth));
    let (index, symbol) = found.ok_or_else(|| beyond(object, name, count, position))?;
    // The position 1 of a unique name is as good as 0.
    let wanted = usize::try_from(if count == 1 { 0 } else { position }).map(Position).ok();
    match (symbols::module_position(module, index), symbol.section) {
        (found, SymbolSection::Index(section)) if found.is_some() && found == wanted => {
            Ok(Symbol::Module { module, symbol, section })
        }
        _ => Err(format!(
            "`{name}` of `{object}` has another position once the module has initialised"
        )),
    }
}

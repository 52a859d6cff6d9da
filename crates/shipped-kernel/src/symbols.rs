//! Names as the kernel's livepatch core looks them up: how many there are, and at which position.
//!
//! Source: `klp_find_object_symbol` in kernel/livepatch/core.c. For vmlinux the kernel counts the
//! entries of kallsyms, for a module the defined symbols of its table. Bias: a position that
//! depends on whether the module has finished its initialisation is none.

use crate::kallsyms::Kallsyms;
use crate::modules::Module;
use crate::modules::ModuleSymbol;
use crate::modules::SymbolSection;

/// How many symbols of a name the kernel finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// None, or only one that livepatch takes for none.
    None,
    /// Exactly one: position 0 names it.
    Unique,
    /// This many: each needs its position.
    Many(usize),
}

/// The number behind the comma of `.klp.sym.OBJECT.NAME,POSITION`, and `old_sympos`: 0 for a unique
/// name, else from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub usize);

/// How many symbols of a name vmlinux has.
pub fn find_in_kernel(kallsyms: &Kallsyms, name: &str) -> Found {
    match kallsyms.positions(name) {
        [] => Found::None,
        // Livepatch takes address 0, the first per-CPU symbol before 6.15, for "not found".
        [index] if address(kallsyms, *index) == 0 => Found::None,
        [_] => Found::Unique,
        all => Found::Many(all.len()),
    }
}

/// The position by which the kernel finds the symbol of this name at this address (to which
/// vmlinux is linked). `None` if there is no such symbol, or if livepatch cannot name it.
pub fn kernel_position(kallsyms: &Kallsyms, name: &str, address_wanted: u64) -> Option<Position> {
    let all = kallsyms.positions(name);
    if address_wanted == 0 {
        return None;
    }
    let nth = all.iter().position(|&index| address(kallsyms, index) == address_wanted)?;
    Some(Position(if all.len() == 1 { 0 } else { nth + 1 }))
}

fn address(kallsyms: &Kallsyms, index: usize) -> u64 {
    kallsyms.get(index).map_or(0, |symbol| symbol.address)
}

/// How many symbols of a name a module has. Counted over the complete table, of which the kernel
/// keeps a part once the module has initialised: a name that is unique here is unique always.
/// A name that only initialisation code has is not found.
pub fn find_in_module(module: &Module, name: &str) -> Found {
    let defined: Vec<_> = defined(module, name).collect();
    if !defined.iter().any(|(_, symbol)| module.is_core(symbol)) {
        return Found::None;
    }
    match defined.len() {
        1 => Found::Unique,
        many => Found::Many(many),
    }
}

/// The position by which the kernel finds the symbol at `index` of the module's table. `None` if
/// there is no such symbol, if it is gone after initialisation, or if the position before
/// initialisation (complete table) is not the one after it (without `.init` sections): kernels
/// look into the one or the other, depending on whether the module or the patch came first.
pub fn module_position(module: &Module, index: usize) -> Option<Position> {
    let symbol = module.symbols.get(index).filter(|symbol| module.is_core(symbol))?;
    let position = |kept: &dyn Fn(&ModuleSymbol) -> bool| {
        let all: Vec<usize> = defined(module, &symbol.name)
            .filter(|(_, symbol)| kept(symbol))
            .map(|(index, _)| index)
            .collect();
        let nth = all.iter().position(|&other| other == index)?;
        Some(Position(if all.len() == 1 { 0 } else { nth + 1 }))
    };
    let before = position(&|_| true)?;
    let after = position(&|symbol| module.is_core(symbol))?;
    (before == after).then_some(before)
}

fn defined<'a>(
    module: &'a Module,
    name: &'a str,
) -> impl Iterator<Item = (usize, &'a ModuleSymbol)> {
    module.symbols.iter().enumerate().filter(move |(_, symbol)| {
        symbol.section != SymbolSection::Undefined && !name.is_empty() && symbol.name == name
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::tests::module;

    #[test]
    fn counts_module_symbols_as_the_kernel_does() {
        let module = module(&[
            ("unique", ".text"),
            ("pair", ".text"),
            ("pair", ".data"),
            ("start", ".init.text"),
            ("late", ".text"),
            ("late", ".init.text"),
            ("early", ".init.text"),
            ("early", ".text"),
            ("_printk", ""),
            ("three", ".text"),
            ("three", ".text"),
            ("three", ".init.data"),
        ]);
        let found = |name| find_in_module(&module, name);
        assert_eq!(found("unique"), Found::Unique);
        assert_eq!(found("pair"), Found::Many(2));
        assert_eq!(found("start"), Found::None, "gone after initialisation");
        assert_eq!(found("_printk"), Found::None, "not defined here");
        assert_eq!(found("absent"), Found::None);
        assert_eq!(found(""), Found::None);
        assert_eq!(found("late"), Found::Many(2));

        let position = |index| module_position(&module, index).map(|position| position.0);
        // Index 0 is the empty symbol of every table.
        assert_eq!(position(0), None);
        assert_eq!(position(1), Some(0));
        assert_eq!((position(2), position(3)), (Some(1), Some(2)));
        assert_eq!(position(4), None, "gone after initialisation");
        assert_eq!(position(5), None, "1 before, 0 after initialisation");
        assert_eq!(position(8), None, "2 before, 0 after initialisation");
        assert_eq!(position(9), None, "not defined here");
        assert_eq!((position(10), position(11)), (Some(1), Some(2)));
        assert_eq!(position(100), None);
    }
}

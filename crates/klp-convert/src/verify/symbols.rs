//! The symbol table: places, livepatch names, nothing that resolves to 0 in silence.

use goblin::elf::section_header::SHN_ABS;
use goblin::elf::section_header::SHN_COMMON;
use goblin::elf::section_header::SHN_UNDEF;
use goblin::elf::sym::STB_LOCAL;
use goblin::elf::sym::STB_WEAK;
use kpatch_elf::SHN_LIVEPATCH;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::broken;
use super::image::Image;
use crate::refuse::name_refusal;

/// Checks all symbols; gives the names of the livepatch symbols, sorted.
pub(super) fn check(image: &Image<'_>, refusals: &mut Vec<Refusal>) -> Vec<String> {
    let mut names = Vec::new();
    for symbol in image.symbols.iter().skip(1) {
        let name = symbol.name;
        match symbol.raw.st_shndx {
            index if index == usize::from(SHN_LIVEPATCH) => {
                match LivepatchSymbol::parse(name) {
                    Err(error) => refusals.push(name_refusal(name, &error)),
                    // `%lu` takes no sign.
                    Ok(symbol) if symbol.to_string() != name => {
                        refusals.push(broken(name, "the position is not a plain decimal number"));
                    }
                    Ok(_) => {}
                }
                if symbol.raw.st_bind() == STB_LOCAL {
                    refusals.push(broken(name, "a livepatch symbol is local"));
                }
                names.push(name.to_owned());
                continue;
            }
            index if index == SHN_UNDEF as usize => refusals.extend(undefined(name, symbol)),
            index if index == SHN_ABS as usize => {}
            index if index == SHN_COMMON as usize => {
                refusals.push(broken(name, "the loader refuses common symbols"));
            }
            index if index < image.sections.len() => {}
            index => {
                let message = format!("the symbol is in section {index:#x}, which does not exist");
                refusals.push(broken(name, message));
            }
        }
        if name.starts_with(".klp.sym.") {
            refusals.push(broken(name, "a symbol with a livepatch name is not SHN_LIVEPATCH"));
        }
    }
    let locals = image.sections[image.symtab].header.sh_info as usize;
    let local = |i: usize| image.symbols[i].raw.st_bind() == STB_LOCAL;
    if locals > image.symbols.len() || (0..image.symbols.len()).any(|i| local(i) != (i < locals)) {
        refusals.push(broken("", "local symbols do not come first in the symbol table"));
    }
    names.sort();
    names
}

fn undefined(name: &str, symbol: &super::image::Symbol<'_>) -> Option<Refusal> {
    if symbol.raw.st_bind() == STB_WEAK {
        return Some(Refusal::new(
            Code::WeakUndefinedLeft,
            Place::default().symbol(name),
            "the symbol is weak and undefined: the kernel's loader would make it address 0",
            "the symbol needs a definition in the kernel or in the patch",
        ));
    }
    let ours = [".kpatch.", ".klp.r"].iter().any(|prefix| name.starts_with(prefix));
    ours.then(|| broken(name, "a name of the intermediate module is left undefined"))
}

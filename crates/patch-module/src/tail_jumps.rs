//! Finds replaced functions of a livepatch in Rust that end in a jump to other code of it. A task in that
//! other code has nothing of the replaced function on its stack, so the kernel takes it for one that has
//! left the patch (`klp_check_stack_func()`), and the module might be unloaded under it.
//!
//! Bias: what may be such a jump is one. Code whose address an author hands out (timers, work items,
//! notifiers) is his to take back: he says by `Patch::pin` when he cannot.

use std::collections::BTreeMap;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::FlowControl;
use kpatch_elf::livepatch::FUNCTION_RECORD;
use kpatch_elf::livepatch::FUNCTIONS;
use object::File;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use object::Relocation;
use object::RelocationTarget;
use object::SectionIndex;

/// The names of the replaced functions that jump to other code of the module; those of Rust are mangled.
pub(crate) fn find(file: &File<'_>) -> Vec<String> {
    let Some(table) = file.section_by_name(FUNCTIONS) else { return Vec::new() };
    let functions = table.relocations().filter(|(at, _)| at % FUNCTION_RECORD as u64 == 0);
    let mut found: Vec<String> = functions
        .filter_map(|(_, relocation)| {
            let (section, start) = place(file, &relocation)?;
            let symbol = file.symbols().find(|symbol| {
                symbol.section_index() == Some(section)
                    && symbol.address() == start
                    && symbol.size() > 0
            })?;
            let leaves = leaves(file, section, start, start + symbol.size());
            leaves.then(|| symbol.name().unwrap_or_default().to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether the code from `start` to `end` of a section jumps to other code of the module.
fn leaves(file: &File<'_>, section: SectionIndex, start: u64, end: u64) -> bool {
    let Ok(section) = file.section_by_index(section) else { return true };
    let relocations: BTreeMap<u64, Relocation> =
        section.relocations().filter(|(at, _)| (start..end).contains(at)).collect();
    let range = || Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
    let code = section.data().ok().zip(range()).and_then(|(data, range)| data.get(range));
    let Some(code) = code else { return true };
    Decoder::with_ip(64, code, start, DecoderOptions::NONE).iter().any(|instruction| {
        let jumps = matches!(
            instruction.flow_control(),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        );
        if !jumps || instruction.is_jmp_far() {
            return false;
        }
        let bytes = instruction.ip()..instruction.next_ip();
        match relocations.range(bytes).next() {
            // What is undefined is the kernel's, or the core's, which never sleeps on its own account.
            Some((_, relocation)) => place(file, relocation).is_some(),
            None => !(start..end).contains(&instruction.near_branch_target()),
        }
    })
}

/// Where in the object a relocation points to; `None` if that is elsewhere.
fn place(file: &File<'_>, relocation: &Relocation) -> Option<(SectionIndex, u64)> {
    let RelocationTarget::Symbol(symbol) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(symbol).ok()?;
    let section = symbol.section_index()?;
    Some((section, symbol.address().wrapping_add_signed(relocation.addend())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::Architecture;
    use object::BinaryFormat;
    use object::Endianness;
    use object::RelocationFlags;
    use object::SectionKind;
    use object::SymbolFlags;
    use object::SymbolKind;
    use object::SymbolScope;
    use object::elf;
    use object::write;

    /// Functions `listed` (patched) and `other` (not) one behind the other, and for a jump at 1 to whom it goes.
    fn object(listed: &[u8], other: &[u8], to: Option<&str>) -> Vec<u8> {
        let mut object =
            write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = object.section_id(write::StandardSection::Text);
        let table = object.add_section(vec![], FUNCTIONS.into(), SectionKind::ReadOnlyData);
        let symbol = |object: &mut write::Object<'_>, name: &str, code: Option<&[u8]>| {
            let value = code.map_or(0, |code| object.append_section_data(text, code, 1));
            let size = code.map_or(0, <[u8]>::len) as u64;
            let section = match code {
                Some(_) => write::SymbolSection::Section(text),
                None => write::SymbolSection::Undefined,
            };
            object.add_symbol(write::Symbol {
                name: name.into(),
                value,
                size,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section,
                flags: SymbolFlags::None,
            })
        };
        let first = symbol(&mut object, "listed", Some(listed));
        let second = symbol(&mut object, "other", Some(other));
        let outside = symbol(&mut object, "seq_puts", None);
        object.append_section_data(table, &[0; FUNCTION_RECORD], 8);
        let mut relocation = |section, offset, symbol, addend, r_type| {
            let flags = RelocationFlags::Elf { r_type };
            object
                .add_relocation(section, write::Relocation { offset, symbol, addend, flags })
                .unwrap();
        };
        relocation(table, 0, first, 0, elf::R_X86_64_64);
        if let Some(name) = to {
            let symbol = if name == "other" { second } else { outside };
            relocation(text, 1, symbol, -4, elf::R_X86_64_PLT32);
        }
        object.write().unwrap()
    }

    fn found(listed: &[u8], other: &[u8], to: Option<&str>) -> Vec<String> {
        let data = object(listed, other, to);
        find(&File::parse(&*data).unwrap())
    }

    const JUMP: &[u8] = &[0xe9, 0, 0, 0, 0];
    const CALL: &[u8] = &[0xe8, 0, 0, 0, 0, 0xc3];
    const RETURN: &[u8] = &[0xc3];

    #[test]
    fn a_jump_to_other_code_of_the_module_counts() {
        assert_eq!(found(JUMP, RETURN, Some("other")), ["listed"]);
        assert_eq!(found(JUMP, RETURN, None), ["listed"], "without a relocation");
        // jne to what is behind it.
        assert_eq!(found(&[0x75, 0x01, 0xc3], RETURN, None), ["listed"]);
    }

    #[test]
    fn what_comes_back_or_is_the_kernels_does_not() {
        assert!(found(CALL, RETURN, Some("other")).is_empty(), "a call");
        assert!(found(JUMP, RETURN, Some("seq_puts")).is_empty(), "the kernel's");
        assert!(found(&[0x75, 0x00, 0xc3], RETURN, None).is_empty(), "within the function");
        assert!(found(RETURN, JUMP, None).is_empty(), "another function's");
        // jmp *%rax: objtool makes sure of switch tables, and nothing else jumps so.
        assert!(found(&[0xff, 0xe0], RETURN, None).is_empty());
    }
}

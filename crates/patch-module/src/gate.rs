//! What a patch was built for, as a part of the module: the object with `.kpatch.gate`, which the
//! in-kernel core checks, and the lines of modinfo. The kernel's notes are reached as everything else of
//! the kernel is that modules cannot see: by placeholders, which the converter makes livepatch symbols.

use anyhow::Result;
use anyhow::ensure;
use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::Strings;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::livepatch;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::Placeholder;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::section_flags::ALLOC;

/// The kernel and the modules that a patch may be enabled on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The kernel's build-id, 1 to [`livepatch::BUILD_ID_MAX`] bytes as all of them.
    pub kernel: Vec<u8>,
    /// Where the kernel's notes begin and end: [`livepatch::NOTES`] of its kallsyms.
    pub notes: [LivepatchSymbol; 2],
    /// Each patched module and its build-id.
    pub modules: Vec<(String, Vec<u8>)>,
}

impl Gate {
    /// Name and build-id of each object, the kernel first.
    fn objects(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let modules = self.modules.iter().map(|(name, id)| (name.as_str(), id.as_slice()));
        [(VMLINUX, self.kernel.as_slice())].into_iter().chain(modules)
    }

    /// Number of records.
    pub(crate) fn count(&self) -> usize {
        1 + self.modules.len()
    }

    /// `OBJECT:BUILD-ID` for each object.
    pub(crate) fn built_for(&self) -> Vec<String> {
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.objects().map(|(name, id)| format!("{name}:{}", hex(id))).collect()
    }

    /// The object file.
    ///
    /// # Errors
    /// When a build-id does not fit into a record.
    pub(crate) fn object(&self) -> Result<Vec<u8>> {
        let mut output = ObjectFile::default();
        let notes = self.placeholders(&mut output);
        let mut strings = Strings::new(&mut output, livepatch::FUNCTION_STRINGS);
        let mut table = Section::progbits(livepatch::GATE, ALLOC, 8);
        for (name, id) in self.objects() {
            let fits = (1..=livepatch::BUILD_ID_MAX).contains(&id.len());
            ensure!(fits, "the build-id of `{name}` has {} bytes", id.len());
            let at = table.data.len();
            table.data.resize(at + livepatch::GATE_RECORD, 0);
            let fields = &mut table.data[at + livepatch::GATE_SIZE_AT..];
            fields[..8].copy_from_slice(&(id.len() as u64).to_le_bytes());
            fields[8..8 + id.len()].copy_from_slice(id);
            table.relocations.push(pointer(at, strings.add(&mut output, name)));
            if name == VMLINUX {
                table.relocations.push(pointer(at + 8, (notes[0], 0)));
                table.relocations.push(pointer(at + 16, (notes[1], 0)));
            }
        }
        output.add_section(table);
        kpatch_elf::write(&output)
    }

    /// Placeholders for the ends of the notes, with the table that says what they mean.
    fn placeholders(&self, output: &mut ObjectFile) -> [SymbolId; 2] {
        let mut strings = Strings::new(output, livepatch::PLACEHOLDER_STRINGS);
        let mut table = Section::progbits(livepatch::PLACEHOLDERS, ALLOC, 8);
        let symbols = self.notes.clone().map(|symbol| {
            let placeholder = Placeholder { applied_with: VMLINUX.to_owned(), symbol };
            let name = placeholder.unique_name();
            let symbol = output.add_symbol(Symbol::undefined(name, Binding::Weak));
            let at = table.data.len();
            table.data.resize(at + livepatch::PLACEHOLDER_RECORD, 0);
            let meaning = placeholder.symbol.to_string();
            table.relocations.push(pointer(at, (symbol, 0)));
            table.relocations.push(pointer(at + 8, strings.add(output, VMLINUX)));
            table.relocations.push(pointer(at + 16, strings.add(output, &meaning)));
            symbol
        });
        output.add_section(table);
        symbols
    }
}

fn pointer(offset: usize, (symbol, addend): (SymbolId, u64)) -> Relocation {
    let (offset, addend) = (offset as u64, addend as i64);
    Relocation { offset, kind: RelocationKind::ABS64, symbol, addend }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kpatch_elf::Definition;

    /// A kernel and the modules of these names.
    pub(crate) fn gate(modules: &[&str]) -> Gate {
        let symbol = |name: &str, position| LivepatchSymbol {
            object: VMLINUX.to_owned(),
            name: name.to_owned(),
            position,
        };
        let module = |name: &&str| (String::from(*name), vec![0xef; 16]);
        Gate {
            kernel: vec![0xab; 20],
            notes: [symbol("__start_notes", 0), symbol("__stop_notes", 2)],
            modules: modules.iter().map(module).collect(),
        }
    }

    #[test]
    fn the_object_has_a_record_for_each() {
        let object = kpatch_elf::read(&gate(&["ext4", "jbd2"]).object().unwrap()).unwrap();
        let section = |name| &object[object.section_by_name(name).unwrap()];
        let table = section(livepatch::GATE);
        assert_eq!(table.size, 3 * 64);
        assert_eq!(
            table.data[24..56],
            [&[20, 0, 0, 0, 0, 0, 0, 0], &[0xab; 20][..], &[0; 4]].concat()
        );
        assert_eq!(
            table.data[64 + 24..][..24],
            [&[16, 0, 0, 0, 0, 0, 0, 0], &[0xef; 16][..]].concat()
        );
        let offsets: Vec<u64> = table.relocations.iter().map(|r| r.offset).collect();
        assert_eq!(offsets, [0, 8, 16, 64, 128]);
        assert_eq!(section(livepatch::FUNCTION_STRINGS).data, b"vmlinux\0ext4\0jbd2\0");
        let end = &object[table.relocations[2].symbol];
        assert_eq!(end.name, ".kpatch.placeholder.vmlinux.vmlinux.__stop_notes.2");
        assert_eq!((end.binding, end.definition), (Binding::Weak, Definition::Undefined));
        let meanings = section(livepatch::PLACEHOLDER_STRINGS);
        assert!(meanings.data.ends_with(b"\0.klp.sym.vmlinux.__stop_notes,2\0"));
        assert_eq!(section(livepatch::PLACEHOLDERS).relocations.len(), 6);
    }

    #[test]
    fn modinfo_names_each() {
        let lines = gate(&["ext4"]).built_for();
        let ab = "ab".repeat(20);
        assert_eq!(lines, [format!("vmlinux:{ab}"), format!("ext4:{}", "ef".repeat(16))]);
    }

    #[test]
    fn what_fits_into_no_record_is_an_error() {
        for length in [0, 33] {
            let mut gate = gate(&["ext4"]);
            gate.modules[0].1 = vec![1; length];
            assert!(gate.object().unwrap_err().to_string().contains("`ext4`"));
        }
    }
}

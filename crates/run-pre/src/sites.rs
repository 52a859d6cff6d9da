//! Places of an object where the bytes that run may be others than the compiler's, by rules that have a
//! name, and where instructions end.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolKind;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;

/// `__jump_table`: code, target and key of each static branch (`include/linux/jump_label.h`).
const JUMP_TABLE: &str = "__jump_table";
/// Bytes of its entries, `struct jump_entry` of x86-64.
const JUMP_ENTRY: u64 = 16;
/// What every function that ftrace can redirect calls first.
const FENTRY: &str = "__fentry__";

/// `nop` of 2 and of 5 bytes, as `tools/objtool/arch/x86/decode.c` writes them.
const NOP2: [u8; 2] = [0x66, 0x90];
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
/// `jmp` of 2 and of 5 bytes.
const JMP_REL8: u8 = 0xeb;
const JMP_REL32: u8 = 0xe9;
const CALL_REL32: u8 = 0xe8;

/// Read-only data that the kernel's build fills in after linking: `resolve_btfids` writes type ids.
const FILLED_LATER: [&str; 1] = [".BTF_ids"];

/// Whether the bytes of a section are what the compiler made of them, in what runs, too.
pub(crate) fn is_final(section: &Section) -> bool {
    !FILLED_LATER.contains(&section.name.as_str())
}

/// Whether a section holds code that is loaded.
pub(crate) fn is_code(section: &Section) -> bool {
    section.has(ALLOC | EXEC) && !section.data.is_empty()
}

/// What is known of an object before anything is compared.
#[derive(Debug)]
pub(crate) struct Sites {
    /// First bytes of static branches.
    jumps: BTreeSet<(SectionId, u64)>,
    /// Ends of the instructions that have relocations, by place of the field.
    ends: BTreeMap<(SectionId, u64), u64>,
}

impl Sites {
    pub(crate) fn of(object: &ObjectFile) -> Self {
        Sites { jumps: jumps(object), ends: ends(object) }
    }

    /// How many bytes are another instruction in what runs, by rule: objtool makes a NOP of the jump of a
    /// static branch that is off (`handle_jump_alt` in `tools/objtool/check.c`), and of the call to
    /// `__fentry__` where the compiler cannot (`--mnop`).
    pub(crate) fn rewritten(
        &self,
        object: &ObjectFile,
        section: SectionId,
        at: u64,
        theirs: &[u8],
    ) -> Option<usize> {
        let data = &object[section].data;
        let ours = data.get(usize::try_from(at).ok()?..)?;
        let same_length = match *ours.first()? {
            JMP_REL8 if self.jumps.contains(&(section, at)) => &NOP2[..],
            JMP_REL32 if self.jumps.contains(&(section, at)) => &NOP5[..],
            CALL_REL32 if is_fentry(object, section, at) => &NOP5[..],
            _ => return None,
        };
        theirs.starts_with(same_length).then_some(same_length.len())
    }

    /// Bytes from a relocated field to the end of its instruction; `None` for fields of data.
    pub(crate) fn to_end(&self, section: SectionId, field: u64) -> Option<i64> {
        self.ends.get(&(section, field)).map(|end| (end - field) as i64)
    }
}

fn is_fentry(object: &ObjectFile, section: SectionId, at: u64) -> bool {
    let relocations = object[section].relocations_in(at + 1..at + 2);
    relocations.iter().any(|relocation| object[relocation.symbol].name == FENTRY)
}

/// The section and the offset in it that a relocation without bias refers to.
fn target(object: &ObjectFile, relocation: &Relocation) -> Option<(SectionId, u64)> {
    let symbol = &object[relocation.symbol];
    Some((symbol.section()?, symbol.value.checked_add_signed(relocation.addend)?))
}

fn jumps(object: &ObjectFile) -> BTreeSet<(SectionId, u64)> {
    let tables = object.sections.iter().filter(|section| section.name == JUMP_TABLE);
    let entries = tables.flat_map(|table| &table.relocations);
    let code = entries.filter(|relocation| relocation.offset % JUMP_ENTRY == 0);
    code.filter_map(|relocation| target(object, relocation)).collect()
}

fn ends(object: &ObjectFile) -> BTreeMap<(SectionId, u64), u64> {
    let symbols = object.symbols_by_section();
    let mut ends = BTreeMap::new();
    for (id, section) in object.sections_with_ids().filter(|(_, section)| is_code(section)) {
        // Decoding starts afresh at each function: what lies between need not be code.
        let size = section.data.len() as u64;
        let functions = symbols.of(id).iter().map(|symbol| &object[*symbol]);
        let functions = functions.filter(|symbol| symbol.kind == SymbolKind::Function);
        let mut starts: Vec<u64> = functions.map(|symbol| symbol.value.min(size)).collect();
        starts.insert(0, 0);
        starts.dedup();
        let stops = starts.iter().skip(1).copied().chain([size]);
        for (start, stop) in starts.iter().copied().zip(stops) {
            let bytes = &section.data[start as usize..stop as usize];
            let decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
            for instruction in decoder {
                let fields = section.relocations_in(instruction.ip()..instruction.next_ip());
                ends.extend(fields.iter().map(|f| ((id, f.offset), instruction.next_ip())));
            }
        }
    }
    ends
}

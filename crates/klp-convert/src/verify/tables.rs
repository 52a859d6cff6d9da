//! The tables that the in-kernel core reads: patched functions and callbacks.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use goblin::elf::Reloc;
use goblin::elf::section_header::SHT_RELA;
use goblin::elf::sym::STT_FUNC;
use kpatch_elf::livepatch::CALLBACK_RECORD;
use kpatch_elf::livepatch::CALLBACKS;
use kpatch_elf::livepatch::CallbackKind;
use kpatch_elf::livepatch::FUNCTION_RECORD;
use kpatch_elf::livepatch::FUNCTIONS;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Refusal;

use super::AppliedWith;
use super::broken;
use super::image::Image;

/// Checks the tables that the core reads, as far as they are there: functions must have symbols
/// (`klp_init_object_loaded` looks their sizes up), and a section for a module that the patch does
/// not name would never be applied. Gives the number of functions.
pub(super) fn check(
    image: &Image<'_>,
    bytes: &[u8],
    applied_with: &BTreeMap<String, AppliedWith>,
    refusals: &mut Vec<Refusal>,
) -> usize {
    let functions = records(image, bytes, FUNCTIONS, FUNCTION_RECORD, refusals);
    let callbacks = records(image, bytes, CALLBACKS, CALLBACK_RECORD, refusals);
    if functions.is_empty() && callbacks.is_empty() {
        return 0;
    }
    let mut objects = BTreeSet::from([VMLINUX.to_owned()]);
    for (index, record) in functions.iter().enumerate() {
        let name = record.field(8).and_then(|r| string(image, r));
        if name.is_none_or(str::is_empty) {
            let message = format!("record {index} of `{FUNCTIONS}` has no name to patch");
            refusals.push(broken("", message));
        }
        named(image, (FUNCTIONS, index), record, 16, &mut objects, refusals);
    }
    for (index, record) in callbacks.iter().enumerate() {
        let kind = record.data.get(16..24).and_then(|kind| kind.try_into().ok());
        let kind = kind.map(u64::from_le_bytes);
        if !CallbackKind::ALL.iter().any(|known| Some(known.number()) == kind) {
            let message = format!("record {index} of `{CALLBACKS}` is of no kind of callback");
            refusals.push(broken("", message));
        }
        named(image, (CALLBACKS, index), record, 8, &mut objects, refusals);
    }
    for object in applied_with.keys().filter(|object| !objects.contains(*object)) {
        let message = format!(
            "relocations are to be applied with `{object}`, but nothing of it is patched: the kernel \
             would never apply them"
        );
        refusals.push(broken("", message));
    }
    functions.len()
}

/// A record of a table.
struct Record<'a> {
    data: &'a [u8],
    /// Its relocations by offset in it.
    fields: BTreeMap<u64, Reloc>,
}

impl Record<'_> {
    fn field(&self, offset: u64) -> Option<&Reloc> {
        self.fields.get(&offset)
    }
}

/// The records of all sections `name`.
fn records<'a>(
    image: &Image<'a>,
    bytes: &[u8],
    name: &str,
    size: usize,
    refusals: &mut Vec<Refusal>,
) -> Vec<Record<'a>> {
    let mut records = Vec::new();
    for table in image.named(name) {
        let data = image.sections[table].data;
        if data.len() % size != 0 {
            refusals.push(broken("", format!("`{name}` is not a sequence of records")));
        }
        let first = records.len();
        records
            .extend(data.chunks_exact(size).map(|data| Record { data, fields: BTreeMap::new() }));
        for index in 0..image.sections.len() {
            let header = &image.sections[index].header;
            if header.sh_type != SHT_RELA || header.sh_info as usize != table {
                continue;
            }
            // What is not readable has been reported.
            for relocation in image.relocations(bytes, index).unwrap_or_default() {
                let place = usize::try_from(relocation.r_offset / size as u64).ok();
                let record = place.and_then(|place| records.get_mut(first.checked_add(place)?));
                if let Some(record) = record {
                    record.fields.insert(relocation.r_offset % size as u64, relocation);
                }
            }
        }
    }
    records
}

/// Checks that a record names a function, and takes the name of its object.
fn named(
    image: &Image<'_>,
    (table, index): (&str, usize),
    record: &Record<'_>,
    object: u64,
    objects: &mut BTreeSet<String>,
    refusals: &mut Vec<Refusal>,
) {
    let function = record.field(0).and_then(|r| pointed_at(image, r));
    if !function.is_some_and(|(section, offset)| is_function(image, section, offset)) {
        refusals.push(broken("", format!("record {index} of `{table}` names no function")));
    }
    match record.field(object).map(|r| string(image, r)) {
        Some(Some(object)) => {
            objects.insert(object.to_owned());
        }
        Some(None) => {
            refusals.push(broken("", format!("record {index} of `{table}` has no object name")));
        }
        // A null pointer is vmlinux.
        None => {}
    }
}

/// Section and offset that a pointer of a table refers to.
fn pointed_at(image: &Image<'_>, relocation: &Reloc) -> Option<(usize, u64)> {
    let symbol = &image.symbols.get(relocation.r_sym)?.raw;
    let offset = symbol.st_value.checked_add_signed(relocation.r_addend.unwrap_or(0))?;
    let section = symbol.st_shndx;
    (section != 0 && section < image.sections.len()).then_some((section, offset))
}

fn is_function(image: &Image<'_>, section: usize, offset: u64) -> bool {
    image.symbols.iter().any(|s| {
        s.raw.st_type() == STT_FUNC
            && s.raw.st_shndx == section
            && s.raw.st_value == offset
            && s.raw.st_size > 0
            && !s.name.is_empty()
    })
}

fn string<'a>(image: &Image<'a>, relocation: &Reloc) -> Option<&'a str> {
    let (section, offset) = pointed_at(image, relocation)?;
    let bytes = image.sections[section].data.get(usize::try_from(offset).ok()?..)?;
    let end = bytes.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

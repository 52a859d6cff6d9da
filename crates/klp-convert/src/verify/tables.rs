//! The tables that the in-kernel core reads: patched functions and callbacks; the third is in `gate`.

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
use kpatch_elf::livepatch::NameError;
use kpatch_elf::livepatch::SYMBOL_NAME_MAX;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::livepatch::rela_section_name;
use kpatch_refusal::Refusal;

use super::AppliedWith;
use super::broken;
use super::image::Image;
use crate::refuse::name_refusal;

/// Checks the tables that the core reads, as far as they are there: functions must have symbols
/// (`klp_init_object_loaded` looks their sizes up), and a section for a module that the patch does
/// not name would never be applied. Gives what is patched: the functions, and all objects, of which the
/// kernel is one whatever is patched.
pub(super) fn check(
    image: &Image<'_>,
    bytes: &[u8],
    applied_with: &BTreeMap<String, AppliedWith>,
    refusals: &mut Vec<Refusal>,
) -> (Vec<Patched>, BTreeSet<String>) {
    let functions = records(image, bytes, FUNCTIONS, FUNCTION_RECORD, refusals);
    let callbacks = records(image, bytes, CALLBACKS, CALLBACK_RECORD, refusals);
    let mut patched = Vec::new();
    let mut objects = BTreeSet::from([VMLINUX.to_owned()]);
    if functions.is_empty() && callbacks.is_empty() {
        return (patched, objects);
    }
    for (index, record) in functions.iter().enumerate() {
        let name = record.field(8).and_then(|r| string(image, r));
        if name.is_none_or(str::is_empty) {
            let message = format!("record {index} of `{FUNCTIONS}` has no name to patch");
            refusals.push(broken("", message));
        }
        if let Some(name) = name.filter(|name| name.len() > SYMBOL_NAME_MAX) {
            refusals.push(name_refusal(name, &NameError::TooLong(name.to_owned())));
        }
        named(image, (FUNCTIONS, index), record, 16, &mut objects, refusals);
        let object = record.field(16).map_or(Some(VMLINUX), |r| string(image, r));
        let position = record.data.get(24..32).and_then(|data| data.try_into().ok());
        if let (Some(object), Some(name), Some(position)) = (object, name, position) {
            let position = u64::from_le_bytes(position);
            patched.push(Patched { object: object.to_owned(), name: name.to_owned(), position });
        }
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
    (patched, objects)
}

/// A function that the module patches, as the table names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patched {
    pub(super) object: String,
    pub(super) name: String,
    pub(super) position: u64,
}

/// A record of a table.
pub(super) struct Record<'a> {
    pub(super) data: &'a [u8],
    /// Its relocations by offset in it.
    fields: BTreeMap<u64, Reloc>,
}

impl Record<'_> {
    pub(super) fn field(&self, offset: u64) -> Option<&Reloc> {
        self.fields.get(&offset)
    }
}

/// The records of all sections `name`.
pub(super) fn records<'a>(
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
    let function = record.field(0).and_then(|r| image.pointed_at(r));
    match function.filter(|(section, offset)| is_function(image, *section, *offset)) {
        // `klp_init_func` takes it; the text is gone when the function is first called.
        Some((section, _)) if image.sections[section].name.starts_with(".init") => {
            let message = format!("record {index} of `{table}` names a function that is freed");
            refusals.push(broken("", message));
        }
        Some(_) => {}
        None => {
            refusals.push(broken("", format!("record {index} of `{table}` names no function")));
        }
    }
    match record.field(object).map(|r| string(image, r)) {
        Some(Some(object)) => {
            // `klp_init_object` compares with MODULE_NAME_LEN; `rela_section_name` holds its limit.
            if let Err(error) = rela_section_name(object, "") {
                refusals.push(name_refusal(object, &error));
            }
            objects.insert(object.to_owned());
        }
        Some(None) => {
            refusals.push(broken("", format!("record {index} of `{table}` has no object name")));
        }
        // A null pointer is vmlinux.
        None => {}
    }
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

pub(super) fn string<'a>(image: &Image<'a>, relocation: &Reloc) -> Option<&'a str> {
    let (section, offset) = image.pointed_at(relocation)?;
    let bytes = image.sections[section].data.get(usize::try_from(offset).ok()?..)?;
    let end = bytes.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

//! The debug sections of an object as a linker would fill them: decompressed, with their relocations
//! applied. Every section of the object gets an address range of its own, so that an address says
//! which section it is in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;
use gimli::Dwarf;
use gimli::EndianSlice;
use gimli::FileEntry;
use gimli::LineProgramHeader;
use gimli::LittleEndian;
use gimli::Unit;
use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use kpatch_elf::Section;
use kpatch_elf::SectionId;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::COMPRESSED;

pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Size of `Elf64_Chdr` in bytes: type, reserved, size, alignment.
const COMPRESSION_HEADER: usize = 24;
const ELFCOMPRESS_ZLIB: u32 = 1;
const ELFCOMPRESS_ZSTD: u32 = 2;

/// Debug sections larger than this in bytes are not read: no compiler makes them for one source file.
const LARGEST: u64 = 256 << 20;

/// Sections lie this many bits apart. No section is that long: its bytes would not fit in memory.
const SECTION_SHIFT: u32 = 40;

/// The debug sections that declarations, inlined calls and line programs need.
const SECTIONS: [&str; 7] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_str",
    ".debug_str_offsets",
];

/// The debug sections of an object by name.
#[derive(Debug)]
pub(super) struct Debug<'a>(HashMap<&'a str, Cow<'a, [u8]>>);

impl<'a> Debug<'a> {
    /// Reads those of `object` that are looked at here.
    pub(super) fn read(object: &'a ObjectFile) -> Self {
        let mut sections = HashMap::new();
        for section in &object.sections {
            if SECTIONS.contains(&section.name.as_str()) && !sections.contains_key(&*section.name) {
                if let Some(content) = content(section) {
                    sections.insert(&*section.name, relocated(object, section, content));
                }
            }
        }
        Debug(sections)
    }

    /// The sections for gimli. Those that are not there are empty.
    pub(super) fn dwarf(&self) -> Option<Dwarf<Slice<'_>>> {
        let load = |id: gimli::SectionId| -> Result<Slice<'_>, gimli::Error> {
            let data = self.0.get(id.name()).map_or(&[][..], |data| data);
            Ok(EndianSlice::new(data, LittleEndian))
        };
        Dwarf::load(load).ok()
    }

    /// Calls `each` for every unit that can be read, up to the first header that cannot. One unit that is not
    /// understood says nothing against the next.
    pub(super) fn each_unit(
        &self,
        mut each: impl for<'s> FnMut(&Dwarf<Slice<'s>>, &Unit<Slice<'s>>) -> gimli::Result<()>,
    ) {
        let Some(dwarf) = self.dwarf() else { return };
        let mut units = dwarf.units();
        while let Ok(Some(header)) = units.next() {
            if let Ok(unit) = dwarf.unit(header) {
                let _ = each(&dwarf, &unit);
            }
        }
    }
}

/// The section and the offset in it that an address stands for.
pub(super) fn place(address: u64) -> Option<(SectionId, u64)> {
    let section = u32::try_from(address >> SECTION_SHIFT).ok()?.checked_sub(1)?;
    Some((SectionId(section), address & ((1 << SECTION_SHIFT) - 1)))
}

/// The path of a source file as the compiler was given it.
pub(super) fn path(
    dwarf: &Dwarf<Slice<'_>>,
    unit: &Unit<Slice<'_>>,
    program: &LineProgramHeader<Slice<'_>>,
    file: &FileEntry<Slice<'_>>,
) -> Option<String> {
    let text = |value| dwarf.attr_string(unit, value).ok()?.to_string().ok();
    let path = text(file.path_name())?;
    let directory = file.directory(program).and_then(text);
    let path = match directory {
        // Directory 0 is where the compiler ran; a file there has its whole path in its name.
        Some(directory) if file.directory_index() != 0 && !path.starts_with('/') => {
            Cow::Owned(format!("{directory}/{path}"))
        }
        _ => Cow::Borrowed(path),
    };
    Some(path.trim_start_matches("./").to_owned())
}

fn content(section: &Section) -> Option<Cow<'_, [u8]>> {
    if !section.has(COMPRESSED) {
        return Some(Cow::Borrowed(&section.data));
    }
    let (header, data) = section.data.split_at_checked(COMPRESSION_HEADER)?;
    let (kind, rest) = header.split_first_chunk()?;
    let size = u64::from_le_bytes(*rest[4..].first_chunk()?);
    if size > LARGEST {
        return None;
    }
    let mut content = Vec::new();
    match u32::from_le_bytes(*kind) {
        ELFCOMPRESS_ZLIB => ZlibDecoder::new(data).take(size).read_to_end(&mut content).ok()?,
        ELFCOMPRESS_ZSTD => {
            let decoder = zstd::Decoder::new(data).ok()?;
            decoder.take(size).read_to_end(&mut content).ok()?
        }
        _ => return None,
    };
    (content.len() as u64 == size).then_some(Cow::Owned(content))
}

/// Fills in references to other debug sections, and addresses of code and data.
fn relocated<'a>(object: &ObjectFile, section: &Section, content: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
    if section.relocations.is_empty() {
        return content;
    }
    let mut content = content.into_owned();
    for relocation in &section.relocations {
        let symbol = &object[relocation.symbol];
        let width = match relocation.kind {
            RelocationKind::ABS64 => 8,
            RelocationKind::ABS32 | RelocationKind::ABS32S => 4,
            _ => continue,
        };
        let mut value = symbol.value.wrapping_add_signed(relocation.addend);
        if let Some(id) = symbol.section().filter(|id| width == 8 && object[*id].has(ALLOC)) {
            value = value.wrapping_add((u64::from(id.0) + 1) << SECTION_SHIFT);
        }
        let field = usize::try_from(relocation.offset).ok();
        if let Some(field) = field.and_then(|at| content.get_mut(at..at.checked_add(width)?)) {
            field.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
    Cow::Owned(content)
}

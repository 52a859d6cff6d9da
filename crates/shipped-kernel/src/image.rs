//! The shipped kernel image: `vmlinuz` as an ELF file with its banner and build-id.
//!
//! The image is the truth about the running kernel: its kallsyms is the very table by which the
//! kernel resolves livepatch symbols. Bias: an image that is damaged or of an unknown form is
//! refused as a whole; nothing is guessed from parts of it.

use std::fs::File;
use std::io;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use object::LittleEndian;
use object::elf;
use object::read::elf::FileHeader;
use object::read::elf::NoteIterator;
use object::read::elf::ProgramHeader;
use object::read::elf::SectionHeader;

use crate::banner::Banner;
use crate::decompress;
use crate::decompress::Compression;

type Header = elf::FileHeader64<LittleEndian>;

/// A kernel image, decompressed.
#[derive(Debug, Clone)]
pub struct Image {
    /// The uncompressed kernel, a stripped `vmlinux` (its relocations for KASLR may follow), or of one that is
    /// not stripped what comes before its symbols and debug information.
    pub elf: Vec<u8>,
    /// What the kernel says of itself.
    pub banner: Banner,
    /// The GNU build-id note, as the running kernel shows it in `/sys/kernel/notes`; absent where
    /// the kernel was linked without one.
    pub build_id: Option<Vec<u8>>,
    /// The name by which the user knows the image, for messages.
    pub name: String,
    compression: Option<Compression>,
    segments: Vec<Segment>,
}

/// Bytes of the file that are loaded at a virtual address.
#[derive(Debug, Clone)]
struct Segment {
    address: u64,
    file: Range<usize>,
}

impl Image {
    /// Reads a bzImage (`vmlinuz`) or an uncompressed `vmlinux`.
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] if there is no such file, [`Code::ImageUnreadable`] for whatever
    /// cannot be read or is not an x86-64 Linux kernel.
    pub fn open(path: &Path) -> Result<Self, Refusals> {
        let name = path.display().to_string();
        let data = read_loaded(path).map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::NotFound => Code::TargetIncomplete,
                _ => Code::ImageUnreadable,
            };
            let hint = "name the kernel's `vmlinuz`; it is in the linux-image package";
            let message = format!("cannot be read: {error}");
            Refusals::from(Refusal::new(code, Place::object(&name), message, hint))
        })?;
        Self::parse(&name, data)
    }

    /// Reads an image from its bytes; `name` is for messages.
    ///
    /// # Errors
    /// [`Code::ImageUnreadable`] as for [`Image::open`].
    pub fn parse(name: &str, data: Vec<u8>) -> Result<Self, Refusals> {
        let refuse = |message: String| unreadable(name, message);
        let (elf, compression) = if data.starts_with(&elf::ELFMAG) {
            (data, None)
        } else {
            let (elf, compression) = unpack(&data).map_err(refuse)?;
            (elf, Some(compression))
        };
        let (segments, build_id) = read_headers(&elf).map_err(refuse)?;
        let banner = Banner::find(&elf)
            .ok_or_else(|| refuse("there is no banner (`Linux version ...`) in it".to_string()))?;
        Ok(Self { elf, banner, build_id, name: name.to_string(), compression, segments })
    }

    /// How the kernel is compressed in the image, as the configuration calls it (CONFIG_KERNEL_*):
    /// `gzip`, `zstd` ... `None` for a `vmlinux` that is not.
    pub fn compression(&self) -> Option<&'static str> {
        self.compression.map(Compression::name)
    }

    /// `len` bytes of the file at a virtual address (the address that the kernel is linked to).
    /// `None` if they are not in the file: outside all segments, or zero-initialised.
    pub fn bytes_at(&self, address: u64, len: usize) -> Option<&[u8]> {
        self.bytes_from(address)?.get(..len)
    }

    /// The virtual address at which a byte of the uncompressed file is loaded; `None` if it is not.
    pub fn address_of(&self, offset: usize) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| segment.file.contains(&offset))?;
        segment.address.checked_add(u64::try_from(offset - segment.file.start).ok()?)
    }

    /// All that is loaded of the file: virtual address and bytes of each segment.
    pub fn loaded(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let segments = self.segments.iter();
        segments.filter_map(|segment| Some((segment.address, self.elf.get(segment.file.clone())?)))
    }

    /// The GNU build-id among the notes between two virtual addresses, as [`Image::bytes_at`] knows
    /// them. `None` if there is none, or if these are no notes.
    pub fn build_id_between(&self, start: u64, end: u64) -> Option<Vec<u8>> {
        let len = usize::try_from(end.checked_sub(start)?).ok()?;
        let notes = NoteIterator::new(LittleEndian, 4, self.bytes_at(start, len)?).ok()?;
        find_build_id(LittleEndian, notes).ok()?
    }

    /// All bytes of the file from a virtual address to the end of its segment.
    pub fn bytes_from(&self, address: u64) -> Option<&[u8]> {
        self.segments.iter().find_map(|segment| {
            let offset = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            let bytes = self.elf.get(segment.file.clone())?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        })
    }
}

pub(crate) fn unreadable(name: &str, message: String) -> Refusals {
    let hint =
        "give the image (`vmlinuz`) of the very kernel, x86-64, as the distribution ships it";
    Refusal::new(Code::ImageUnreadable, Place::object(name), message, hint).into()
}

/// How much of a file is read before it is known what it is; ELF and program headers are in it.
const HEAD: u64 = 4096;

/// The file at `path`; of a linked ELF file only what is loaded. With debug information a `vmlinux` has
/// several 100 MB behind that.
fn read_loaded(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut data = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut data)?;
    match loaded_len(&data) {
        Some(len) => file.take(len.saturating_sub(HEAD)).read_to_end(&mut data)?,
        None => file.read_to_end(&mut data)?,
    };
    Ok(data)
}

/// Where the last segment ends in the file that begins with `head`; `None` if that is not known, or if
/// there are no notes among the segments, so that sections have to be searched for them.
fn loaded_len(head: &[u8]) -> Option<u64> {
    let endian = LittleEndian;
    let programs = Header::parse(head).ok()?.program_headers(endian, head).ok()?;
    let mut end = HEAD;
    for program in programs {
        end = end.max(program.p_offset(endian).checked_add(program.p_filesz(endian))?);
    }
    programs.iter().any(|program| program.p_type(endian) == elf::PT_NOTE).then_some(end)
}

/// The payload of a bzImage by its boot header (Documentation/arch/x86/boot.rst), decompressed.
fn unpack(data: &[u8]) -> Result<(Vec<u8>, Compression), String> {
    let byte_range = |at: usize, len: usize| data.get(at..at.checked_add(len)?);
    let u32_at = |at: usize| Some(u32::from_le_bytes(byte_range(at, 4)?.try_into().ok()?));
    if byte_range(0x1fe, 2) != Some(&[0x55, 0xaa]) || byte_range(0x202, 4) != Some(b"HdrS") {
        return Err("is neither a bzImage nor an ELF file".to_string());
    }
    let truncated = || "the boot header is truncated".to_string();
    let version = u32_at(0x206).ok_or_else(truncated)? & 0xffff;
    if version < 0x0208 {
        return Err(format!("boot protocol {version:#06x} does not say where the kernel is"));
    }
    let setup_sectors = match data[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let offset = u32_at(0x248).ok_or_else(truncated)? as usize;
    let length = u32_at(0x24c).ok_or_else(truncated)? as usize;
    let payload = (setup_sectors + 1)
        .checked_mul(512)
        .and_then(|start| byte_range(start.checked_add(offset)?, length))
        .ok_or_else(|| format!("is truncated: its payload has {length} bytes"))?;

    let Some(compression) = Compression::of(payload) else {
        return Err(match decompress::unsupported_name(payload) {
            Some(name) => format!("is compressed with {name}, which is not supported"),
            None => "its payload is of an unknown form".to_string(),
        });
    };
    // The build appends the size to all but gzip, which ends with it anyway
    // (scripts/Makefile.lib, size_append).
    let (body, size) =
        payload.split_last_chunk::<4>().ok_or_else(|| "its payload is empty".to_string())?;
    let size = u32::from_le_bytes(*size) as usize;
    let body = if compression == Compression::Gzip { payload } else { body };
    let elf = decompress::decompress(compression, body, size)
        .map_err(|error| format!("its payload cannot be decompressed: {error:#}"))?;
    if elf.len() != size {
        return Err(format!("its payload has {} bytes, not {size} as it says", elf.len()));
    }
    Ok((elf, compression))
}

type Headers = (Vec<Segment>, Option<Vec<u8>>);

fn read_headers(elf: &[u8]) -> Result<Headers, String> {
    let malformed = |error: object::Error| format!("the kernel in it is malformed: {error}");
    let endian = LittleEndian;
    let header = Header::parse(elf).map_err(malformed)?;
    if header.is_big_endian() || header.e_machine(endian) != elf::EM_X86_64 {
        return Err("is not a kernel for x86-64".to_string());
    }
    let mut segments = Vec::new();
    let mut build_id = None;
    let mut has_notes = false;
    for program in header.program_headers(endian, elf).map_err(malformed)? {
        if program.p_type(endian) == elf::PT_LOAD {
            let start = usize::try_from(program.p_offset(endian)).ok();
            let len = usize::try_from(program.p_filesz(endian)).ok();
            let file = start
                .zip(len)
                .and_then(|(start, len)| Some(start..start.checked_add(len)?))
                .filter(|file| file.end <= elf.len())
                .ok_or_else(|| "the kernel in it is truncated".to_string())?;
            segments.push(Segment { address: program.p_vaddr(endian), file });
        }
        if let Some(notes) = program.notes(endian, elf).map_err(malformed)? {
            has_notes = true;
            build_id = build_id.or(find_build_id(endian, notes).map_err(malformed)?);
        }
    }
    if segments.is_empty() {
        return Err("the kernel in it has nothing to load".to_string());
    }
    if !has_notes {
        build_id = section_build_id(elf).map_err(malformed)?;
    }
    Ok((segments, build_id))
}

/// The GNU build-id from the note sections of any ELF file: modules have no segments.
pub(crate) fn section_build_id(elf: &[u8]) -> Result<Option<Vec<u8>>, object::Error> {
    let endian = LittleEndian;
    for section in Header::parse(elf)?.sections(endian, elf)?.iter() {
        if let Some(notes) = section.notes(endian, elf)? {
            if let Some(id) = find_build_id(endian, notes)? {
                return Ok(Some(id));
            }
        }
    }
    Ok(None)
}

fn find_build_id(
    endian: LittleEndian,
    mut notes: NoteIterator<'_, Header>,
) -> Result<Option<Vec<u8>>, object::Error> {
    while let Some(note) = notes.next()? {
        if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID {
            return Ok(Some(note.desc().to_vec()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: GPL-2.0-only

//! ELF notes as they lie in memory, and the one with the GNU build-id.
//!
//! A note is three words (size of the name, size of the content, type), the name and the content,
//! each filled up to a multiple of 4 bytes (elf(5)); name `GNU` and type 3 are a build-id. All reads are
//! bounded by the memory that is given: what does not fit is no note.

/// `NT_GNU_BUILD_ID`.
///
/// C header: [`include/uapi/linux/elf.h`](srctree/include/uapi/linux/elf.h) (newer kernels;
/// `lib/buildid.c` before)
const BUILD_ID: u32 = 3;

const GNU: [u8; 4] = *b"GNU\0";

/// The first note, and what is behind it.
struct Note<'a> {
    name: &'a [u8],
    kind: u32,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Note<'a> {
    /// The note at the beginning of `memory`, if there is a whole one.
    fn first(memory: &'a [u8]) -> Option<Self> {
        let (name_size, rest) = word(memory)?;
        let (size, rest) = word(rest)?;
        let (kind, rest) = word(rest)?;
        let (name, rest) = field(rest, name_size)?;
        let (content, rest) = field(rest, size)?;
        Some(Self { name, kind, content, rest })
    }

    fn build_id(&self) -> Option<&'a [u8]> {
        let found = self.kind == BUILD_ID && same(self.name, &GNU) && !self.content.is_empty();
        found.then_some(self.content)
    }
}

/// The build-id of notes that follow each other from the beginning of `notes` on; the first, if there
/// are several.
pub(crate) fn build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut rest = notes;
    while let Some(note) = Note::first(rest) {
        if let Some(id) = note.build_id() {
            return Some(id);
        }
        rest = note.rest;
    }
    None
}

/// What a search in memory found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// The build-id that was looked for.
    Same,
    /// Another one.
    Other(&'a [u8]),
    /// None at all.
    Nothing,
}

/// Looks at every multiple of 4 bytes in `memory`, which begins at such an address, for a note with the
/// build-id `expected`. Other content may look like a note, too: the first is what is reported as another.
pub(crate) fn search<'a>(memory: &'a [u8], expected: &[u8]) -> Found<'a> {
    let mut found = Found::Nothing;
    let mut rest = memory;
    loop {
        match Note::first(rest).and_then(|note| note.build_id()) {
            Some(id) if same(id, expected) => return Found::Same,
            Some(id) if found == Found::Nothing => found = Found::Other(id),
            _ => {}
        }
        match rest.get(4..) {
            Some(next) => rest = next,
            None => return found,
        }
    }
}

/// Whether both are the same bytes. Not `==`, which calls `memcmp` or `bcmp`.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a == b)
}

fn word(memory: &[u8]) -> Option<(u32, &[u8])> {
    let (bytes, rest) = memory.split_first_chunk::<4>()?;
    Some((u32::from_ne_bytes(*bytes), rest))
}

/// `size` bytes, and what is behind them and the filling. The last field may lack its filling.
fn field(memory: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let size = size as usize;
    let content = memory.get(..size)?;
    let filled = size.checked_next_multiple_of(4)?;
    Some((content, memory.get(filled..).unwrap_or(&[])))
}

//! What several modules' tests need: a small ELF image, whole kernels and damaged inputs.

pub mod kernel;
pub mod table;

/// A deterministic generator of pseudo-random numbers (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `limit`, 0 if there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Damaged copies of an input: bytes changed, cut short, a range removed or doubled.
#[derive(Debug)]
pub struct Mutations<'a> {
    seed: &'a [u8],
    random: Random,
    left: usize,
}

impl<'a> Mutations<'a> {
    /// `count` damaged copies of `seed`.
    pub fn of(seed: &'a [u8], count: usize) -> Self {
        Self { seed, random: Random::new(seed.len() as u64), left: count }
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        let mut data = self.seed.to_vec();
        let random = &mut self.random;
        for _ in 0..=random.below(4) {
            let at = random.below(data.len());
            let len = random.below(16).min(data.len().saturating_sub(at));
            match random.below(6) {
                0 => data.truncate(at),
                1 => drop(data.drain(at..at + len)),
                2 => {
                    let part = data[at..at + len].to_vec();
                    data.splice(at..at, part);
                }
                3 => data[at..at + len].fill(0xff),
                4 => data[at..at + len].fill(0),
                _ => {
                    if let Some(byte) = data.get_mut(at) {
                        *byte = random.below(256) as u8;
                    }
                }
            }
        }
        Some(data)
    }
}

/// A little `vmlinux`: one loaded segment with `content` at `base`, and a build-id note.
pub fn elf_image(base: u64, content: &[u8], build_id: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 64 + 2 * 56;
    let mut note = Vec::new();
    note.extend(4_u32.to_le_bytes());
    note.extend((build_id.len() as u32).to_le_bytes());
    note.extend(3_u32.to_le_bytes());
    note.extend(b"GNU\0");
    note.extend(build_id);

    let content_at = HEADERS.next_multiple_of(16);
    let note_at = (content_at + content.len()).next_multiple_of(16);
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([0; 8]);
    elf.extend(64_u64.to_le_bytes());
    elf.extend([0; 12]);
    for half in [64_u16, 56, 2, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for (kind, at, address, len) in
        [(1_u32, content_at, base, content.len()), (4, note_at, 0, note.len())]
    {
        elf.extend(kind.to_le_bytes());
        elf.extend(4_u32.to_le_bytes());
        for word in [at as u64, address, 0, len as u64, len as u64, 4] {
            elf.extend(word.to_le_bytes());
        }
    }
    elf.resize(content_at, 0);
    elf.extend(content);
    elf.resize(note_at, 0);
    elf.extend(note);
    elf
}

/// The same file as the linker leaves it: with a symbol table.
#[cfg(test)]
pub(crate) fn with_symbol_table(mut elf: Vec<u8>, symbols: &[(&str, u64)]) -> Vec<u8> {
    let (mut strings, mut table) = (b"\0.symtab\0.strtab\0".to_vec(), vec![0; 24]);
    for (name, address) in symbols {
        table.extend((strings.len() as u32).to_le_bytes());
        // A global function of the section that is not told.
        table.extend([0x12, 0, 0xf1, 0xff]);
        table.extend(address.to_le_bytes());
        table.extend(8_u64.to_le_bytes());
        strings.extend(name.bytes());
        strings.push(0);
    }
    elf.resize(elf.len().next_multiple_of(8), 0);
    let table_at = elf.len();
    elf.extend(&table);
    let strings_at = elf.len();
    elf.extend(&strings);
    elf.resize(elf.len().next_multiple_of(8), 0);
    let headers_at = elf.len() as u64;
    elf.resize(elf.len() + 64, 0);
    for (name, kind, at, len, link, entry) in [
        (1_u32, 2_u32, table_at, table.len(), 2_u32, 24_u64),
        (9, 3, strings_at, strings.len(), 0, 0),
    ] {
        elf.extend(name.to_le_bytes());
        elf.extend(kind.to_le_bytes());
        for word in [0, 0, at as u64, len as u64] {
            elf.extend(word.to_le_bytes());
        }
        elf.extend(link.to_le_bytes());
        elf.extend(1_u32.to_le_bytes());
        elf.extend(8_u64.to_le_bytes());
        elf.extend(entry.to_le_bytes());
    }
    elf[40..48].copy_from_slice(&headers_at.to_le_bytes());
    for (at, half) in [(58, 64_u16), (60, 3), (62, 2)] {
        elf[at..at + 2].copy_from_slice(&half.to_le_bytes());
    }
    elf
}

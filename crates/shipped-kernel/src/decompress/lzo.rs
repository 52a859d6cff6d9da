//! The container of `lzop`, as far as the kernel reads it (lib/decompress_unlzo.c).
//!
//! A header, then blocks of at most 256 KiB until one of length 0. A block has its length before and
//! after compression and the checksum of the plain bytes; one that does not get shorter is stored as it is.
//! Bias: the kernel skips the checksums, which are checked here; what it would not understand (two
//! checksums for a block, another method, a filter) is an error here, too.

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;

pub(super) const MAGIC: &[u8] = &[0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a];

/// LZO_BLOCK_SIZE.
const LONGEST_BLOCK: usize = 256 << 10;

/// Since this version there are a level and a time of 64 bit in the header.
const VERSION: u16 = 0x0940;

/// LZO1X-1, LZO1X-1(15) and LZO1X-999: one format, of three compressors.
const METHODS: [u8; 3] = [1, 2, 3];

/// Flags of the header: which checksum of the plain bytes of a block there is.
const ADLER32: u32 = 0x1;
const CRC32: u32 = 0x100;
/// Whether the header's own checksum is a CRC.
const HEADER_CRC32: u32 = 0x1000;
/// Checksums of the compressed bytes, extra fields, several parts, a filter.
const UNSUPPORTED: u32 = 0x2 | 0x40 | 0x200 | 0x400 | 0x800;

/// Appends the plain bytes of all blocks to `out`.
pub(super) fn decompress(data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut input = Input { rest: data };
    let flags = header(&mut input)?;
    loop {
        let plain = input.length()?;
        if plain == 0 {
            break;
        }
        ensure!(plain <= LONGEST_BLOCK, "block of {plain} bytes");
        let packed = input.length()?;
        let checksum = input.u32()?;
        ensure!(packed <= plain, "block of {plain} bytes that is {packed} long");
        let block = input.take(packed)?;
        let start = out.len();
        ensure!(start + plain <= super::OUTPUT_LIMIT, "expands to more than can be");
        if packed == plain {
            out.extend(block);
        } else {
            out.resize(start + plain, 0);
            let len = lzokay::decompress::decompress(block, &mut out[start..])?;
            ensure!(len == plain, "block of {len} bytes, not {plain} as it says");
        }
        ensure!(checksum == self::checksum(flags & CRC32 != 0, &out[start..]), "wrong checksum");
    }
    ensure!(input.rest.is_empty(), "{} bytes follow it", input.rest.len());
    Ok(())
}

/// Reads the header, of which the flags matter.
fn header(input: &mut Input<'_>) -> Result<u32> {
    ensure!(input.take(MAGIC.len())? == MAGIC, "no magic");
    let start = input.rest;
    let version = input.u16()?;
    ensure!(version >= VERSION, "version {version:#06x}");
    let (_library, _needed) = (input.u16()?, input.u16()?);
    let (method, _level) = (input.u8()?, input.u8()?);
    ensure!(METHODS.contains(&method), "method {method}");
    let flags = input.u32()?;
    let one_checksum = (flags & ADLER32 != 0) != (flags & CRC32 != 0);
    ensure!(flags & UNSUPPORTED == 0 && one_checksum, "flags {flags:#x}");
    // Mode and the two halves of the time.
    input.take(12)?;
    let name = usize::from(input.u8()?);
    input.take(name)?;
    let covered = &start[..start.len() - input.rest.len()];
    let checksum = input.u32()?;
    ensure!(
        checksum == self::checksum(flags & HEADER_CRC32 != 0, covered),
        "wrong checksum of the header"
    );
    Ok(flags)
}

fn checksum(crc32: bool, bytes: &[u8]) -> u32 {
    if crc32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    } else {
        adler2::adler32_slice(bytes)
    }
}

/// What is left to read; numbers are big endian.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).context("truncated")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().context("truncated")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.u32()?)?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As `lzop` writes it, from its documentation of the format: blocks of 256 KiB.
    pub(in super::super) fn compress(data: &[u8]) -> Vec<u8> {
        let mut header = Vec::new();
        for half in [0x1040_u16, 0x20a0, 0x0940] {
            header.extend(half.to_be_bytes());
        }
        header.extend([3, 9]);
        header.extend((0x0300_000c | ADLER32).to_be_bytes());
        header.extend([0; 12]);
        header.push(0);
        let mut out = [MAGIC, header.as_slice()].concat();
        out.extend(checksum(false, &header).to_be_bytes());
        for plain in data.chunks(LONGEST_BLOCK) {
            let packed = lzokay::compress::compress(plain).unwrap();
            let packed = if packed.len() < plain.len() { packed.as_slice() } else { plain };
            out.extend((plain.len() as u32).to_be_bytes());
            out.extend((packed.len() as u32).to_be_bytes());
            out.extend(checksum(false, plain).to_be_bytes());
            out.extend(packed);
        }
        out.extend([0; 4]);
        out
    }

    /// What lzop 1.04 made of 40 times `livepatch `: with `-9`, and with `-9 --crc32`.
    const BY_LZOP: [&str; 2] = [
        "894c5a4f000d0a1a0a104020a009400309030000 0d00000000 6b0a259e 00000000 00 289402ae \
         00000190 00000013 a9379b01 1b6c6976657061746368202000662400110000 00000000",
        "894c5a4f000d0a1a0a104020a0100103090300110c000000006b0a25df000000000092a88e50 \
         0000019000000013346e24131b6c697665706174636820200066240011000000000000",
    ];

    fn by_lzop(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn plain(data: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(data, &mut out)?;
        Ok(out)
    }

    #[test]
    fn reads_what_lzop_wrote() {
        for text in BY_LZOP {
            assert_eq!(plain(&by_lzop(text)).unwrap(), b"livepatch ".repeat(40));
        }
    }

    #[test]
    fn every_byte_of_it_counts() {
        let good = by_lzop(BY_LZOP[0]);
        for at in 0..good.len() {
            let mut data = good.clone();
            data[at] ^= 0x20;
            assert!(plain(&data).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_read_is_an_error() {
        let good = by_lzop(BY_LZOP[0]);
        let with = |at: usize, byte: u8| {
            let mut data = good.clone();
            data[at] = byte;
            let sum = checksum(false, &data[9..34]).to_be_bytes();
            data[34..38].copy_from_slice(&sum);
            plain(&data).map_err(|error| error.to_string())
        };
        assert!(with(16, 9).is_ok(), "the level does not matter");
        assert_eq!(with(15, 4).unwrap_err(), "method 4");
        assert_eq!(with(9, 0x08).unwrap_err(), "version 0x0840");
        for (at, flag) in [(20, 0x0f), (20, 0x0c), (19, 0x01), (19, 0x08)] {
            assert!(with(at, flag).unwrap_err().starts_with("flags "), "{at} {flag:#x}");
        }
    }
}

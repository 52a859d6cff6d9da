//! Decompression by magic: the forms in which kernels and modules are shipped.
//!
//! All of the input must be used up, and every checksum in it is checked. Bias: what is not
//! understood to its last byte is an error, since half an image would give half a symbol table.

mod lzo;

use std::io::Read;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use anyhow::ensure;

/// More than any kernel or module; a guard against damaged input that expands without end.
const OUTPUT_LIMIT: usize = 1 << 30;

/// A hint larger than this is not believed: it would only reserve memory.
const HINT_LIMIT: usize = 256 << 20;

/// Uncompressed size of all but the last block of lz4's legacy format (lz4 `programs/lz4io.c`).
const LZ4_BLOCK: usize = 8 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const LZ4_LEGACY: &[u8] = &[0x02, 0x21, 0x4c, 0x18];

/// The usual parameters (lc 3, lp 0, pb 2), and the lower half of a dictionary's size, which is a power
/// of two. The kernel (lib/decompress.c) looks at the first two bytes only.
const LZMA: &[u8] = &[0x5d, 0, 0];

/// `lzma -9` has a dictionary of 64 MiB; a header may ask for 4 GiB.
const LZMA_MEMORY_LIMIT: u64 = 256 << 20;

/// A compression that can be undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Zstd,
    /// lz4's legacy frame, the only one that the kernel's own decompressor takes.
    Lz4Legacy,
    /// What `lzma` writes: xz's predecessor, a header of 13 bytes without a checksum.
    Lzma,
    /// What `lzop` writes.
    Lzo,
}

impl Compression {
    /// As the kernel's configuration calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4Legacy => "lz4",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
        }
    }

    /// The compression of data that starts like this.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        let by_magic = [
            (GZIP, Self::Gzip),
            (XZ, Self::Xz),
            (ZSTD, Self::Zstd),
            (LZ4_LEGACY, Self::Lz4Legacy),
            (LZMA, Self::Lzma),
            (lzo::MAGIC, Self::Lzo),
        ];
        by_magic.into_iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, kind)| kind)
    }
}

/// The name of a compression that kernels may use and that is not supported here.
pub(crate) fn unsupported_name(data: &[u8]) -> Option<&'static str> {
    data.starts_with(b"BZh").then_some("bzip2")
}

/// Undoes `compression`. `size_hint` (bytes) is what the output is expected to be, 0 if unknown.
///
/// # Errors
/// Damaged or truncated input, or bytes behind the compressed data.
pub(crate) fn decompress(
    compression: Compression,
    data: &[u8],
    size_hint: usize,
) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(size_hint.min(HINT_LIMIT));
    match compression {
        Compression::Gzip => {
            read_all(flate2::bufread::MultiGzDecoder::new(data), &mut out).context("gzip data")?;
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data).context("zstd decoder")?;
            read_all(decoder, &mut out).context("zstd data")?;
        }
        Compression::Xz => xz(data, &mut out).context("xz data")?,
        Compression::Lz4Legacy => lz4_legacy(data, &mut out).context("lz4 data")?,
        Compression::Lzma => lzma(data, &mut out).context("lzma data")?,
        Compression::Lzo => lzo::decompress(data, &mut out).context("lzo data")?,
    }
    Ok(out)
}

fn read_all(reader: impl Read, out: &mut Vec<u8>) -> Result<()> {
    // One byte more than what is left, so that an output that is too long can be told.
    let left = (OUTPUT_LIMIT - out.len()) as u64;
    reader.take(left + 1).read_to_end(out)?;
    ensure!(out.len() <= OUTPUT_LIMIT, "expands to more than {OUTPUT_LIMIT} bytes");
    Ok(())
}

/// One stream after the other, with the padding that the format allows in between (xz file format,
/// section 2.2: multiples of four zero bytes).
fn xz(mut data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    while !data.is_empty() {
        let mut decoder = liblzma::bufread::XzDecoder::new(data);
        read_all(&mut decoder, out)?;
        let used = usize::try_from(decoder.total_in())?;
        ensure!(used > 0 && used <= data.len(), "empty stream");
        data = &data[used..];
        while let Some(rest) = data.strip_prefix(&[0; 4]) {
            data = rest;
        }
    }
    Ok(())
}

/// One stream, which ends with its end marker or with as many bytes as its header says.
fn lzma(data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let stream = liblzma::stream::Stream::new_lzma_decoder(LZMA_MEMORY_LIMIT)?;
    let mut decoder = liblzma::bufread::XzDecoder::new_stream(data, stream);
    read_all(&mut decoder, out)?;
    let used = usize::try_from(decoder.total_in())?;
    ensure!(used == data.len(), "{} bytes follow it", data.len() - used);
    Ok(())
}

/// Magic, then blocks of (compressed size: u32, data), each an independent lz4 block of at most 8
/// MiB. A further magic starts another frame.
fn lz4_legacy(data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut rest = data.strip_prefix(LZ4_LEGACY).context("no magic")?;
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix(LZ4_LEGACY) {
            rest = next;
            continue;
        }
        let (size, tail) = rest.split_first_chunk::<4>().context("truncated block header")?;
        let size = u32::from_le_bytes(*size) as usize;
        let Some((block, tail)) = tail.split_at_checked(size) else {
            bail!("truncated block of {size} bytes");
        };
        out.extend(lz4_flex::block::decompress(block, LZ4_BLOCK)?);
        ensure!(out.len() <= OUTPUT_LIMIT, "expands to more than {OUTPUT_LIMIT} bytes");
        rest = tail;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;

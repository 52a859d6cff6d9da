//! Decompression by magic: the forms in which kernels and modules are shipped.
//!
//! All of the input must be used up, and every checksum in it is checked. Bias: what is not
//! understood to its last byte is an error, since half an image would give half a symbol table.

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

/// A compression that can be undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Zstd,
    /// lz4's legacy frame, the only one that the kernel's own decompressor takes.
    Lz4Legacy,
}

impl Compression {
    /// As the kernel's configuration calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4Legacy => "lz4",
        }
    }

    /// The compression of data that starts like this.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        let by_magic =
            [(GZIP, Self::Gzip), (XZ, Self::Xz), (ZSTD, Self::Zstd), (LZ4_LEGACY, Self::Lz4Legacy)];
        by_magic.into_iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, kind)| kind)
    }
}

/// The name of a compression that kernels may use and that is not supported here.
pub(crate) fn unsupported_name(data: &[u8]) -> Option<&'static str> {
    let by_magic: [(&[u8], &str); 3] =
        [(b"BZh", "bzip2"), (&[0x5d, 0, 0], "lzma"), (&[0x89, b'L', b'Z', b'O'], "lzo")];
    by_magic.into_iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, name)| name)
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
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// Compresses with the crates' own encoders, as the kernel's build does with the tools.
    pub(crate) fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::stream::encode_all(data, 1).unwrap(),
            Compression::Xz => {
                // As scripts/xz_wrap.sh: the x86 filter before LZMA2, CRC32.
                let mut filters = liblzma::stream::Filters::new();
                let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
                filters.x86().lzma2(&options);
                let check = liblzma::stream::Check::Crc32;
                let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
                let mut out = Vec::new();
                liblzma::bufread::XzEncoder::new_stream(data, stream)
                    .read_to_end(&mut out)
                    .unwrap();
                out
            }
            Compression::Lz4Legacy => {
                let mut out = LZ4_LEGACY.to_vec();
                for block in data.chunks(LZ4_BLOCK) {
                    let block = lz4_flex::block::compress(block);
                    out.extend((block.len() as u32).to_le_bytes());
                    out.extend(block);
                }
                out
            }
        }
    }

    pub(crate) const KINDS: [Compression; 4] =
        [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Lz4Legacy];

    /// Calls in it, so that the x86 filter has something to do.
    fn sample(len: usize) -> Vec<u8> {
        let call = |i: usize| [0xe8, i as u8, (i >> 8) as u8, (i >> 16) as u8, 0, 0x90];
        (0..).flat_map(call).take(len).collect()
    }

    #[test]
    fn every_form_round_trips() {
        for kind in KINDS {
            for len in [0, 1, 70_000, (8 << 20) + 5] {
                let plain = sample(len);
                let packed = compress(kind, &plain);
                assert_eq!(Compression::of(&packed), Some(kind));
                assert!(decompress(kind, &packed, len).unwrap() == plain, "{kind:?} {len}");
            }
        }
    }

    #[test]
    fn streams_that_follow_each_other_are_one() {
        for kind in KINDS {
            let mut packed = compress(kind, &sample(1000));
            if kind == Compression::Xz {
                packed.extend([0; 8]);
            }
            packed.extend(compress(kind, &sample(500)));
            let expected: Vec<u8> = [sample(1000), sample(500)].concat();
            assert!(decompress(kind, &packed, 0).unwrap() == expected, "{kind:?}");
        }
    }

    #[test]
    fn truncated_and_trailing_bytes_are_errors() {
        for kind in KINDS {
            let packed = compress(kind, &sample(3000));
            for len in [packed.len() - 1, packed.len() / 2, 7] {
                assert!(decompress(kind, &packed[..len], 0).is_err(), "{kind:?} {len}");
            }
            let trailing = [packed.as_slice(), b"junk"].concat();
            assert!(decompress(kind, &trailing, 0).is_err(), "{kind:?} with trailing bytes");
        }
    }
}

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
            liblzma::bufread::XzEncoder::new_stream(data, stream).read_to_end(&mut out).unwrap();
            out
        }
        Compression::Lzma => {
            let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
            let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
            let mut out = Vec::new();
            liblzma::bufread::XzEncoder::new_stream(data, stream).read_to_end(&mut out).unwrap();
            out
        }
        Compression::Lzo => lzo::tests::compress(data),
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

pub(crate) const KINDS: [Compression; 6] = [
    Compression::Gzip,
    Compression::Xz,
    Compression::Zstd,
    Compression::Lz4Legacy,
    Compression::Lzma,
    Compression::Lzo,
];

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
    for kind in [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Lz4Legacy] {
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

/// What `lzma -9` (xz 5.4) made of 40 times `livepatch `, from a pipe: of unknown length.
const BY_LZMA: &[u8] = &[
    0x5d, 0, 0, 0, 0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x36, 0x1a, 0x4b, 0x32,
    0xe4, 0x36, 0x49, 0x22, 0xa9, 0xea, 0x6e, 0x48, 0xf1, 0x2f, 0xb4, 0x30, 0xb5, 0xb3, 0xff, 0xff,
    0xd9, 0xa4, 0, 0,
];

#[test]
fn reads_what_lzma_wrote() {
    assert_eq!(Compression::of(BY_LZMA), Some(Compression::Lzma));
    let plain = decompress(Compression::Lzma, BY_LZMA, 0).unwrap();
    assert_eq!(plain, b"livepatch ".repeat(40));
    // One stream is all that the kernel reads.
    let twice = [BY_LZMA, BY_LZMA].concat();
    assert!(decompress(Compression::Lzma, &twice, 0).is_err());
    let mut greedy = BY_LZMA.to_vec();
    greedy[4] = 0x80;
    assert!(decompress(Compression::Lzma, &greedy, 0).is_err(), "a dictionary of 2 GiB");
}

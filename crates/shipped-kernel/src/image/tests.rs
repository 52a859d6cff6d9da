use super::*;
use crate::decompress::tests::KINDS;
use crate::decompress::tests::compress;
use crate::testing::Mutations;
use crate::testing::elf_image;

const BANNER: &str = "Linux version 6.12.1-test (a@b) (gcc-12 (x) 12.2.0, GNU ld 2.40) #1 SMP";
const BASE: u64 = 0xffff_ffff_8100_0000;

fn vmlinux() -> Vec<u8> {
    elf_image(BASE, format!("text\0\0\0\0{BANNER}\n\0").as_bytes(), &[0xab; 20])
}

/// A bzImage as arch/x86/boot/tools/build.c lays it out: setup sectors, some code, the payload.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut data = vec![0; 3 * 512 + 64];
    data[0x1f1] = 2;
    data[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    data[0x202..0x206].copy_from_slice(b"HdrS");
    data[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    data[0x248..0x24c].copy_from_slice(&64_u32.to_le_bytes());
    data[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    data.extend(payload);
    data.extend(b"what follows the payload");
    data
}

fn payload(compression: Compression, elf: &[u8]) -> Vec<u8> {
    let mut packed = compress(compression, elf);
    if compression != Compression::Gzip {
        packed.extend((elf.len() as u32).to_le_bytes());
    }
    packed
}

#[test]
fn opens_every_compression_and_none() {
    let elf = vmlinux();
    let packed = KINDS.map(|kind| (bzimage(&payload(kind, &elf)), Some(kind.name())));
    for (data, compression) in packed.into_iter().chain([(elf.clone(), None)]) {
        let image = Image::parse("vmlinuz", data).unwrap();
        assert_eq!(image.elf, elf);
        assert_eq!(image.compression(), compression);
        assert_eq!(image.banner.release, "6.12.1-test");
        assert_eq!(image.build_id, Some(vec![0xab; 20]));
    }
}

#[test]
fn reads_no_more_of_a_file_than_what_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vmlinux");
    let text = BASE + 0x3000;
    let padding = "x".repeat(0x3000);
    let content = format!("{padding}text\0\0\0\0{BANNER}\n\0");
    let mut whole = elf_image(BASE, content.as_bytes(), &[0xab; 20]);
    let loaded = whole.len();
    whole.extend(vec![0xdd; 1 << 20]);
    std::fs::write(&file, &whole).unwrap();
    let image = Image::open(&file).unwrap();
    assert!(image.elf.len() <= loaded, "{} of {}", image.elf.len(), whole.len());
    assert_eq!(image.build_id, Some(vec![0xab; 20]));
    assert_eq!(image.bytes_at(text, 4), Some(b"text".as_slice()));
    assert_eq!(Image::parse("vmlinux", whole).unwrap().banner, image.banner);
    // What is cut off within a segment is seen, not taken for what is left out.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..loaded / 2]).unwrap();
    let Refusals(all) = Image::open(&file).unwrap_err();
    assert!(all[0].message.contains("truncated"), "{}", all[0]);
}

#[test]
fn reads_bytes_by_address_and_not_beyond() {
    let image = Image::parse("vmlinux", vmlinux()).unwrap();
    assert_eq!(image.bytes_at(BASE, 4), Some(b"text".as_slice()));
    assert_eq!(image.bytes_at(BASE + 8, BANNER.len()), Some(BANNER.as_bytes()));
    assert_eq!(image.bytes_at(BASE - 1, 1), None);
    assert_eq!(image.bytes_at(BASE, 10_000), None);
    assert_eq!(image.bytes_at(u64::MAX, 1), None);
    let text = image.elf.windows(4).position(|bytes| bytes == b"text").unwrap();
    assert_eq!(image.address_of(text + 3), Some(BASE + 3));
    assert_eq!((image.address_of(0), image.address_of(image.elf.len())), (None, None));
}

#[test]
fn finds_a_build_id_among_notes_by_address() {
    let word = |word: u32| word.to_le_bytes();
    let note = |name: &[u8; 4], kind: u32| {
        [&word(4), &word(4), &word(kind), name.as_slice(), &[7; 4]].concat()
    };
    let content = [note(b"Xen\0", 3), note(b"GNU\0", 1), note(b"GNU\0", 3), note(b"GNU\0", 3)];
    let content = [content.concat(), BANNER.as_bytes().to_vec(), vec![b'\n', 0]].concat();
    let image = Image::parse("vmlinux", elf_image(BASE, &content, &[0xab; 20])).unwrap();
    let between = |start: u64, end: u64| image.build_id_between(BASE + start, BASE + end);
    assert_eq!(between(0, 80), Some(vec![7; 4]));
    assert_eq!(between(40, 60), Some(vec![7; 4]));
    assert_eq!(between(0, 40), None, "notes without a build-id");
    assert_eq!(between(0, 59), None, "a note that is cut short");
    assert_eq!(between(60, 40), None);
    assert_eq!(between(0, 1 << 20), None, "beyond the segment");
    assert_eq!(between(80, 120), None, "no notes");
}

#[test]
fn says_why_an_image_is_refused() {
    let elf = vmlinux();
    let refusal = |data: Vec<u8>| {
        let Refusals(all) = Image::parse("vmlinuz", data).unwrap_err();
        let refusal = &all[0];
        assert_eq!(refusal.code, Code::ImageUnreadable);
        refusal.message.clone()
    };
    assert!(refusal(b"no kernel".to_vec()).contains("neither a bzImage nor an ELF"));
    assert!(refusal(bzimage(b"BZh91AY&SY")).contains("bzip2"));
    assert!(refusal(bzimage(b"whatever")).contains("unknown form"));
    let mut short = payload(Compression::Zstd, &elf);
    *short.last_mut().unwrap() ^= 1;
    assert!(refusal(bzimage(&short)).contains("as it says"));
    let mut other = elf.clone();
    other[18] = 183;
    assert!(refusal(other).contains("x86-64"));
    let silent = elf_image(BASE, b"no banner", &[1; 20]);
    assert!(refusal(silent).contains("banner"));
}

#[test]
fn a_missing_file_is_an_incomplete_target() {
    let Refusals(all) = Image::open(Path::new("/nonexistent/vmlinuz")).unwrap_err();
    assert_eq!(all[0].code, Code::TargetIncomplete);
}

#[test]
fn damaged_images_never_panic() {
    let elf = vmlinux();
    for seed in KINDS.map(|kind| bzimage(&payload(kind, &elf))).iter().chain([&elf]) {
        for data in Mutations::of(seed, 200) {
            if let Ok(image) = Image::parse("vmlinuz", data) {
                image.bytes_at(BASE, 16);
                image.build_id_between(BASE, BASE + 64);
            }
        }
    }
}

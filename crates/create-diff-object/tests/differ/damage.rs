//! Damaged objects: whatever the bytes are, the differ answers, it does not panic.

use std::fs;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use create_diff_object::compare_objects;
use kpatch_elf::ObjectFile;
use libtest_mimic::Failed;

use crate::case::Case;
use crate::compile;
use crate::compilers::Way;
use crate::kernel::Kernel;

/// Damaged copies per object.
const COPIES: u64 = 100;

/// Small numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// Both objects of a case, damaged.
pub(crate) fn compiled(case: &Case, way: &Way) -> Result<(), Failed> {
    // Debug information is most of an object, and says nothing to the phases.
    let mut case = case.clone();
    case.flags.push("-g0".into());
    let pair = compile::pair(&case, way)?;
    let directory = pair.directory.path();
    for name in ["original.o", "patched.o"] {
        let bytes = fs::read(directory.join(name))?;
        let other = if name == "original.o" { &pair.patched } else { &pair.original };
        let mut read = 0;
        for seed in 0..COPIES {
            let damaged = damage(&bytes, seed);
            let answered =
                panic::catch_unwind(AssertUnwindSafe(|| answers(&case, &damaged, other)));
            match answered {
                Ok(was_read) => read += u64::from(was_read),
                Err(_) => return Err(kept(name, seed, &damaged)),
            }
        }
        // Else the damage is of a kind that the reader stops, and nothing was tested.
        if read < COPIES / 10 {
            return Err(format!("{read} of {COPIES} damaged copies could be read").into());
        }
    }
    Ok(())
}

fn kept(name: &str, seed: u64, damaged: &[u8]) -> Failed {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("damaged-{seed}-{name}"));
    let written = fs::write(&path, damaged).is_ok();
    let where_ = if written { path.display().to_string() } else { "lost".into() };
    format!("panics on damaged copy {seed} of {name}: `{where_}`").into()
}

/// Changes some bytes, and now and then a whole field to an extreme.
fn damage(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut damaged = bytes.to_vec();
    for _ in 0..=numbers.below(6) {
        // Behind the file header, which the reader checks first.
        let at = 64 + numbers.below(damaged.len() - 64 - 8);
        match numbers.below(4) {
            0 => damaged[at] ^= 1 << numbers.below(8),
            1 => damaged[at] = numbers.below(256) as u8,
            2 => {
                let field = at & !7;
                let value: u64 = [0, 1, 0x7fff_ffff, u64::MAX, 1 << 63, 64][numbers.below(6)];
                damaged[field..field + 8].copy_from_slice(&value.to_le_bytes());
            }
            _ => {
                let from = 64 + numbers.below(damaged.len() - 64 - 8);
                damaged.copy_within(from..from + 8, at);
            }
        }
    }
    damaged
}

/// Whether the damaged object could be read; asks the differ for every answer that it has about it.
fn answers(case: &Case, damaged: &[u8], other: &ObjectFile) -> bool {
    let Ok(object) = kpatch_elf::read(damaged) else { return false };
    for (original, patched) in [(other, &object), (&object, other), (&object, &object)] {
        if let Ok(difference) = compare_objects("damaged.o", original, patched) {
            difference.changed_functions();
            difference.new_globals();
            if let Ok(emitted) = difference.emit(&Kernel { case, original }) {
                let _ = kpatch_elf::write(&emitted.object);
            }
        }
    }
    true
}

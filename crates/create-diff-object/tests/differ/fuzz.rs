//! Thousands of damaged objects, from compiled cases and from real ones: each gives an answer or an
//! error, and none a panic, a hang or more memory than it may have. A child process does the work, so
//! that the limit of memory holds for that alone, and even its death says which object it was.

use std::env;
use std::fs;
use std::io::Write;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use create_diff_object::compare_objects;
use create_diff_object::examine_objects;
use create_diff_object::lines::Lines;
use create_diff_object::lines::Rows;
use kpatch_elf::ObjectFile;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::case::Case;
use crate::compile;
use crate::compilers::Way;
use crate::kernel::Kernel;
use crate::real;

/// Damaged objects in all.
const OBJECTS: u64 = 10_000;
/// Children, of which each has its share.
const CHILDREN: u64 = 2;
/// Every so manieth case lends its objects.
const EVERY: usize = 4;
/// Real objects that are compared damaged with themselves; the smallest, as there are many rounds.
const REAL: usize = 10;
/// Memory that a child may have, in KiB of address space.
const MEMORY: u64 = 512 << 10;
/// Time for one object. A sound one takes a hundredth of a second, without optimisation.
const TIME: Duration = Duration::from_secs(20);
/// How many objects a child tells of before it gives up.
const MOST_FAILURES: u32 = 10;
/// First argument of this program where it is the child.
const CHILD: &str = "--damage";

/// The tests: one for each child.
pub(crate) fn trials(cases: &[Case], way: &'static Way) -> Vec<Trial> {
    let cases: Vec<Case> = cases.iter().step_by(EVERY).cloned().collect();
    let trial = |number| {
        let cases = cases.clone();
        Trial::test(format!("fuzz::objects_{number}"), move || parent(number, &cases, way))
    };
    (0..CHILDREN).map(trial).collect()
}

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

/// Makes the objects, starts the child and judges how it ends.
fn parent(number: u64, cases: &[Case], way: &Way) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let mut pairs = 0;
    for case in cases {
        let mut case = case.clone();
        // Debug information is most of an object: some have it, and the others leave time for the rest.
        if pairs % 4 != 0 {
            case.flags.push("-g0".into());
        }
        let pair = compile::pair(&case, way)?;
        for side in ["original", "patched"] {
            let from = pair.directory.path().join(format!("{side}.o"));
            fs::copy(from, directory.path().join(format!("{pairs}.{side}.o")))?;
        }
        pairs += 1;
    }
    for object in real::smallest(REAL) {
        for side in ["original", "patched"] {
            fs::copy(&object, directory.path().join(format!("{pairs}.{side}.o")))?;
        }
        pairs += 1;
    }
    let share = OBJECTS / CHILDREN;
    let seeds = [number * share, (number + 1) * share].map(|seed| seed.to_string());
    let output = Command::new("sh")
        .args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &MEMORY.to_string()])
        .arg(env::current_exe()?)
        .arg(CHILD)
        .arg(directory.path())
        .args(seeds)
        // Reserved for threads, not used: it would count.
        .envs([("MALLOC_ARENA_MAX", "1"), ("RAYON_NUM_THREADS", "1")])
        .stderr(Stdio::piped())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or("no object");
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} at {last}\n{error}", output.status).into());
    }
    let counts: Vec<u64> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    let &[read, answered, emitted] = counts.as_slice() else { return Err(last.into()) };
    // Else the damage is of a kind that the reader stops, and nothing else was tested.
    if read < share / 5 || answered < share / 10 || emitted < share / 50 {
        return Err(format!("of {share}: {last}").into());
    }
    Ok(())
}

/// What this program does where it is the child; `None` where it is not.
pub(crate) fn child() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    let [_, first, directory, from, to] = arguments.as_slice() else { return None };
    if first != CHILD {
        return None;
    }
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    let pairs = read_pairs(Path::new(directory));
    thread::spawn(watch);
    let mut counts = Counts::default();
    let mut failed = 0;
    for seed in from..to {
        AT.store(seed, Ordering::Relaxed);
        let pair = &pairs[seed as usize % pairs.len()];
        println!("damaged object {seed}, of pair {}", pair.number);
        let mut numbers = Numbers(seed);
        let side = numbers.below(2);
        let damaged = damage(&pair.bytes[side], &mut numbers);
        let other = &pair.objects[1 - side];
        let answer =
            panic::catch_unwind(AssertUnwindSafe(|| answers(&damaged, other, &mut counts)));
        if !matches!(answer, Ok(Ok(()))) {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{seed}.o"));
            let _ = fs::write(&path, &damaged);
            let message = answer.ok().and_then(Result::err).unwrap_or_default();
            eprintln!(
                "{message}\nthe object is `{}`, other side of pair {}",
                path.display(),
                pair.number
            );
            failed += 1;
            if failed == MOST_FAILURES {
                break;
            }
        }
    }
    if failed > 0 {
        return Some(ExitCode::FAILURE);
    }
    println!("{} {} {}", counts.read, counts.answered, counts.emitted);
    Some(ExitCode::SUCCESS)
}

/// The seed of the object that is looked at.
static AT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Ends the process when one object takes too long.
fn watch() {
    let mut before = AT.load(Ordering::Relaxed);
    loop {
        thread::sleep(TIME);
        let now = AT.load(Ordering::Relaxed);
        if now == before {
            eprintln!("more than {} s for one object", TIME.as_secs());
            let _ = std::io::stdout().flush();
            std::process::exit(1);
        }
        before = now;
    }
}

struct Pair {
    number: usize,
    bytes: [Vec<u8>; 2],
    objects: [ObjectFile; 2],
}

fn read_pairs(directory: &Path) -> Vec<Pair> {
    let file = |number: usize, side: &str| directory.join(format!("{number}.{side}.o"));
    let read = |path: PathBuf| fs::read(path).expect("the parent wrote it");
    let pair = |number| {
        let bytes = ["original", "patched"].map(|side| read(file(number, side)));
        let objects = [0, 1].map(|side| kpatch_elf::read(&bytes[side]).expect("a sound object"));
        Pair { number, bytes, objects }
    };
    (0..).take_while(|number| file(*number, "original").exists()).map(pair).collect()
}

/// How far the damaged objects came.
#[derive(Default)]
struct Counts {
    read: u64,
    answered: u64,
    emitted: u64,
}

/// Asks for everything that there is to know about a damaged object.
fn answers(damaged: &[u8], other: &ObjectFile, counts: &mut Counts) -> Result<(), String> {
    let Ok(object) = kpatch_elf::read(damaged) else { return Ok(()) };
    counts.read += 1;
    reads_back(&object)?;
    let (rows, lines) = (Rows::read(&object), Lines::read(&object));
    for (id, symbol) in object.symbols_with_ids() {
        lines.of_symbol(&object, id);
        symbol.section().map(|section| rows.at(section, symbol.value));
    }
    let case = Case::default();
    let (mut answered, mut emitted) = (false, false);
    for (original, patched) in [(other, &object), (&object, other)] {
        if let Ok(examined) = examine_objects("damaged.o", original, patched) {
            examined.difference.details();
            let explained = examined.difference.explain();
            explained.text();
        }
        let Ok(difference) = compare_objects("damaged.o", original, patched) else { continue };
        answered = true;
        difference.changed_functions();
        difference.new_functions();
        difference.new_globals();
        difference.notices();
        difference.outliving(&|name| name.len() % 2 == 0);
        if let Ok(out) = difference.emit(&Kernel { case: &case, original }) {
            emitted |= !difference.is_empty();
            // What is emitted may be nonsense, but of the kind that can be written.
            if let Ok(bytes) = kpatch_elf::write(&out.object) {
                kpatch_elf::read(&bytes).map_err(|e| format!("what is emitted: {e}"))?;
            }
        }
    }
    counts.answered += u64::from(answered);
    counts.emitted += u64::from(emitted);
    Ok(())
}

/// What is read can be written, and reads back, once its symbols are in the order that ELF demands.
fn reads_back(object: &ObjectFile) -> Result<(), String> {
    let again = |object: &ObjectFile| {
        let bytes = kpatch_elf::write(object).map_err(|e| format!("what was read: {e:#}"))?;
        kpatch_elf::read(&bytes).map_err(|e| format!("what was written: {e}"))
    };
    let ordered = again(object)?;
    if again(&ordered)? == ordered { Ok(()) } else { Err("does not read back".into()) }
}

/// Changes some bytes, fields and entries of tables, and now and then the length.
fn damage(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let tables = tables(bytes);
    for _ in 0..=numbers.below(4) {
        match numbers.below(8) {
            0 => {
                let at = numbers.below(damaged.len());
                damaged[at] ^= 1 << numbers.below(8);
            }
            1 => {
                let at = numbers.below(damaged.len() - 8) & !7;
                let value = extreme(numbers);
                damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            _ => {
                let &(start, entry, count) = &tables[numbers.below(tables.len())];
                let at = start + entry * numbers.below(count);
                change_entry(&mut damaged, (at, entry), start, count, numbers);
            }
        }
    }
    if numbers.below(50) == 0 {
        damaged.truncate(numbers.below(bytes.len()));
    }
    damaged
}

/// Changes a field of a table's entry: to an extreme, by a little, or to that of another entry.
fn change_entry(
    damaged: &mut [u8],
    (at, entry): (usize, usize),
    start: usize,
    count: usize,
    numbers: &mut Numbers,
) {
    // Fields of all tables are aligned to their size; most are of four or eight bytes.
    let width = [2, 4, 4, 8][numbers.below(4)];
    let field = numbers.below(entry / width) * width;
    let value = match numbers.below(3) {
        0 => extreme(numbers).to_le_bytes(),
        1 => {
            let mut bytes = [0; 8];
            bytes[..width].copy_from_slice(&damaged[at + field..][..width]);
            let nearby = numbers.below(33) as u64;
            u64::from_le_bytes(bytes).wrapping_add(nearby).wrapping_sub(16).to_le_bytes()
        }
        _ => {
            let from = start + entry * numbers.below(count) + field;
            let mut bytes = [0; 8];
            bytes[..width].copy_from_slice(&damaged[from..][..width]);
            bytes
        }
    };
    damaged[at + field..][..width].copy_from_slice(&value[..width]);
}

fn extreme(numbers: &mut Numbers) -> u64 {
    const EXTREMES: [u64; 8] = [0, 1, 8, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 1 << 63, u64::MAX];
    EXTREMES[numbers.below(EXTREMES.len())]
}

/// First byte, size of an entry and number of entries: of the section headers, symbols, relocations and
/// of all other sections in words of eight bytes.
fn tables(bytes: &[u8]) -> Vec<(usize, usize, usize)> {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    // e_shoff, e_shnum; sh_type, sh_offset, sh_size (ELF specification).
    let (headers, count) = (word(40) as usize, half(60));
    let mut tables = vec![(headers, 64, count)];
    for number in 1..count {
        let at = headers + 64 * number;
        let (kind, offset, size) = (half(at + 4), word(at + 24) as usize, word(at + 32) as usize);
        let entry = match kind {
            // SHT_SYMTAB, SHT_RELA: what is worth most.
            2 | 4 => 24,
            _ => 8,
        };
        if kind != 8 && size >= entry && bytes.len() >= offset + size {
            tables.push((offset, entry, size / entry));
        }
    }
    tables
}

//! How long the whole `create-diff-object` process takes and how much memory it needs: over synthetic
//! objects of more and more functions, over real objects, and over a whole `vmlinux.o`. Fails when an
//! answer is wrong, and when a figure is beyond its limit.
//!
//! What is not in the cache is left out and said so: `scripts/bench-differ.sh` fills it.

mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use common::listing;
use common::real;
use common::synthetic;
use create_diff_object::compare_objects;
use create_diff_object::kernel::parent::listing::Listing;
use create_diff_object::kernel::symbols::Resolution;
use create_diff_object::kernel::symbols::Symbols;
use create_diff_object::kernel::symbols::Wanted;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Refusal;
use tempfile::TempDir;
use wait4::Wait4;

const FUNCTIONS: [usize; 6] = [1000, 2000, 4000, 8000, 16_000, 32_000];
/// Runs of each pair; the fastest counts, as others disturb and never help.
const RUNS: usize = 5;
/// Growth counts as linear if each of many things takes no more than this many times as long as each of
/// few. Caches hold the few; what is quadratic grows at least eightfold.
const MOST_GROWTH: f64 = 3.0;

/// What a pair may need at most.
struct Limit {
    seconds: f64,
    megabytes: f64,
}

const NO_LIMIT: Limit = Limit { seconds: f64::INFINITY, megabytes: f64::INFINITY };

/// What the fastest of several runs of one pair needed.
#[derive(Clone, Copy)]
struct Needed {
    wall: Duration,
    processor: Duration,
    /// Peak of the resident memory in bytes.
    memory: u64,
    /// Size of one object in bytes.
    size: u64,
}

impl Needed {
    /// What counts: on a machine that has other things to do the processor time, for no process takes longer
    /// if it is alone and does nothing but compute.
    fn time(&self) -> Duration {
        self.wall.min(self.processor)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [_, MAKE, directory, what, which] = arguments[..] {
        return make(Path::new(directory), what, which);
    }
    // `cargo test --benches` asks for no more than that it starts.
    if !arguments.contains(&"--bench") {
        return ExitCode::SUCCESS;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let mut bench = Bench { directory: directory.path(), failed: false };
    bench.synthetic();
    bench.real();
    bench.whole_kernel();
    bench.symbol_table();
    bench.shapes();
    if bench.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// First argument of this program where it makes a pair for itself. What a process starts counts the
/// memory of that process as its own until it becomes another program, so the one that measures must
/// stay small.
const MAKE: &str = "--make-pair";

/// Writes a pair into `directory`; prints the name of the changed function and the size of the object.
/// `what` is `synthetic` (`which` is the number of functions), `file` (its path), `source` (the object
/// of the cache that is made from that file) or `biggest`.
fn make(directory: &Path, what: &str, which: &str) -> ExitCode {
    let (original, function, patched) = if what == "synthetic" {
        let functions: usize = which.parse().expect("a number of functions");
        let original = synthetic::object(functions);
        let patched = synthetic::changed(&original, functions / 2);
        (original, format!("function{}", functions / 2), patched)
    } else {
        let path = match what {
            "file" => Some(PathBuf::from(which)),
            "source" => real::objects().into_iter().find(|path| is_made_from(path, which)),
            _ => real::objects().into_iter().next(),
        };
        let Some(path) = path else { return ExitCode::from(NOTHING) };
        let bytes = fs::read(path).expect("a readable file");
        let original = kpatch_elf::read(&bytes).expect("an object");
        let (function, patched) = real::changed(&original).expect("a function to change");
        (original, function, patched)
    };
    let mut size = 0;
    for (name, object) in [(PATCHED, &patched), (ORIGINAL, &original)] {
        let bytes = kpatch_elf::write(object).expect("a sound object");
        size = bytes.len();
        fs::write(directory.join(name), bytes).expect("space for an object");
    }
    println!("{function} {size}");
    ExitCode::SUCCESS
}

/// Whether the object at `path` says that it is made from a source file of that name (without
/// directory).
fn is_made_from(path: &Path, source: &str) -> bool {
    let object = fs::read(path).ok().and_then(|bytes| kpatch_elf::read(&bytes).ok());
    object.is_some_and(|object| {
        let mut symbols = object.symbols.iter();
        symbols.any(|s| s.kind == SymbolKind::File && s.name == source)
    })
}

/// Exit code of [`make`] when what it should make a pair of is not there.
const NOTHING: u8 = 3;

const ORIGINAL: &str = "original.o";
const PATCHED: &str = "patched.o";

struct Bench<'a> {
    directory: &'a Path,
    failed: bool,
}

impl Bench<'_> {
    fn synthetic(&mut self) {
        println!("\nsynthetic objects, one function of each changed");
        println!(
            "{:>9} {:>9} {:>9} {:>12} {:>9}",
            "functions", "wall", "cpu", "cpu/function", "peak"
        );
        let mut each = Vec::new();
        for functions in FUNCTIONS {
            let Some(needed) = self.pair("synthetic", &functions.to_string()) else { return };
            let per_function = needed.processor.as_secs_f64() / functions as f64;
            println!(
                "{functions:>9} {:>7.1}ms {:>7.1}ms {:>10.2}µs {:>7.1}MB",
                milliseconds(needed.wall),
                milliseconds(needed.processor),
                per_function * 1e6,
                megabytes(needed),
            );
            each.push((per_function, needed.memory as f64 / functions as f64));
            let limit =
                if functions == 8000 { Limit { seconds: 0.4, ..NO_LIMIT } } else { NO_LIMIT };
            self.check(&format!("{functions} functions"), needed, &limit);
        }
        let (first, last) = (each[0], each[each.len() - 1]);
        if last.0 > first.0 * MOST_GROWTH || last.1 > first.1 * MOST_GROWTH {
            self.fail("time or memory does not grow linearly");
        }
    }

    fn real(&mut self) {
        println!("\nobjects of the cache, one instruction of each changed");
        let small = Limit { seconds: 0.015, ..NO_LIMIT };
        self.real_object("biggest", "", &NO_LIMIT);
        self.real_object("source", "cmdline.c", &small);
        self.real_object("source", "tcp_input.c", &small);
    }

    fn real_object(&mut self, what: &str, which: &str, limit: &Limit) {
        let Some(needed) = self.pair(what, which) else { return };
        let said = if which.is_empty() { what } else { which.rsplit('/').next().unwrap_or(which) };
        println!(
            "{said:<12} {:>5.1} MB: wall {:.1} ms, cpu {:.1} ms, peak {:.1} MB",
            needed.size as f64 / 1e6,
            milliseconds(needed.wall),
            milliseconds(needed.processor),
            megabytes(needed)
        );
        self.check(said, needed, limit);
    }

    fn whole_kernel(&mut self) {
        println!("\na whole kernel, one instruction changed");
        let path = std::env::var_os("KPATCH_SMALL_VMLINUX")
            .map_or_else(|| real::cache().join("small-kernel/vmlinux.o"), PathBuf::from);
        if !path.exists() {
            return self.left_out("no small kernel in the cache: run scripts/small-kernel.sh");
        }
        self.real_object(
            "file",
            &path.display().to_string(),
            &Limit { seconds: 1.5, megabytes: 600.0 },
        );
    }

    /// What a run asks of it is little; that it is read at all is what costs.
    fn symbol_table(&mut self) {
        const LINES: usize = 250_000;
        const LIMIT: Duration = Duration::from_millis(150);
        let text = listing::text(LINES);
        let names = HashSet::from(["global_function_39", "local_function_1"]);
        let files = HashSet::from(["file40.c"]);
        let read = || {
            let start = Instant::now();
            let listing = Listing::parse(text.as_bytes(), &names, &files);
            let found = listing.is_ok_and(|listing| listing.named("global_function_39").len() == 1);
            found.then(|| start.elapsed())
        };
        println!("\na symbol table of {LINES} lines, {:.1} MB", text.len() as f64 / 1e6);
        match (0..RUNS)
            .map(|_| read())
            .collect::<Option<Vec<_>>>()
            .and_then(|t| t.into_iter().min())
        {
            Some(time) => {
                println!("wall {:.1} ms", milliseconds(time));
                if time > LIMIT {
                    self.fail("more than 0.15 s");
                }
            }
            None => self.fail("it was not understood"),
        }
    }

    /// Comparing and writing, per thing, of few and of many things.
    fn shapes(&mut self) {
        const THINGS: [usize; 2] = [2000, 16_000];
        println!("\ncompared and written, µs per thing, of {} and of {}", THINGS[0], THINGS[1]);
        for (name, make) in shapes::SHAPES {
            let each = THINGS.map(|things| {
                let [original, patched] = make(things);
                let times = (0..RUNS).map(|_| {
                    let start = processor_time();
                    let difference = compare_objects("made.o", &original, &patched);
                    let written = difference.and_then(|difference| difference.emit(&Kernel));
                    if let Err(refusals) = written {
                        self.fail(&format!("{name}: {refusals}"));
                    }
                    processor_time().saturating_sub(start)
                });
                times.min().expect("at least one run").as_secs_f64() * 1e6 / things as f64
            });
            println!("{name:<32} {:>8.2} {:>8.2}", each[0], each[1]);
            if each[1] > each[0] * MOST_GROWTH {
                self.fail("it does not grow linearly");
            }
        }
    }

    /// Makes a pair and gives the fastest of several runs, each of which has to name the changed
    /// function and no other.
    fn pair(&mut self, what: &str, which: &str) -> Option<Needed> {
        let program = std::env::current_exe().expect("a name of this program");
        let mut maker = Command::new(program);
        let made = maker.args([MAKE.as_ref(), self.directory.as_os_str()]).args([what, which]);
        let made = made.stderr(Stdio::inherit()).output().expect("this program starts");
        if made.status.code() == Some(i32::from(NOTHING)) {
            self.left_out(&format!("{what} {which}: not in the cache; build a patch of it"));
            return None;
        }
        if !made.status.success() {
            self.fail(&format!("no pair could be made of {which}"));
            return None;
        }
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        let (function, size) = said.trim().split_once(' ').expect("what was made");
        let size = size.parse().expect("a size");
        let pair = [self.directory.join(ORIGINAL), self.directory.join(PATCHED)];
        let expected = format!("{ORIGINAL}: changed function: {function}\n");
        let mut best: Option<Needed> = None;
        for _ in 0..RUNS {
            let (needed, said) = run_once(&pair, size);
            if said != expected {
                self.fail(&format!("the answer should be `{expected}`, but is `{said}`"));
                return None;
            }
            best = Some(best.filter(|best| best.time() <= needed.time()).unwrap_or(needed));
        }
        best
    }

    fn check(&mut self, what: &str, needed: Needed, limit: &Limit) {
        if needed.time().as_secs_f64() > limit.seconds {
            self.fail(&format!("{what}: more than {} s", limit.seconds));
        }
        if megabytes(needed) > limit.megabytes {
            self.fail(&format!("{what}: more than {} MB", limit.megabytes));
        }
    }

    fn fail(&mut self, message: &str) {
        println!("  FAILED: {message}");
        self.failed = true;
    }

    fn left_out(&self, why: &str) {
        println!("  left out: {why}");
    }
}

/// What all threads of this process have used of the processors; their waiting, for other processes, does
/// not count (`Documentation/scheduler/sched-stats.rst`).
fn processor_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let run = |text: String| text.split(' ').next()?.parse::<u64>().ok();
    let nanoseconds: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok().and_then(run))
        .sum();
    assert!(nanoseconds > 0, "the kernel does not count the time of threads");
    Duration::from_nanos(nanoseconds)
}

/// A kernel that has everything.
struct Kernel;

impl Symbols for Kernel {
    fn patched_object(&self) -> &str {
        VMLINUX
    }

    fn resolve(&self, _: Wanted<'_>) -> Result<Resolution, Refusal> {
        Ok(Resolution::Ordinary)
    }

    fn patched_function(&self, wanted: Wanted<'_>) -> Result<LivepatchSymbol, Refusal> {
        let (object, name) = (VMLINUX.to_owned(), wanted.name.to_owned());
        Ok(LivepatchSymbol { object, name, position: 0 })
    }
}

fn run_once(pair: &[PathBuf; 2], size: u64) -> (Needed, String) {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_create-diff-object"))
        .args(pair)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let said = child.stdout.take().map(std::io::read_to_string);
    let used = child.wait4().expect("the binary ends").rusage;
    let wall = start.elapsed();
    let needed = Needed { wall, processor: used.utime + used.stime, memory: used.maxrss, size };
    (needed, said.and_then(Result::ok).unwrap_or_default())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn megabytes(needed: Needed) -> f64 {
    needed.memory as f64 / 1e6
}

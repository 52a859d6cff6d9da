//! How long `kpatch-build image --function` takes as a whole process, and how much memory it needs, on
//! the stock kernel in the cache: reading and decompressing the image, decoding all of its symbols. Cold
//! is with the image on disk only. Fails when an answer is wrong, and when a figure is beyond its limit.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use wait4::Wait4;

/// Runs of each kind; the median counts.
const RUNS: usize = 9;

const WARM_SECONDS: f64 = 0.3;
const COLD_SECONDS: f64 = 1.0;
const MEGABYTES: f64 = 250.0;

/// What one run needed.
#[derive(Clone, Copy)]
struct Needed {
    wall: Duration,
    processor: Duration,
    /// Peak of the resident memory in bytes.
    memory: u64,
}

impl Needed {
    /// On a machine that has other things to do the processor time counts.
    fn time(&self) -> Duration {
        self.wall.min(self.processor)
    }
}

fn main() -> ExitCode {
    // `cargo test --benches` asks for no more than that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let Some(image) = image() else {
        println!("left out: no kernel in the cache: run scripts/fetch-kernel.sh");
        return ExitCode::SUCCESS;
    };
    let mut failed = false;
    for (what, cold, limit) in [("warm", false, WARM_SECONDS), ("cold", true, COLD_SECONDS)] {
        let mut all = Vec::new();
        for _ in 0..RUNS {
            match run(&image, cold) {
                Ok(needed) => all.push(needed),
                Err(message) => {
                    println!("  FAILED: {message}");
                    return ExitCode::FAILURE;
                }
            }
        }
        all.sort_by_key(Needed::time);
        let median = all[all.len() / 2];
        let megabytes = median.memory as f64 / 1e6;
        let (wall, processor) = (median.wall.as_secs_f64(), median.processor.as_secs_f64());
        println!("image, {what}: wall {wall:.3} s, cpu {processor:.3} s, peak {megabytes:.1} MB");
        // Waiting for the disk is no processor time; other processes disturb and never help.
        let fastest = all.iter().map(|needed| needed.wall).min().unwrap_or_default();
        let time = if cold { fastest } else { median.time() };
        if time.as_secs_f64() > limit {
            println!("  FAILED: more than {limit} s");
            failed = true;
        }
        if megabytes > MEGABYTES {
            println!("  FAILED: more than {MEGABYTES} MB");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The image of the kernel in the cache.
fn image() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/kpatch"));
    let cache = std::env::var_os("KPATCH_CACHE").map(PathBuf::from).or_else(home)?;
    let text = std::fs::read_to_string(cache.join("kernels/current/kernel.env")).ok()?;
    let image = text.lines().find_map(|line| line.strip_prefix("IMAGE="))?;
    Some(PathBuf::from(image.trim_matches(['"', '\''])))
}

fn run(image: &Path, cold: bool) -> Result<Needed, String> {
    if cold {
        // Takes the file out of the page cache (`POSIX_FADV_DONTNEED`).
        let mut dd = Command::new("dd");
        dd.arg(format!("if={}", image.display())).args(["iflag=nocache", "count=0", "status=none"]);
        let status = dd.status().map_err(|error| format!("cannot run `dd`: {error}"))?;
        if !status.success() {
            return Err("`dd` cannot take the image out of the page cache".to_owned());
        }
    }
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kpatch-build"))
        .args(["image", "--function", "schedule"])
        .arg(image)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the tool does not start: {error}"))?;
    let said = child.stdout.take().map(std::io::read_to_string);
    let used = child.wait4().map_err(|error| error.to_string())?.rusage;
    let wall = start.elapsed();
    let said = said.and_then(Result::ok).unwrap_or_default();
    if !said.contains(" T schedule: ") || !said.contains("call   __schedule") {
        return Err(format!("the answer is wrong:\n{said}"));
    }
    Ok(Needed { wall, processor: used.utime + used.stime, memory: used.maxrss })
}

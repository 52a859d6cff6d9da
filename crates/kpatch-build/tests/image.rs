//! `kpatch-build image` on the stock kernel in the cache, as a process.

use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use kpatch_build::image_report;
use kpatch_build::image_report::ImageArguments;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_kpatch-build");

/// The image and the directory of modules of the kernel in the cache; says so, loudly, if there is none.
fn stock() -> Option<(PathBuf, PathBuf)> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/kpatch"));
    let cache = std::env::var_os("KPATCH_CACHE").map(PathBuf::from).or_else(home)?;
    let file = cache.join("kernels/current/kernel.env");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: no kernel in the cache (`{}`): run `make test`", file.display());
        return None;
    };
    let value = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        PathBuf::from(value.unwrap().trim_matches(['"', '\'']))
    };
    Some((value("IMAGE"), value("MODULES")))
}

fn run(arguments: &[&str], file: &Path) -> Output {
    // What the flat command line takes from the environment must not matter.
    let mut command = Command::new(TOOL);
    command.env("KPATCH_CACHE", "/nonexistent").arg("image").args(arguments).arg(file);
    command.output().unwrap()
}

fn text(arguments: &[&str], file: &Path) -> String {
    let output = run(arguments, file);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str], file: &Path) -> Value {
    serde_json::from_str(&text(&[&["--json"], arguments].concat(), file)).unwrap()
}

/// What it says when it refuses.
fn refusal(arguments: &[&str], file: &Path) -> String {
    let output = run(arguments, file);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn says_what_a_kernel_is() {
    let Some((image, _)) = stock() else { return };
    let said = text(&[], &image);
    let document = json(&[], &image);
    let kernel = &document["kernel"];
    for (name, value) in [
        ("banner", &kernel["banner"]),
        ("release", &kernel["release"]),
        ("source", &kernel["source_version"]),
        ("compiler", &kernel["compiler"]),
        ("build-id", &document["build_id"]),
        ("compression", &document["compression"]),
    ] {
        let line = format!("{name:<12} {}\n", value.as_str().unwrap());
        assert!(said.contains(&line), "`{line}` is not in:\n{said}");
    }
    let release = kernel["release"].as_str().unwrap();
    assert!(image.ends_with(format!("vmlinuz-{release}")));
    assert_eq!(document["build_id"].as_str().unwrap().len(), 40);
    assert!(document["symbol_count"].as_u64().unwrap() > 100_000);
    assert_eq!((&document["module"], &document["functions"]), (&Value::Null, &Value::Null));
}

#[test]
fn shows_a_function_with_what_it_refers_to() {
    let Some((image, _)) = stock() else { return };
    let said = text(&["--function", "cmdline_proc_show"], &image);
    assert!(said.contains("cmdline_proc_show: ") && said.contains("position 0 (unique)"), "{said}");
    for expected in ["call   __fentry__", "mov    saved_command_line,%rsi", "call   seq_putc"] {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
    let document = json(&["--function", "schedule", "--function", "show"], &image);
    let all = document["functions"].as_array().unwrap();
    assert!(all.len() > 2, "`show` is there more than once");
    for (nth, function) in all.iter().enumerate() {
        let code = function["code"].as_array().unwrap();
        let bytes: String = code.iter().map(|line| line["bytes"].as_str().unwrap()).collect();
        assert_eq!(function["bytes"].as_str().unwrap(), bytes);
        assert_eq!(function["size"].as_u64().unwrap() * 2, bytes.len() as u64);
        // The first is `schedule`.
        assert_eq!(function["sympos"].as_u64().unwrap(), nth as u64);
    }
    let per_cpu = |line: &Value| line["text"].as_str().unwrap().contains("%gs:const_pcpu_hot");
    assert!(all[0]["code"].as_array().unwrap().iter().any(per_cpu), "{}", all[0]);
}

/// What is listed is what `/proc/kallsyms` shows: moved by KASLR it is the kernel that runs.
#[test]
fn knows_the_kernel_that_runs() {
    let Some((image, _)) = stock() else { return };
    let listed = text(&["--symbols"], &image);
    let moved = |line: &str| match line.strip_prefix("ffffffff") {
        Some(rest) => {
            let address = u32::from_str_radix(&rest[..8], 16).unwrap() + 0x1260_0000;
            format!("ffffffff{address:08x}{}\n", &rest[8..])
        }
        None => format!("{line}\n"),
    };
    let good: String = listed.lines().map(moved).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kallsyms");
    let running = format!("--running={}", file.display());
    std::fs::write(&file, &good).unwrap();
    assert!(text(&[&running], &image).contains("running      yes, moved by KASLR by 0x12600000"));
    assert_eq!(json(&[&running], &image)["kernel"]["kaslr_offset"], "12600000");

    std::fs::write(&file, good.replacen(" cmdline_proc_show\n", " cmdline_proc_shop\n", 1))
        .unwrap();
    let said = refusal(&[&running], &image);
    assert!(said.starts_with("refused: KPB0201") && said.contains("cmdline_proc_shop"), "{said}");
    std::fs::write(&file, listed.replace("ffffffff8", "000000000")).unwrap();
    assert!(refusal(&[&running], &image).contains("KPB0201"), "another address each");
    let hidden = listed.lines().map(|line| format!("{:016x}{}\n", 0, &line[16..]));
    std::fs::write(&file, hidden.collect::<String>()).unwrap();
    let said = refusal(&["--json", &running], &image);
    assert!(said.contains("KPB0207") && said.contains("as root"), "{said}");
}

#[test]
fn says_what_a_module_is() {
    let Some((_, modules)) = stock() else { return };
    let file = shipped_kernel::modules::find_module(&modules, "virtio_blk").unwrap();
    let document = json(&["--function", "virtblk_probe", "--symbols"], &file);
    assert_eq!(document["module"]["name"], "virtio_blk");
    assert_eq!(document["kernel"], Value::Null);
    let count = document["symbols"].as_array().unwrap().len();
    assert_eq!(document["symbol_count"].as_u64().unwrap(), count as u64);
    let has = |name: &str, kind: &str| {
        let all = document["symbols"].as_array().unwrap();
        all.iter().any(|symbol| symbol["name"] == name && symbol["kind"] == kind)
    };
    assert!(has("virtblk_probe", "t") && has("__fentry__", "U") && !has("__fentry__", "t"));
    let said = text(&["--function", "virtblk_probe"], &file);
    for expected in
        ["virtblk_probe in .text: ", "call   __fentry__", "$vd_index_ida,", "call   init_vq"]
    {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
    assert!(text(&[], &file).starts_with("module       virtio_blk\nvermagic "));
    assert!(refusal(&["--function", "__fentry__"], &file).contains("KPB0502"), "undefined there");
    let output = run(&["--running"], &file);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn refuses_what_is_not_there_or_is_no_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vmlinuz");
    assert!(refusal(&[], &file).contains("KPB0207"));
    std::fs::write(&file, "no kernel").unwrap();
    assert!(refusal(&[], &file).contains("KPB0206"));
    std::fs::write(&file, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    assert!(refusal(&[], &file).contains("KPB0207"), "a damaged module");
    let Some((image, _)) = stock() else { return };
    let said = refusal(&["--function", "no_such_function"], &image);
    assert!(said.contains("KPB0502") && said.contains("no_such_function"), "{said}");
}

/// Whatever the bytes of a module are, the answer is one or a refusal.
#[test]
fn damaged_modules_are_shown_or_refused() {
    let Some((_, modules)) = stock() else { return };
    let file = shipped_kernel::modules::find_module(&modules, "virtio_blk").unwrap();
    let good = shipped_kernel::Module::read(&file).unwrap().elf;
    let dir = tempfile::tempdir().unwrap();
    let arguments = ImageArguments {
        file: dir.path().join("damaged.ko"),
        symbols: true,
        functions: vec!["virtblk_probe".to_owned(), "init_vq".to_owned()],
        running: None,
        json: true,
    };
    let mut refused = 0;
    for seed in 0..200_usize {
        let mut data = good.clone();
        // Mostly at the end, where symbols, names and section headers are.
        for step in 1..8 {
            let back = seed.wrapping_mul(7919 * step).wrapping_add(step * step) % 20_000;
            let at = if step == 7 { seed % 64 } else { data.len() - 1 - back };
            data[at] = [0, 0xff, seed as u8][step % 3];
        }
        std::fs::write(&arguments.file, &data).unwrap();
        if let Err(error) = image_report::read(&arguments) {
            assert!(error.is::<Refusal>() || error.is::<Refusals>(), "{seed}: {error:?}");
            refused += 1;
        }
    }
    assert!((20..200).contains(&refused), "{refused} of 200 damaged modules were refused");
}

#[test]
fn a_reader_may_go_early() {
    let Some((image, _)) = stock() else { return };
    let mut child = Command::new(TOOL)
        .args(["image", "--symbols"])
        .arg(&image)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""));
}

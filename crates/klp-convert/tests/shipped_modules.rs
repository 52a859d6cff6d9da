//! Modules as distributions ship them went through objtool, and their kernel loads them: but for not
//! being livepatch modules they break no rule. `KPATCH_TEST_MODULES` names a directory
//! of them (`lib/modules/<release>` of an unpacked kernel), else those of the kernel in the cache of
//! `make demo` are taken (`KPATCH_CACHE`, else `~/.cache/kpatch`). `KPATCH_TEST_MODULES_MOST` bounds
//! their number.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use klp_convert::Target;
use kpatch_refusal::Refusals;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::symvers;

/// The directory of modules; without one it says so.
fn directory() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KPATCH_TEST_MODULES") {
        return Some(named.into());
    }
    let cache = std::env::var_os("KPATCH_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/kpatch")));
    let all = cache?.join("kernels/current/img/lib/modules");
    let first = std::fs::read_dir(all).ok().and_then(|mut all| all.next()?.ok());
    if first.is_none() {
        eprintln!("SKIPPED: KPATCH_TEST_MODULES names no directory, and no kernel is in the cache");
    }
    Some(first?.path())
}

/// Modules from all parts of the kernel.
fn some_modules(directory: &Path) -> Vec<PathBuf> {
    let most = std::env::var("KPATCH_TEST_MODULES_MOST").map_or(20, |n| n.parse().unwrap());
    let mut found = Vec::new();
    modules(directory, &mut found);
    assert!(!found.is_empty());
    let step = found.len().div_ceil(most);
    found.into_iter().step_by(step).collect()
}

fn modules(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            modules(&path, found);
        } else if path.to_string_lossy().contains(".ko") {
            found.push(path);
        }
    }
}

fn content(path: &Path) -> Vec<u8> {
    if path.extension().is_some_and(|e| e == "ko") {
        return std::fs::read(path).unwrap();
    }
    let output = Command::new("xz").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", path.display());
    output.stdout
}

#[test]
fn objtool_ran_on_shipped_modules() {
    let Some(directory) = directory() else { return };
    let found = some_modules(&directory);
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in &found {
        let module = kpatch_elf::read(&content(path)).unwrap();
        count += 1;
        for result in
            [klp_convert::check_objtool_ran(&module), klp_convert::check_indirect_targets(&module)]
        {
            if let Err(refusals) = result {
                wrong.push(format!("{}:\n{refusals}", path.display()));
            }
        }
    }
    eprintln!("{count} modules, {} of them with refusals", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rules hold for what the kernel takes every day: what they say against such modules is only
/// that they are no livepatches, and what a livepatch must not do though others may.
#[test]
fn shipped_modules_fit_their_kernel() {
    let Some(directory) = directory() else { return };
    let release = directory.file_name().unwrap().to_str().unwrap();
    let root = directory.join("../../..");
    let root = if root.join("boot").exists() { root } else { directory.join("../../../..") };
    let image = Image::open(&root.join(format!("boot/vmlinuz-{release}"))).unwrap();
    let kallsyms = Kallsyms::read(&image).unwrap();
    let headers = root.join(format!("usr/src/linux-headers-{release}"));
    let exports = symvers::read(&headers.join("Module.symvers")).unwrap();
    let target =
        Target { kernel: Some((&image, &kallsyms)), modules: None, exports: Some(&exports) };
    let found = some_modules(&directory);
    let mut wrong = Vec::new();
    for path in &found {
        let Err(Refusals(all)) = klp_convert::verify_for(&content(path), &target) else {
            panic!("{} is no livepatch module", path.display());
        };
        // A weak function that another one overrides leaves its entry; constants for set-up only.
        let allowed = ["livepatch module", "is not at a function", "which is freed"];
        let others = all.iter().filter(|r| !allowed.iter().any(|text| r.message.contains(text)));
        wrong.extend(others.map(|other| format!("{}: {other}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

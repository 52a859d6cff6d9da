//! Modules as distributions ship them went through objtool, so the two checks about it must find
//! nothing there. `KPATCH_TEST_MODULES` names a directory of them (`lib/modules/<release>`); the
//! number of modules is bounded by `KPATCH_TEST_MODULES_MOST`.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

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
    let Some(directory) = std::env::var_os("KPATCH_TEST_MODULES") else {
        eprintln!("SKIPPED: KPATCH_TEST_MODULES names no directory of modules");
        return;
    };
    let most = std::env::var("KPATCH_TEST_MODULES_MOST").map_or(60, |n| n.parse().unwrap());
    let mut found = Vec::new();
    modules(Path::new(&directory), &mut found);
    assert!(!found.is_empty());
    let step = found.len().div_ceil(most);
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in found.iter().step_by(step) {
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

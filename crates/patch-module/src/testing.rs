//! What several tests need.

use std::path::Path;
use std::process::Command;

/// Makes an executable shell script. A child process writes it: while this process has the file open
/// for writing, a test that forks in another thread would keep it from being run ("text file busy").
pub(crate) fn script(file: &Path, body: &str) {
    let status = Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(file)
        .arg(body)
        .status()
        .unwrap();
    assert!(status.success());
}

//! The README's table of refusals is the table of the code.

use std::fs;
use std::path::Path;

use kpatch_refusal::Code;

#[test]
fn readme_lists_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| KPB")).collect();
    let expected: Vec<String> =
        Code::ALL.iter().map(|code| format!("| {code} | {} |", code.summary())).collect();
    assert_eq!(rows, expected, "the rows should be:\n{}", expected.join("\n"));
}

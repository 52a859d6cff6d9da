//! The compiler's messages in the user's terms: paths relative to the tree, the first error's
//! place, nothing about farms.

use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

/// The log has all of it; a screen is enough here.
const MOST_LINES: usize = 40;

/// Whether the compiler stopped at a header that is not there (yet).
pub(super) fn misses_a_header(message: &str) -> bool {
    message.lines().any(|line| {
        line.contains(": fatal error: ") && line.ends_with(": No such file or directory")
    })
}

/// The unpatched `source` does not compile.
pub(super) fn original(source: &str, message: &str, farm: &Path) -> Refusal {
    let text = relative(message, farm);
    let hint = "the source is as you gave it: compiler, headers and source must be those of the \
                kernel; the log in the work directory has the command";
    Refusal::new(Code::OriginalDoesNotCompile, place(source, &text), text, hint)
}

/// The patched `source` does not compile.
pub(super) fn patched(source: &str, message: &str, farm: &Path) -> Refusal {
    let text = relative(message, farm);
    let hint = "line numbers are those of the patched file; the unpatched one compiles";
    Refusal::new(Code::DoesNotCompile, place(source, &text), text, hint)
}

fn relative(message: &str, farm: &Path) -> String {
    let text = message.replace(&format!("{}/", farm.display()), "");
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        lines.push("…");
    }
    lines.join("\n")
}

/// Where the first error is: `file:line:column: error: …`.
fn place(source: &str, text: &str) -> Place {
    let found = text.lines().find_map(|line| {
        let end = line.find(": error: ").or_else(|| line.find(": fatal error: "))?;
        let mut parts = line[..end].split(':');
        let file = parts.next()?;
        Some(Place::file(file).line(parts.next()?.parse().ok()?))
    });
    found.unwrap_or_else(|| Place::file(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_place_in_the_tree() {
        let message = "In file included from /f/0/include/a.h:3:\n/f/0/fs/a.c: In function 'f':\n\
                       /f/0/fs/a.c:12:3: error: 'x' undeclared\n   12 |   x;\n";
        let refusal = patched("fs/a.c", message, Path::new("/f/0"));
        assert_eq!(refusal.place, Place::file("fs/a.c").line(12));
        assert_eq!(refusal.code, Code::DoesNotCompile);
        assert!(!refusal.message.contains("/f/0"), "{refusal}");
    }

    #[test]
    fn knows_a_missing_header() {
        assert!(misses_a_header("a.c:3:1: fatal error: flask.h: No such file or directory\n x\n"));
        assert!(!misses_a_header("a.c:3:1: error: No such member\n"));
    }
}

//! Keeps `__LINE__` below a change what it was, so that functions that are not changed do not look
//! changed: `#line N` is inserted behind each change, without a file name. Bias: only where a
//! directive certainly is one: not within a continued line, a comment, or parentheses (a directive
//! among the arguments of a macro is undefined); a later line does as well. Messages about the
//! text are taken from a compilation without these lines, since with them a number may occur twice.

use similar::Algorithm;
use similar::DiffOp;
use similar::capture_diff_slices;

use crate::patch_file::split_lines;

/// The text of `patched` with line directives that give its unchanged lines their numbers in
/// `original`.
pub fn insert(original: &[u8], patched: &[u8]) -> Vec<u8> {
    let old = split_lines(original);
    let new = split_lines(patched);
    let states = scan(&new);
    let mut directives: Vec<Option<usize>> = vec![None; new.len()];
    // Whether anything above has moved the numbers, so that they need setting right.
    let mut moved = false;
    for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
        let DiffOp::Equal { old_index, new_index, len } = op else { continue };
        moved |= old_index != new_index;
        if !moved {
            continue;
        }
        let mut settled = false;
        for step in 0..len {
            let state = states[new_index + step];
            if !settled && state.safe {
                directives[new_index + step] = Some(old_index + step + 1);
                settled = true;
            }
            // A directive in a group that is skipped does nothing: repeat it behind the group.
            if state.changes_group && state.groups > 0 {
                settled = false;
            }
        }
    }
    let mut text = Vec::with_capacity(patched.len() + 256);
    for (line, directive) in new.iter().zip(directives) {
        if let Some(number) = directive {
            text.extend_from_slice(format!("#line {number}\n").as_bytes());
        }
        text.extend_from_slice(line);
    }
    text
}

/// What is known at the start of a line.
#[derive(Debug, Clone, Copy)]
struct LineState {
    /// A directive may stand before this line.
    safe: bool,
    /// How many `#if` groups are open before this line.
    groups: usize,
    /// The line is `#else`, `#elif` or `#endif`.
    changes_group: bool,
}

fn scan(lines: &[&[u8]]) -> Vec<LineState> {
    let mut lexer = Lexer::default();
    lines.iter().map(|line| lexer.line(line)).collect()
}

/// What the C preprocessor would know at the end of the lines so far, as far as needed here.
#[derive(Debug, Default)]
struct Lexer {
    in_comment: bool,
    continued: bool,
    /// The line belongs to a directive (which may be continued).
    in_directive: bool,
    /// Open within a continued line: the quote.
    quote: Option<u8>,
    line_comment: bool,
    parentheses: usize,
    /// `parentheses` at each open `#if`, from which its alternatives start, too; and whether the
    /// text since then is certainly skipped (`#if 0`).
    groups: Vec<(usize, bool)>,
}

impl Lexer {
    fn line(&mut self, line: &[u8]) -> LineState {
        let starts_fresh = !self.in_comment && !self.continued;
        let text = trim(line);
        // `NAME` on one line and `(` on the next is a macro's invocation, too.
        let opens = text.first() == Some(&b'(');
        let safe = starts_fresh && self.parentheses == 0 && !opens;
        let groups = self.groups.len();
        let mut changes_group = false;
        if starts_fresh {
            self.in_directive = text.first() == Some(&b'#');
            self.quote = None;
            self.line_comment = false;
            if self.in_directive {
                changes_group = self.conditional(trim(&text[1..]));
            }
        }
        self.text(line);
        LineState { safe, groups, changes_group }
    }

    fn conditional(&mut self, directive: &[u8]) -> bool {
        if directive.starts_with(b"if") {
            let skipped = directive.strip_prefix(b"if ").is_some_and(|rest| trim(rest) == b"0");
            self.groups.push((self.parentheses, skipped));
            return false;
        }
        if directive.starts_with(b"el") {
            if let Some((before, skipped)) = self.groups.last_mut() {
                self.parentheses = *before;
                *skipped = false;
            }
            return true;
        }
        if directive.starts_with(b"endif") {
            if let Some((before, true)) = self.groups.pop() {
                self.parentheses = before;
            }
            return true;
        }
        false
    }

    fn text(&mut self, line: &[u8]) {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        self.continued = body.ends_with(b"\\");
        let mut at = 0;
        while at < body.len() {
            let pair = &body[at..body.len().min(at + 2)];
            let byte = body[at];
            if self.line_comment {
                break;
            }
            if self.in_comment {
                if pair == b"*/" {
                    self.in_comment = false;
                    at += 1;
                }
            } else if let Some(quote) = self.quote {
                match byte {
                    b'\\' => at += 1,
                    _ if byte == quote => self.quote = None,
                    _ => {}
                }
            } else if pair == b"/*" {
                self.in_comment = true;
                at += 1;
            } else if pair == b"//" {
                self.line_comment = true;
            } else if matches!(byte, b'"' | b'\'') {
                self.quote = Some(byte);
            } else if !self.in_directive {
                match byte {
                    b'(' => self.parentheses += 1,
                    b')' => self.parentheses = self.parentheses.saturating_sub(1),
                    _ => {}
                }
            }
            at += 1;
        }
    }
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(original: &str, patched: &str) -> String {
        String::from_utf8(insert(original.as_bytes(), patched.as_bytes())).unwrap()
    }

    #[test]
    fn numbers_lines_behind_a_change() {
        assert_eq!(run("a\nb\nc\n", "a\nx\ny\nc\n"), "a\nx\ny\n#line 3\nc\n");
        assert_eq!(run("a\nb\nc\nd\n", "a\nd\n"), "a\n#line 4\nd\n");
        assert_eq!(run("a\nb\nc\n", "a\nx\nc\n"), "a\nx\nc\n");
    }

    #[test]
    fn sets_right_again_what_a_later_change_balances() {
        let text = run("a\nb\nc\nd\n", "x\na\nb\nd\n");
        assert_eq!(text, "x\n#line 1\na\nb\n#line 4\nd\n");
    }

    #[test]
    fn not_within_a_macro_continuation() {
        let old = "#define M(x) \\\n\tdo { \\\n\t\tf(x); \\\n\t} while (0)\nint a;\n";
        let new = "#define M(x) \\\n\tdo { \\\n\t\tg(x); \\\n\t\tf(x); \\\n\t} while (0)\nint a;\n";
        let expected = new.replace("int a;", "#line 5\nint a;");
        assert_eq!(run(old, new), expected);
    }

    #[test]
    fn not_within_a_comment_or_arguments() {
        let old = "/* one\n * two\n */\nf(1,\n  2);\nint a;\n";
        let new = "/* one\n * and\n * two\n */\nf(1,\n  2);\nint a;\n";
        assert_eq!(run(old, new), new.replace("f(1,", "#line 4\nf(1,"));
        let new = "/* one\n * two\n */\nf(0,\n  1,\n  2);\nint a;\n";
        assert_eq!(run(old, new), new.replace("int a;", "#line 6\nint a;"));
        let old = "F\n(1);\nint a;\n";
        assert_eq!(run(old, "F\n\n(1);\nint a;\n"), "F\n\n(1);\n#line 3\nint a;\n");
    }

    #[test]
    fn parentheses_in_strings_and_directives_do_not_count() {
        let old = "#define P (\nchar *s = \"(\"; char c = '('; /* ( */ // (\nx\nint a;\n";
        let new = old.replace("x\n", "x\ny\n");
        assert_eq!(run(old, &new), new.replace("int a;", "#line 4\nint a;"));
    }

    #[test]
    fn a_directive_in_a_skipped_group_is_repeated() {
        let old = "#ifdef A\n1\n2\n#else\n3\n#endif\n4\n";
        let new = "#ifdef A\n1\nx\n2\n#else\n3\n#endif\n4\n";
        let expected = "#ifdef A\n1\nx\n#line 3\n2\n#else\n#line 5\n3\n#endif\n#line 7\n4\n";
        assert_eq!(run(old, new), expected);
    }

    #[test]
    fn alternatives_that_open_the_same_parenthesis() {
        let old = "0\n#ifdef A\nif (a &&\n#else\nif (b &&\n#endif\n c)\nint a;\n";
        let text = run(old, &old.replace("c)\n", "c &&\n d)\n"));
        assert!(text.ends_with("#line 8\nint a;\n"), "{text}");
    }

    /// The compiler itself says what `__LINE__` is.
    #[test]
    fn the_compiler_agrees() {
        let old = "int f(int);\n#define M(x) \\\n\tf(x)\nint a(void) { return __LINE__; }\n\
                   #if 0\ndon't\n#endif\nint b(void) { return M(\n1) + __LINE__; }\n";
        let new = old
            .replace("\tf(x)", "\tf(x) + \\\n\tf(x)")
            .replace("don't", "don't\n(")
            .replace("int f", "int g(void);\nint f");
        let text = run(old, &new);
        let dir = tempfile::tempdir().unwrap();
        let lines_of = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let output =
                std::process::Command::new("cc").args(["-E", "-P"]).arg(&path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            let a = text.split("return ").nth(1).unwrap().split(';').next().unwrap().to_owned();
            (a, text.rsplit("+ ").next().unwrap().to_owned())
        };
        assert_eq!(lines_of("old.c", old), lines_of("new.c", &text));
        assert_ne!(lines_of("old.c", old).0, lines_of("plain.c", &new).0);
    }
}

//! Splits a recipe line into simple commands of words, as the shell would: quotes, backslashes and
//! the operators that end a command. Expansions are not made; kbuild's compiler commands have none.

/// The first simple command of `line` for which `wanted` says so; its words are unquoted.
pub(crate) fn find_command(
    line: &str,
    mut wanted: impl FnMut(&[String]) -> bool,
) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    loop {
        let next = chars.next();
        match next {
            Some('\'') => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            Some('"') => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => break,
                        },
                        c => word.push(c),
                    }
                }
            }
            Some('\\') => word.get_or_insert_default().extend(chars.next()),
            Some(c) if c.is_whitespace() => words.extend(word.take()),
            Some(';' | '|' | '&' | '(' | ')') | None => {
                words.extend(word.take());
                if wanted(&words) {
                    return Some(words);
                }
                words.clear();
                next?;
            }
            Some(c) => word.get_or_insert_default().push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquotes_like_a_shell() {
        let line =
            r#"set -e; echo '  CC'; gcc -DX='"a b"' -D"Y=\"z\"" q\ r -o x.o x.c ; fixdep 'gcc'"#;
        let words = find_command(line, |words| words.first().is_some_and(|w| w == "gcc"));
        assert_eq!(words.unwrap(), ["gcc", "-DX=\"a b\"", "-DY=\"z\"", "q r", "-o", "x.o", "x.c"]);
    }

    #[test]
    fn an_empty_word_is_a_word() {
        assert_eq!(find_command("a ''", |words| !words.is_empty()).unwrap(), ["a", ""]);
        assert_eq!(find_command("a; b", |words| words == ["c"]), None);
    }
}

//! C text as tokens, as far as names need it: comments and continued lines are gone, directives stand by
//! themselves. Bias: text that is no C (assembly, a file cut off) gives some tokens, never an error.

/// One preprocessing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An identifier or keyword.
    Word(&'a [u8]),
    /// A number, string or character.
    Literal(&'a [u8]),
    /// `##`.
    Paste,
    /// Any other character.
    Other(u8),
}

/// `text` with each comment a blank, and continued lines joined.
pub(super) fn clean(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut quote: Option<u8> = None;
    while let Some(byte) = text.get(at).copied() {
        let rest = &text[at..];
        if rest.starts_with(b"\\\n") || rest.starts_with(b"\\\r\n") {
            at += if rest[1] == b'\n' { 2 } else { 3 };
            continue;
        }
        match quote {
            Some(open) => {
                if byte == b'\\' {
                    plain.push(byte);
                    at += 1;
                    plain.extend(text.get(at));
                } else {
                    // A quote that is not closed on its line is no quote (an apostrophe in `#error`).
                    if byte == open || byte == b'\n' {
                        quote = None;
                    }
                    plain.push(byte);
                }
                at += 1;
            }
            None if rest.starts_with(b"/*") => {
                let end = memchr::memmem::find(&rest[2..], b"*/");
                at = end.map_or(text.len(), |end| at + 2 + end + 2);
                plain.push(b' ');
            }
            None if rest.starts_with(b"//") => {
                let end = memchr::memchr(b'\n', rest);
                at = end.map_or(text.len(), |end| at + end);
            }
            None => {
                if matches!(byte, b'"' | b'\'') {
                    quote = Some(byte);
                }
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

/// The tokens of `text`, which [`clean`] made (or a part of that).
pub(super) fn tokens(text: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while text.get(at)?.is_ascii_whitespace() {
            at += 1;
        }
        let rest = &text[at..];
        let (token, length) = match rest[0] {
            byte if starts_word(byte) => {
                let length = rest.iter().take_while(|byte| in_word(**byte)).count();
                (Token::Word(&rest[..length]), length)
            }
            byte if byte.is_ascii_digit() => {
                let part = |byte: &&u8| in_word(**byte) || **byte == b'.';
                let length = rest.iter().take_while(part).count();
                (Token::Literal(&rest[..length]), length)
            }
            quote @ (b'"' | b'\'') => {
                let length = quoted(rest, quote);
                (Token::Literal(&rest[..length]), length)
            }
            b'#' if rest.get(1) == Some(&b'#') => (Token::Paste, 2),
            byte => (Token::Other(byte), 1),
        };
        at += length;
        Some(token)
    })
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match *byte {
            b'\\' => at += 1,
            b'\n' => return at,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Whether an identifier may begin with `byte`.
pub(super) fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

fn in_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_continuations_are_gone() {
        let text = b"a /* b\n * c */ d\\\n e // f\n\"/*g\" '\"' /* h */\n#error don't\ni";
        let plain = clean(text);
        assert_eq!(plain, b"a   d e \n\"/*g\" '\"'  \n#error don't\ni");
        assert_eq!(clean(b"a /* open"), b"a  ");
        assert_eq!(clean(b"a \"b\\"), b"a \"b\\");
    }

    #[test]
    fn splits_into_tokens() {
        let found: Vec<Token<'_>> = tokens(b"x_1##y(0x1u, \"a b\\\"\")").collect();
        let expected = [
            Token::Word(b"x_1"),
            Token::Paste,
            Token::Word(b"y"),
            Token::Other(b'('),
            Token::Literal(b"0x1u"),
            Token::Other(b','),
            Token::Literal(b"\"a b\\\"\""),
            Token::Other(b')'),
        ];
        assert_eq!(found, expected);
        assert_eq!(tokens(b"'\\").count(), 1);
    }
}

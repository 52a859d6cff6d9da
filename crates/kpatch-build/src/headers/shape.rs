//! What kind of entity a run of top-level tokens is, and its names. Bias: `None` unless certain.

use super::tokens::Token;

/// Attributes and annotations that take arguments, and so look like functions.
const ATTRIBUTES: [&[u8]; 24] = [
    b"__attribute__",
    b"__attribute",
    b"__acquires",
    b"__acquire",
    b"__releases",
    b"__release",
    b"__must_hold",
    b"__cond_acquires",
    b"__printf",
    b"__scanf",
    b"__aligned",
    b"__alloc_size",
    b"__realloc_size",
    b"__malloc",
    b"__assume_aligned",
    b"__counted_by",
    b"__nonnull",
    b"__diagnose_as",
    b"__alignof__",
    b"__typeof__",
    b"typeof",
    b"__no_sanitize",
    b"__deprecated",
    b"_Alignas",
];

/// With one of these an entity has an effect without being named.
const EMITTING: [&[u8]; 17] = [
    b"__used",
    b"used",
    b"__used__",
    b"__section",
    b"section",
    b"__section__",
    b"constructor",
    b"__constructor__",
    b"alias",
    b"__alias",
    b"__alias__",
    b"asm",
    b"__asm__",
    b"__asm",
    b"__initcall",
    b"EXPORT_SYMBOL",
    b"EXPORT_SYMBOL_GPL",
];

const INLINE: [&[u8]; 4] = [b"inline", b"__inline", b"__inline__", b"__always_inline"];

/// Annotations without arguments, which stand where a name could.
const ANNOTATIONS: [&[u8]; 22] = [
    b"__packed",
    b"__aligned_largest",
    b"____cacheline_aligned",
    b"____cacheline_aligned_in_smp",
    b"____cacheline_internodealigned_in_smp",
    b"__cacheline_aligned",
    b"__cacheline_aligned_in_smp",
    b"__randomize_layout",
    b"__no_randomize_layout",
    b"__designated_init",
    b"__attribute_const__",
    b"__pure",
    b"__must_check",
    b"__cold",
    b"__weak",
    b"__read_mostly",
    b"__ro_after_init",
    b"__percpu",
    b"__rcu",
    b"__user",
    b"__iomem",
    b"__maybe_unused",
];

/// Words that declare and name nothing.
const PLAIN: [&[u8]; 20] = [
    b"static",
    b"extern",
    b"const",
    b"volatile",
    b"register",
    b"signed",
    b"unsigned",
    b"int",
    b"long",
    b"short",
    b"char",
    b"void",
    b"bool",
    b"_Bool",
    b"float",
    b"double",
    b"struct",
    b"union",
    b"enum",
    b"typedef",
];

/// Whether a brace behind `open` begins a function's body rather than a type's or an initialiser.
pub(super) fn opens_body(open: &[Token<'_>]) -> bool {
    let outer = outer(open);
    let assigned = outer.contains(&Token::Other(b'='));
    let calls = outer.contains(&Token::Other(b'('));
    let is_type =
        matches!(outer.split_last(), Some((Token::Word(b"struct" | b"union" | b"enum"), _)))
            || matches!(
                outer.as_slice(),
                [.., Token::Word(b"struct" | b"union" | b"enum"), Token::Word(_)]
            );
    calls && !assigned && !is_type
}

/// The names of the entity `open`; `None` if it may have an effect without being named.
pub(super) fn names(open: &[Token<'_>]) -> Option<Vec<String>> {
    let outer = outer(open);
    let words: Vec<&[u8]> = outer.iter().filter_map(text).collect();
    let all_words = || attribute_words(open);
    if words.is_empty() || all_words().any(|word| EMITTING.contains(&word)) {
        return None;
    }
    let has = |word: &[u8]| words.contains(&word);
    if matches!(words[0], b"_Static_assert" | b"static_assert") {
        // It gives no code; if it fails, so does what is compiled.
        return Some(Vec::new());
    }
    let is_typedef = words.first() == Some(&&b"typedef"[..]);
    let mut found = tags(open);
    let called = called(&outer);
    let body = opens_body_somewhere(open);
    if called.iter().any(|name| name.iter().all(|byte| !byte.is_ascii_lowercase())) {
        // `DECLARE_X(name);`, also behind `static`: what it declares cannot be seen.
        return None;
    }
    if is_typedef {
        found.extend(declarators(&outer));
        found.extend(pointer_names(open));
        return some(found);
    }
    let is_static = has(b"static") || has(b"extern");
    if body {
        let inline = words.iter().any(|word| INLINE.contains(word));
        if !is_static || !inline {
            return None;
        }
        found.extend(called.iter().map(|name| lossy(name)));
        return some(found);
    }
    let assigned = outer.contains(&Token::Other(b'='));
    if !called.is_empty() && !assigned {
        // A prototype begins with a type, anything else is a macro that makes who knows what.
        if words.first() == called.first() {
            return None;
        }
        found.extend(called.iter().map(|name| lossy(name)));
        return some(found);
    }
    let variables = declarators(&outer);
    let only_type = variables.is_empty() && !found.is_empty();
    if only_type {
        return some(found);
    }
    if !is_static {
        return None;
    }
    found.extend(variables);
    found.extend(pointer_names(open));
    some(found)
}

fn some(mut names: Vec<String>) -> Option<Vec<String>> {
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    (!names.is_empty()).then_some(names)
}

fn text<'a>(token: &Token<'a>) -> Option<&'a [u8]> {
    match token {
        Token::Word(text) => Some(text),
        _ => None,
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn is_attribute(token: &Token<'_>) -> bool {
    text(token).is_some_and(|word| ATTRIBUTES.contains(&word))
}

/// The tokens outside of braces, brackets and parentheses, of which the opening ones stay; without attributes
/// that have arguments.
fn outer<'a>(open: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut depth = 0usize;
    let mut found: Vec<Token<'a>> = Vec::new();
    for token in open {
        match token {
            Token::Other(open @ (b'(' | b'{' | b'[')) => {
                let attribute = *open == b'(' && found.last().is_some_and(is_attribute);
                match (depth, attribute) {
                    (0, true) => {
                        found.pop();
                    }
                    (0, false) => found.push(*token),
                    _ => {}
                }
                depth += 1;
            }
            Token::Other(b')' | b'}' | b']') => depth = depth.saturating_sub(1),
            token if depth == 0 => found.push(*token),
            _ => {}
        }
    }
    found
}

/// Words outside of braces, those of attributes and of parameters included.
fn attribute_words<'a, 'b>(open: &'b [Token<'a>]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'b> {
    let mut depth = 0usize;
    open.iter().filter_map(move |token| match token {
        Token::Other(b'{') => {
            depth += 1;
            None
        }
        Token::Other(b'}') => {
            depth = depth.saturating_sub(1);
            None
        }
        Token::Word(word) if depth == 0 => Some(*word),
        _ => None,
    })
}

/// Words with a `(` behind them that are no attributes.
fn called<'a>(outer: &[Token<'a>]) -> Vec<&'a [u8]> {
    let pairs = outer.windows(2).filter_map(|pair| match pair {
        [Token::Word(word), Token::Other(b'(')] => Some(*word),
        _ => None,
    });
    pairs.filter(|word| !ATTRIBUTES.contains(word) && !PLAIN.contains(word)).collect()
}

fn opens_body_somewhere(open: &[Token<'_>]) -> bool {
    let mut depth = 0usize;
    for (at, token) in open.iter().enumerate() {
        match token {
            Token::Other(b'{') if depth == 0 => return opens_body(&open[..at]),
            Token::Other(b'(') => depth += 1,
            Token::Other(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Tags of types that are declared or defined, and enumerators, at any depth.
fn tags(open: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    // For each open brace whether it is an enumeration's.
    let mut braces: Vec<bool> = Vec::new();
    let mut parentheses = 0usize;
    let mut keyword: Option<&[u8]> = None;
    let only = matches!(
        open,
        [Token::Word(b"struct" | b"union" | b"enum"), Token::Word(_), Token::Other(b';')]
    );
    for (at, token) in open.iter().enumerate() {
        let next = open.get(at + 1);
        match token {
            Token::Word(word @ (b"struct" | b"union" | b"enum")) => keyword = Some(word),
            Token::Word(word) => {
                let opens = next == Some(&Token::Other(b'{'));
                if keyword.is_some() && (opens || only) {
                    found.push(lossy(word));
                }
                if keyword.is_some() && !opens && !is_attribute(token) && !word.starts_with(b"__") {
                    keyword = None;
                }
                let before = at.checked_sub(1).map(|at| &open[at]);
                let first = matches!(before, Some(Token::Other(b'{' | b',')));
                if parentheses == 0 && braces.last() == Some(&true) && first {
                    found.push(lossy(word));
                }
            }
            Token::Other(b'{') => {
                braces.push(keyword == Some(&b"enum"[..]));
                keyword = None;
            }
            Token::Other(b'}') => {
                braces.pop();
            }
            Token::Other(b'(') => parentheses += 1,
            Token::Other(b')') => parentheses = parentheses.saturating_sub(1),
            Token::Other(b';' | b'*' | b'=' | b',') => keyword = None,
            _ => {}
        }
    }
    found
}

/// Names that a declaration gives to variables or types.
fn declarators(outer: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut value = false;
    for (at, token) in outer.iter().enumerate() {
        match token {
            Token::Other(b'=') => value = true,
            Token::Other(b',') => value = false,
            Token::Word(word) if !value && !PLAIN.contains(word) && !ANNOTATIONS.contains(word) => {
                let mut next = outer[at + 1..].iter();
                let end = next.find(
                    |token| !matches!(token, Token::Word(word) if ANNOTATIONS.contains(word)),
                );
                let ends = matches!(end, Some(Token::Other(b';' | b',' | b'=' | b'[' | b':')));
                let tag = at.checked_sub(1).map(|at| outer[at]);
                let is_tag = matches!(tag, Some(Token::Word(b"struct" | b"union" | b"enum")));
                if !is_tag && ends {
                    found.push(lossy(word));
                }
            }
            _ => {}
        }
    }
    found
}

/// `name` of `(*name)(…)`.
fn pointer_names(open: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut braces = 0usize;
    for (at, token) in open.iter().enumerate() {
        match token {
            Token::Other(b'{') => braces += 1,
            Token::Other(b'}') => braces = braces.saturating_sub(1),
            Token::Other(b'(') if braces == 0 => {
                let rest = open[at + 1..].iter();
                let mut words = rest.skip_while(|token| **token == Token::Other(b'*'));
                let pointer = open.get(at + 1) == Some(&Token::Other(b'*'));
                if let (true, Some(Token::Word(word))) = (pointer, words.next()) {
                    found.push(lossy(word));
                }
            }
            _ => {}
        }
    }
    found
}

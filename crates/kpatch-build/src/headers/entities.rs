//! A C file as its top-level entities: macros, functions, types, declarations, each with the names by which
//! other text gets at it. Bias: an entity that is not certainly understood, or that gives code or data
//! without being named (a definition that is not `static`, a macro that makes definitions), is *emitting*:
//! every file that reads it counts as one that uses it.

use std::hash::Hash;
use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::shape;
use super::tokens::Token;
use super::tokens::clean;
use super::tokens::tokens;

/// One top-level entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    /// By which it is used.
    pub(super) names: Vec<String>,
    /// It has an effect of its own where it is read.
    pub(super) emits: bool,
    /// It is a macro: text that may make names of parts.
    pub(super) is_macro: bool,
    /// All words in it and in the conditions around it, hashed by [`word`], sorted.
    pub(super) words: Vec<u64>,
    /// The words that it makes with `##`.
    pub(super) patterns: Vec<Vec<Piece>>,
    /// Its tokens and conditions, hashed.
    pub(super) content: u64,
}

/// A part of a word that a macro makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it is written.
    Text(String),
    /// A parameter.
    Gap,
}

/// The hash by which words are compared.
pub(super) fn word(text: &[u8]) -> u64 {
    hash(&text)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The entities of the C text `text`.
pub(super) fn entities(text: &[u8]) -> Vec<Entity> {
    let plain = clean(text);
    let mut splitter = Splitter::default();
    for line in plain.split(|byte| *byte == b'\n') {
        match line.trim_ascii_start().strip_prefix(b"#") {
            Some(directive) if !directive.starts_with(b"#") => splitter.directive(directive),
            _ => tokens(line).for_each(|token| splitter.token(token)),
        }
    }
    splitter.finish()
}

#[derive(Debug, Default)]
struct Splitter<'a> {
    found: Vec<Entity>,
    /// The tokens of the entity that is open.
    open: Vec<Token<'a>>,
    braces: usize,
    parentheses: usize,
    /// The open braces are a function's body.
    in_body: bool,
    conditions: Vec<Condition<'a>>,
}

#[derive(Debug)]
struct Condition<'a> {
    /// Tokens of `#if` and of the alternatives since then.
    tokens: Vec<Token<'a>>,
    /// Where braces and parentheses stood at `#if`: an alternative starts from there, too.
    depth: (usize, usize, bool),
    /// C++ is never compiled.
    skipped: bool,
}

impl<'a> Splitter<'a> {
    fn directive(&mut self, text: &'a [u8]) {
        let all: Vec<Token<'a>> = tokens(text).collect();
        let Some(Token::Word(name)) = all.first().copied() else { return };
        let rest = &all[1..];
        match name {
            b"if" | b"ifdef" | b"ifndef" => {
                let skipped = rest == [Token::Word(b"__cplusplus")] && name == b"ifdef";
                let depth = (self.braces, self.parentheses, self.in_body);
                self.conditions.push(Condition { tokens: all, depth, skipped });
            }
            b"else" | b"elif" | b"elifdef" | b"elifndef" => {
                if let Some(condition) = self.conditions.last_mut() {
                    condition.tokens.extend(all);
                    condition.skipped = false;
                    (self.braces, self.parentheses, self.in_body) = condition.depth;
                }
            }
            b"endif" => {
                self.conditions.pop();
            }
            b"define" => self.define(rest, is_function_like(text)),
            b"undef" => {
                let names = rest.iter().filter_map(as_name).collect();
                self.keep(&all, names, false, true, Vec::new());
            }
            // What an included file changes is not known here; so is what a pragma does.
            b"include" | b"include_next" | b"pragma" | b"error" => {
                let once = matches!(rest, [Token::Word(b"once")]);
                if !once && !self.is_skipped() {
                    self.keep(&all, Vec::new(), true, false, Vec::new());
                }
            }
            _ => {}
        }
    }

    fn define(&mut self, rest: &[Token<'a>], function_like: bool) {
        let Some(name) = rest.first().and_then(as_name) else { return };
        let body = &rest[1..];
        let parameters: Vec<&[u8]> = match body.first() {
            Some(Token::Other(b'(')) if function_like => {
                let inside = body.iter().take_while(|token| **token != Token::Other(b')'));
                inside.filter_map(as_word).collect()
            }
            _ => Vec::new(),
        };
        let patterns = patterns(body, &parameters);
        // Tokens do not tell `#define f(a) g` from `#define f (a) g`.
        let kind = if function_like { b'(' } else { b'#' };
        let all: Vec<Token<'a>> =
            std::iter::once(Token::Other(kind)).chain(rest.to_vec()).collect();
        let first = self.found.len();
        self.keep(&all, vec![name], false, true, patterns);
        // A parameter is another thing than what has its name elsewhere.
        let parameters: Vec<u64> = parameters.iter().map(|parameter| word(parameter)).collect();
        for entity in &mut self.found[first..] {
            entity.words.retain(|word| !parameters.contains(word));
        }
    }

    fn is_skipped(&self) -> bool {
        self.conditions.iter().any(|condition| condition.skipped)
    }

    fn token(&mut self, token: Token<'a>) {
        if self.is_skipped() {
            return;
        }
        if self.open.is_empty() && token == Token::Other(b';') {
            return;
        }
        if self.braces == 0 && token == Token::Other(b'{') {
            self.in_body = self.parentheses == 0 && shape::opens_body(&self.open);
        }
        self.open.push(token);
        match token {
            Token::Other(b'{') => self.braces += 1,
            Token::Other(b'(') => self.parentheses += 1,
            Token::Other(b')') => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Other(b'}') => {
                self.braces = self.braces.saturating_sub(1);
                if self.braces == 0 && self.parentheses == 0 && self.in_body {
                    self.close();
                }
            }
            Token::Other(b';') if self.braces == 0 && self.parentheses == 0 => self.close(),
            _ => {}
        }
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.in_body = false;
        let (names, emits) = match shape::names(&open) {
            Some(names) => (names, false),
            None => (Vec::new(), true),
        };
        self.keep(&open, names, emits, false, Vec::new());
    }

    fn keep(
        &mut self,
        all: &[Token<'a>],
        names: Vec<String>,
        emits: bool,
        is_macro: bool,
        patterns: Vec<Vec<Piece>>,
    ) {
        let conditions = self.conditions.iter().flat_map(|condition| &condition.tokens);
        let mut words: Vec<u64> =
            all.iter().chain(conditions.clone()).filter_map(as_part).map(word).collect();
        words.sort_unstable();
        words.dedup();
        let mut hasher = FxHasher::default();
        for token in conditions.chain(all) {
            match token {
                Token::Word(text) | Token::Literal(text) => text.hash(&mut hasher),
                Token::Paste => b"##".hash(&mut hasher),
                Token::Other(byte) => byte.hash(&mut hasher),
            }
        }
        let content = hasher.finish();
        self.found.push(Entity { names, emits, is_macro, words, patterns, content });
    }

    fn finish(mut self) -> Vec<Entity> {
        if !self.open.is_empty() {
            // Cut off, or braces that conditions leave unbalanced.
            let open = std::mem::take(&mut self.open);
            self.keep(&open, Vec::new(), true, false, Vec::new());
        }
        self.found
    }
}

fn as_word<'a>(token: &Token<'a>) -> Option<&'a [u8]> {
    match token {
        Token::Word(text) => Some(text),
        _ => None,
    }
}

/// A word or number: what can be a part of a word.
pub(super) fn as_part<'a>(token: &Token<'a>) -> Option<&'a [u8]> {
    match token {
        Token::Word(text) => Some(text),
        Token::Literal(text) if !matches!(text.first(), Some(b'"' | b'\'')) => Some(text),
        _ => None,
    }
}

/// The words that a macro's body makes with `##`.
fn patterns(body: &[Token<'_>], parameters: &[&[u8]]) -> Vec<Vec<Piece>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let mut pieces = Vec::new();
        let mut end = at;
        // `a ## b ## c`; a comma before `##` makes no word.
        while let Some(part) = body.get(end).and_then(as_part) {
            let gap = parameters.contains(&part) || part == b"__VA_ARGS__";
            let text = || Piece::Text(String::from_utf8_lossy(part).into_owned());
            pieces.push(if gap { Piece::Gap } else { text() });
            if body.get(end + 1) != Some(&Token::Paste) {
                break;
            }
            end += 2;
        }
        if pieces.len() > 1 {
            found.push(pieces);
        }
        at = end + 1;
    }
    found
}

/// Whether the macro that `text`, from `define` on, defines has parameters: they follow its name at once.
fn is_function_like(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let rest = text.strip_prefix(b"define").unwrap_or(text).trim_ascii_start();
    let name = match tokens(rest).next() {
        Some(Token::Word(name)) => name,
        _ => return false,
    };
    rest.get(name.len()) == Some(&b'(')
}

fn as_name(token: &Token<'_>) -> Option<String> {
    as_word(token).map(|text| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Vec<(Vec<String>, bool)> {
        entities(text.as_bytes()).into_iter().map(|it| (it.names, it.emits)).collect()
    }

    fn named(names: &[&str]) -> (Vec<String>, bool) {
        (names.iter().map(|name| (*name).to_owned()).collect(), false)
    }

    #[test]
    fn names_what_a_header_offers() {
        for (text, names) in [
            ("static inline int f(int a) { return a; }", &["f"][..]),
            ("static __always_inline __must_check int\nf(int a)\n__acquires(x)\n{ g(a); }", &["f"]),
            ("extern int f(struct s *a) __printf(1, 2);", &["f"]),
            ("__printf(1, 2) int f(const char *, ...);", &["f"]),
            ("struct s;", &["s"]),
            ("struct s { int a; struct t { int b; } c; } __packed;", &["s", "t"]),
            ("typedef struct s { int a; } s_t;", &["s", "s_t"]),
            ("typedef int (*f_t)(struct s *a, int b);", &["f_t"]),
            ("enum e { A = BIT(3), B, C };", &["e", "A", "B", "C"]),
            ("extern struct s a, *b, c[4];", &["a", "b", "c"]),
            ("static const char *const a[] = { [A] = \"x\", };", &["a"]),
            ("#define M(a) f(a)", &["M"]),
            ("#define M \\\n\tf(a)", &["M"]),
        ] {
            assert_eq!(run(text), [named(names)], "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_emits() {
        for text in [
            "int f(int a) { return a; }",
            "int a;",
            "DEFINE_MUTEX(a);",
            "static DEFINE_MUTEX(a);",
            "TRACE_EVENT(a, TP_PROTO(int b), TP_fast_assign(__entry->b = b;));",
            "static int a __used = 3;",
            "static int a __attribute__((section(\"x\"))) = 3;",
            "asm(\".globl x\");",
            "#include <linux/x.h>",
            "static inline int f(int a) {",
        ] {
            assert!(run(text).iter().all(|(_, emits)| *emits), "{text}: {:?}", run(text));
            assert!(!run(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn conditions_belong_to_what_they_switch() {
        let with = |condition: &str| {
            entities(format!("#ifdef {condition}\nint f(void);\n#endif\n").as_bytes())
        };
        assert_ne!(with("A")[0].content, with("B")[0].content);
        assert!(with("A")[0].words.contains(&word(b"A")));
        let same = entities(b"/* x */ int  f(\nvoid);");
        assert_eq!(same[0].content, entities(b"int f(void);")[0].content);
    }

    #[test]
    fn alternatives_that_open_the_same_body() {
        let text = "#ifdef A\nstatic inline int f(int a) {\n#else\nstatic inline int f(long a) {\n\
                    #endif\nreturn a; }\nstatic inline int g(void) { return 0; }";
        let found = run(text);
        assert_eq!(found.last().unwrap(), &named(&["g"]));
        assert_eq!(found.len(), 2, "{found:?}");
        let text = "#ifdef __cplusplus\nextern \"C\" {\n#endif\nint f(void);\n#ifdef __cplusplus\n}\n#endif";
        assert_eq!(run(text), [named(&["f"])]);
    }

    #[test]
    fn parameters_follow_the_name_at_once() {
        let of = |text: &str| entities(text.as_bytes()).remove(0);
        let names_x = |text: &str| of(text).words.contains(&word(b"x"));
        assert!(names_x("#define M (x + 1)"));
        assert!(names_x("# define  M\t(x)"));
        assert!(names_x("#define M(a) (x + a)"));
        assert!(!names_x("#define M(x) (x + 1)"));
        assert_ne!(of("#define M(x) x").content, of("#define M (x) x").content);
        assert_eq!(of("#define M(x) x").content, of("#define  M( x )  x").content);
    }

    #[test]
    fn parts_of_pasted_names() {
        let found = entities(b"#define op(a, b) raw_##a##_op(b)\n");
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(found[0].patterns, [[text("raw_"), Piece::Gap, text("_op")]]);
        assert!(entities(b"#define p(f, ...) q(f, ##__VA_ARGS__)\n")[0].patterns.is_empty());
    }
}

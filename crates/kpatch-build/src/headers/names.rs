//! Which names lead to a change: those of the changed entities, and of everything that names one of these in
//! turn (an inline function that calls a changed macro, a structure that holds a changed one, a function
//! declared with it).
//!
//! Names can be made of parts by `##`. A macro that could make one of the names out of a word is no use of it
//! by itself, but whatever names that macro and the word is. Bias: two words that only have to be put
//! together to give a name count as the name, whether a macro does so or not.

use std::collections::BTreeSet;
use std::collections::HashMap;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use rustc_hash::FxHashSet;

use super::entities::Entity;
use super::entities::Piece;
use super::entities::word;

/// With so many names there is no end in sight: everything that reads the header counts as a user.
const MOST: usize = 4000;

/// A set of names, and what would name one of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    names: BTreeSet<String>,
    /// The hashed names.
    words: FxHashSet<u64>,
    /// Words that give a name together: by the first, the seconds.
    pairs: FxHashMap<u64, Vec<u64>>,
    /// Macros that make a name of words: what text must have beside the macro.
    makers: FxHashMap<u64, Vec<Vec<u64>>>,
}

/// What an entity has to do with a set of names.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// It leads to one.
    Yes,
    /// Whatever names it, and one of these groups of words, does.
    With(Vec<Vec<u64>>),
    No,
}

impl Names {
    /// The names of what differs between `original` and `patched`; `None` if the difference has an effect
    /// where it is not named.
    pub(super) fn of_difference(original: &[Entity], patched: &[Entity]) -> Option<Self> {
        let mut counts: HashMap<u64, i64> = HashMap::new();
        original.iter().for_each(|entity| *counts.entry(entity.content).or_default() += 1);
        patched.iter().for_each(|entity| *counts.entry(entity.content).or_default() -= 1);
        let mut names = Self::default();
        for entity in original.iter().chain(patched) {
            if counts[&entity.content] == 0 {
                continue;
            }
            if entity.emits {
                return None;
            }
            entity.names.iter().for_each(|name| {
                names.insert(name);
            });
        }
        Some(names)
    }

    /// Adds a name; whether it is new.
    fn insert(&mut self, name: &str) -> bool {
        if !self.names.insert(name.to_owned()) {
            return false;
        }
        self.words.insert(word(name.as_bytes()));
        for at in 1..name.len() {
            let Some((start, end)) = name.split_at_checked(at) else { continue };
            self.pairs.entry(word(start.as_bytes())).or_default().push(word(end.as_bytes()));
        }
        true
    }

    /// Notes that text with one of `names` and all of `words` names one of the set.
    fn insert_maker(&mut self, names: &[String], words: &[u64]) {
        for name in names {
            let all = self.makers.entry(word(name.as_bytes())).or_default();
            if !all.iter().any(|known| known == words) {
                all.push(words.to_vec());
            }
        }
    }

    /// Whether text with the hashed `words` (sorted) names one of them.
    pub(super) fn named_by(&self, words: &[u64]) -> bool {
        let has = |word: &u64| words.binary_search(word).is_ok();
        words.iter().any(|word| {
            self.words.contains(word)
                || self.pairs.get(word).is_some_and(|ends| ends.iter().any(has))
                || self.makers.get(word).is_some_and(|all| all.iter().any(|it| it.iter().all(has)))
        })
    }

    fn reach(&self, entity: &Entity) -> Reach {
        if self.named_by(&entity.words) {
            return Reach::Yes;
        }
        if !entity.is_macro {
            // Only macros hand words on.
            return Reach::No;
        }
        let missing = |needed: &Vec<u64>| -> Vec<u64> {
            let missing = needed.iter().filter(|word| entity.words.binary_search(word).is_err());
            missing.copied().collect()
        };
        let makers = entity.words.iter().filter_map(|word| self.makers.get(word));
        let groups: Vec<Vec<u64>> = makers.flatten().map(missing).collect();
        if groups.is_empty() { Reach::No } else { Reach::With(groups) }
    }

    /// The names, sorted.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// What [`close`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Closed<T> {
    /// These have something that leads to the names and has an effect without being named.
    Effects(BTreeSet<T>),
    /// Nearly everything leads to the names.
    Endless,
}

/// Adds to `names` everything that leads to them within `entities`, each given with where it is from.
pub(super) fn close<T: Copy + Ord + Sync + Send>(
    names: &mut Names,
    entities: &[(T, &Entity)],
) -> Closed<T> {
    let pasting: Vec<&Entity> =
        entities.iter().map(|(_, entity)| *entity).filter(|it| !it.patterns.is_empty()).collect();
    let mut open: Vec<(T, &Entity)> = entities.to_vec();
    let mut effects = BTreeSet::new();
    // What is new since the last round.
    let mut fresh = names.clone();
    let mut new: Vec<String> = names.iter().map(str::to_owned).collect();
    loop {
        for name in &new {
            for entity in &pasting {
                for pattern in &entity.patterns {
                    for parts in fillings(pattern, name) {
                        names.insert_maker(&entity.names, &parts);
                        fresh.insert_maker(&entity.names, &parts);
                    }
                }
            }
        }
        let reached: Vec<Reach> = open.par_iter().map(|(_, entity)| fresh.reach(entity)).collect();
        fresh = Names::default();
        new.clear();
        let mut rest = Vec::with_capacity(open.len());
        for ((from, entity), reach) in open.into_iter().zip(reached) {
            match reach {
                Reach::Yes => {
                    if entity.emits {
                        effects.insert(from);
                    }
                    for name in &entity.names {
                        if names.insert(name) {
                            fresh.insert(name);
                            new.push(name.clone());
                        }
                    }
                    continue;
                }
                Reach::With(groups) => {
                    for group in groups {
                        let known = entity.names.iter().all(|name| {
                            let all = names.makers.get(&word(name.as_bytes()));
                            all.is_some_and(|all| all.contains(&group))
                        });
                        if !known {
                            names.insert_maker(&entity.names, &group);
                            fresh.insert_maker(&entity.names, &group);
                        }
                    }
                }
                Reach::No => {}
            }
            rest.push((from, entity));
        }
        if names.len() > MOST {
            return Closed::Endless;
        }
        if new.is_empty() && fresh.makers.is_empty() {
            return Closed::Effects(effects);
        }
        open = rest;
    }
}

/// What must be put into the gaps of `pattern` to give `name`: hashed words, of several only the first two.
fn fillings(pattern: &[Piece], name: &str) -> Vec<Vec<u64>> {
    let mut found = Vec::new();
    fill(pattern, name, &mut Vec::new(), &mut found);
    found
}

fn fill(pattern: &[Piece], name: &str, parts: &mut Vec<u64>, found: &mut Vec<Vec<u64>>) {
    match pattern {
        [] if name.is_empty() && !parts.is_empty() => {
            let mut parts = parts.clone();
            parts.truncate(2);
            found.push(parts);
        }
        [] => {}
        [Piece::Text(text), rest @ ..] => {
            if let Some(name) = name.strip_prefix(text.as_str()) {
                fill(rest, name, parts, found);
            }
        }
        [Piece::Gap] => {
            parts.push(word(name.as_bytes()));
            fill(&[], "", parts, found);
            parts.pop();
        }
        // Two gaps side by side are told by the words alone.
        [Piece::Gap, Piece::Gap, ..] => {}
        [Piece::Gap, Piece::Text(text), ..] => {
            for (at, _) in name.match_indices(text.as_str()).filter(|(at, _)| *at > 0) {
                parts.push(word(&name.as_bytes()[..at]));
                fill(&pattern[1..], &name[at..], parts, found);
                parts.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::entities::entities;

    fn closed(changed: &[&str], text: &str) -> (Vec<String>, bool) {
        let mut names = Names::default();
        changed.iter().for_each(|name| {
            names.insert(name);
        });
        let all = entities(text.as_bytes());
        let all: Vec<((), &Entity)> = all.iter().map(|entity| ((), entity)).collect();
        let effect = close(&mut names, &all) != Closed::Effects(BTreeSet::new());
        (names.iter().map(str::to_owned).collect(), effect)
    }

    #[test]
    fn differences_by_entity() {
        let old = entities(b"int f(void);\n#define A 1\n#define B 2\n");
        let new = entities(b"int f(void);\n/* x */\n#define A 3\n#define B 2\n#define C 4\n");
        let names = Names::of_difference(&old, &new).unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["A", "C"]);
        assert!(Names::of_difference(&old, &entities(b"int f(void);\nint x;\n")).is_none());
    }

    #[test]
    fn follows_macros_inlines_and_types() {
        let text = "#define M(x) f(x)\nstatic inline int g(int a) { return M(a); }\n\
                    static inline int h(int a) { return a; }\nstruct t { struct s a; };\n\
                    struct t *get(void);\n";
        assert_eq!(closed(&["f"], text).0, ["M", "f", "g"]);
        assert_eq!(closed(&["s"], text).0, ["get", "s", "t"]);
        assert!(closed(&["f"], "int x = f();").1);
        assert!(!closed(&["f"], "int x = g();").1);
        // A macro's parameter is no use of something that has the same name.
        assert_eq!(closed(&["x"], text).0, ["x"]);
    }

    #[test]
    fn names_made_of_parts() {
        let macros = "#define OP(a) raw_##a(1)\n#define CALL(stem) stem##4(2)\n\
                      #define BOTH(a, b) a##_##b\n#define OUTER(x) OP(x)\n\
                      #define VARIADIC(f, ...) p(f, ##__VA_ARGS__)\n";
        let with = |changed: &str, text: &str| closed(&[changed], &format!("{macros}{text}")).1;
        assert!(with("raw_add", "int x = OP(add);"));
        assert!(with("raw_add", "int x = OUTER(add);"));
        assert!(!with("raw_add", "int x = OP(sub);"));
        assert!(with("raw_add_x", "int x = PASTE(raw_add, _x);"));
        assert!(with("add_4", "int x = CALL(add_);"));
        assert!(with("one_two", "int x = BOTH(one, two);"));
        assert!(!with("one_two", "int x = BOTH(one, three);"));
        assert!(!with("x_VARIADIC", "int x = VARIADIC(0);"));
        let inner = "#define ADD(x) OP(add)\nstatic inline int f(int a) { return ADD(a); }\n";
        assert_eq!(closed(&["raw_add"], &format!("{macros}{inner}")).0, ["ADD", "f", "raw_add"]);
    }
}

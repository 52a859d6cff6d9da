//! Names with at most one `*`, and what they stand for. Every section of an object is looked up, and there
//! may be a hundred thousand, so most patterns are ruled out without being compared.

use rustc_hash::FxHashMap;

/// Patterns of section names.
#[derive(Debug)]
pub struct Patterns<T> {
    exact: FxHashMap<&'static str, T>,
    /// The others by their second byte: the first is `.` or `_` for nearly all.
    wild: FxHashMap<u8, Vec<Wild<T>>>,
}

#[derive(Debug)]
struct Wild<T> {
    head: &'static str,
    tail: &'static str,
    meaning: T,
}

impl<T> FromIterator<(&'static str, T)> for Patterns<T> {
    /// # Panics
    /// If a `*` is not behind the second byte.
    fn from_iter<I: IntoIterator<Item = (&'static str, T)>>(patterns: I) -> Self {
        let mut all = Patterns { exact: FxHashMap::default(), wild: FxHashMap::default() };
        for (pattern, meaning) in patterns {
            match pattern.split_once('*') {
                None => {
                    all.exact.insert(pattern, meaning);
                }
                Some((head, tail)) => {
                    let list = all.wild.entry(head.as_bytes()[1]).or_default();
                    list.push(Wild { head, tail, meaning });
                }
            }
        }
        all
    }
}

impl<T> Patterns<T> {
    /// What `name` stands for: the pattern without `*` first, else the first that fits.
    pub fn find(&self, name: &str) -> Option<&T> {
        if let Some(meaning) = self.exact.get(name) {
            return Some(meaning);
        }
        let wild = self.wild.get(name.as_bytes().get(1)?)?;
        let fits = |wild: &&Wild<T>| {
            name.len() >= wild.head.len() + wild.tail.len()
                && name.starts_with(wild.head)
                && name.ends_with(wild.tail)
        };
        wild.iter().find(fits).map(|wild| &wild.meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        let patterns: Patterns<u8> =
            [("__*_sched_class", 1), (".initcall*", 2), ("__param", 3)].into_iter().collect();
        assert_eq!(patterns.find("__fair_sched_class"), Some(&1));
        assert_eq!(patterns.find("__sched_class"), None);
        assert_eq!(patterns.find(".initcall5.init"), Some(&2));
        assert_eq!(patterns.find("__param"), Some(&3));
        assert_eq!(patterns.find("__params"), None);
        assert_eq!(patterns.find("_"), None);
    }
}

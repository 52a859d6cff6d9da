//! What the user should know of a patch that can be built all the same: things that were left out of it,
//! and why. Bias: whatever is left out of what the source says, without being refused, is said here.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_refusal::Place;

use crate::normalize::names;
use crate::normalize::sections::Class;
use crate::normalize::sections::Table;
use crate::normalize::sections::classify;
use crate::normalize::side::Side;
use crate::normalize::tables::Contradiction;
use crate::select::Selection;

/// A warning. Printed as `warning: …`, it refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Where.
    pub place: Place,
    /// What, a lower-case fragment.
    pub text: String,
}

impl Notice {
    /// A notice with its parts.
    pub fn new(place: Place, text: impl Into<String>) -> Self {
        Notice { place, text: text.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.place != Place::default() {
            write!(f, " ({})", self.place)?;
        }
        Ok(())
    }
}

/// Record sizes that are not as said, where it matters.
pub(crate) fn of_record_sizes(name: &str, side: &Side<'_>, selection: &Selection) -> Vec<Notice> {
    let used: BTreeSet<SectionId> = selection
        .included
        .iter()
        .flat_map(|id| side.entries.of(*id))
        .map(|entry| entry.section)
        .collect();
    let contradicted = side.entries.contradicted.iter().filter(|(id, _)| used.contains(id));
    let notice = |(id, contradiction): (&SectionId, &Contradiction)| {
        let Contradiction { variable, given, found } = contradiction;
        let section = &side.object[*id].name;
        Notice::new(
            Place::object(name).symbol(section),
            format!(
                "{variable} is {given}, but entries of `{section}` have {found} bytes, which counts"
            ),
        )
    };
    contradicted.map(notice).collect()
}

/// What the patched source announces to the kernel and the original does not: exports, parameters and
/// so on. A patch does not announce anything.
pub(crate) fn of_what_stays_behind(
    name: &str,
    original: &Side<'_>,
    patched: &Side<'_>,
) -> Vec<Notice> {
    let old = announced(original);
    let mut notices = Vec::new();
    for ((what, base), names) in announced(patched) {
        let known = old.get(&(what, base)).map_or(0, Vec::len);
        for symbol in names.into_iter().skip(known) {
            notices.push(Notice::new(
                Place::object(name).symbol(symbol),
                format!("a new {what} is not carried into the patch"),
            ));
        }
    }
    notices
}

/// What sections announce, by kind and the names that stand for it, without numbers. Two things of one
/// name are there as often as they are named.
fn announced<'a>(side: &Side<'a>) -> BTreeMap<(&'static str, String), Vec<&'a str>> {
    let mut found: BTreeMap<(&'static str, String), Vec<&str>> = BTreeMap::new();
    let object: &'a ObjectFile = side.object;
    for symbol in &object.symbols {
        let Some(section) = symbol.section().filter(|_| !symbol.name.is_empty()) else { continue };
        if let Class::Table(Table { announces: Some(what), .. }) = classify(&object[section]) {
            found.entry((what, names::base_name(&symbol.name))).or_default().push(&symbol.name);
        }
    }
    found
}

/// Notices as users read them: by place, each once.
pub(crate) fn sorted(mut notices: Vec<Notice>) -> Vec<Notice> {
    notices.sort();
    notices.dedup();
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_where() {
        let place = Place::object("fs/smb.o").symbol("f");
        let notice = Notice::new(place, "the tracepoint stays off");
        assert_eq!(notice.to_string(), "the tracepoint stays off (object `fs/smb.o`, symbol `f`)");
        assert_eq!(Notice::new(Place::default(), "x").to_string(), "x");
        let twice = vec![notice.clone(), Notice::new(Place::default(), "x"), notice.clone()];
        assert_eq!(sorted(twice), [Notice::new(Place::default(), "x"), notice]);
    }
}

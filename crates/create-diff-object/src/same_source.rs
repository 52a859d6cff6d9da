//! Compares two objects of one source and one compiler that differ in their layout only: compiled with
//! and without a section for each function. Whoever knows that the one is what runs then knows it of
//! the other.
//!
//! Names are believed to the last digit here, since the same compiler numbers the same source alike.
//! Nameless data is not cut alike: the tables of `switch` statements lie side by side in the one, with
//! padding or with what other functions use behind, and by themselves in the other. So it need only go
//! as far as where it lies by itself.
//! Bias: a function without a counterpart counts as different.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::ObjectFile;
use kpatch_refusal::Refusals;

use crate::compare::Comparison;
use crate::compare::Reason;
use crate::correlate::Correlation;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::record_sizes::RecordSizes;
use crate::normalize::side::Side;

/// A function that is not the same code in both objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub function: String,
    /// The first difference; `None` if only one of the objects has it.
    pub reason: Option<Reason>,
}

/// The functions of `other` that are not the same code in `one`, by name. Of the two `other` is the one with
/// sections. `name` is for messages.
///
/// # Errors
/// What speaks against comparing the objects at all.
pub fn different_functions(
    name: &str,
    one: &ObjectFile,
    other: &ObjectFile,
) -> Result<Vec<Other>, Refusals> {
    let sizes = RecordSizes::default();
    let (one, other) =
        rayon::join(|| Side::new(name, one, &sizes), || Side::new(name, other, &sizes));
    let (one, other) = (one?, other?);
    let correlation = by_full_name(&one, &other);
    let nothing = BTreeSet::new();
    let comparison = Comparison::new(&one, &other, &correlation, &nothing).of_one_source();
    let functions = other.atoms.iter().filter(|(_, atom)| atom.kind == AtomKind::Function);
    let mut different: Vec<Other> = functions
        .filter_map(|(id, _)| {
            let function = other.name(id).to_owned();
            match correlation.original_of(id) {
                None => Some(Other { function, reason: None }),
                Some(counterpart) => comparison
                    .difference(counterpart, id)
                    .map(|reason| Other { function, reason: Some(reason) }),
            }
        })
        .collect();
    different.sort_by(|a, b| a.function.cmp(&b.function));
    Ok(different)
}

/// Matches what has the same name in both objects, and only one piece of it in each.
fn by_full_name(one: &Side<'_>, other: &Side<'_>) -> Correlation {
    let (old, new) = (by_name(one), by_name(other));
    let pair = |(name, o): (&&str, &Option<AtomId>)| Some(((*o)?, (*new.get(name)?)?));
    let pairs: Vec<(AtomId, AtomId)> = old.iter().filter_map(pair).collect();
    let same_kind = |(o, p): &(AtomId, AtomId)| one.atoms[*o].kind == other.atoms[*p].kind;
    let pairs: Vec<(AtomId, AtomId)> = pairs.into_iter().filter(same_kind).collect();
    Correlation::default().with(&pairs)
}

/// The pieces of each name; `None` where there are several.
fn by_name<'a>(side: &'a Side<'_>) -> BTreeMap<&'a str, Option<AtomId>> {
    let mut names: BTreeMap<&str, Option<AtomId>> = BTreeMap::new();
    for (id, atom) in side.atoms.iter() {
        for symbol in atom.symbols.iter().map(|symbol| &side.object[*symbol]) {
            let entry = names.entry(symbol.name.as_str()).or_insert(Some(id));
            if *entry != Some(id) {
                *entry = None;
            }
        }
    }
    names.remove("");
    names
}

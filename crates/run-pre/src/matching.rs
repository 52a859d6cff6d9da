//! Matches all code of an object: each section as one block at one base, in the order in which bases
//! become certain; what does not match as a block, function by function. Then data is walked for what
//! its fields tell.
//!
//! Bias: of several places that match equally none is taken, unless all but one contradict what is known
//! from elsewhere.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::SymbolId;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::EXEC;
use kpatch_elf::section_flags::MERGE;
use kpatch_elf::section_flags::WRITE;
use rayon::prelude::*;

use crate::block::Matching;
use crate::difference::Difference;
use crate::difference::What;
use crate::facts::Facts;
use crate::functions::functions_of;
use crate::running::Place;
use crate::running::Running;
use crate::sites::Sites;
use crate::sites::is_code;
use crate::sites::is_final;

/// How a function of an object relates to what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs, at this place.
    Matched(Place),
    /// It is weak and another definition of the name runs; at these places.
    Overridden(Vec<Place>),
    /// Its code is at several places, and nothing tells which is its own.
    Ambiguous(Vec<Place>),
    /// What runs has no code of that name.
    Absent,
    /// Another code of that name runs. Of several the one that is alike the longest.
    Different(Difference),
}

/// How an object relates to what runs.
#[derive(Debug, Clone, Default)]
pub struct Matched {
    /// Each function of the object.
    pub functions: BTreeMap<SymbolId, Verdict>,
    /// Where everything is.
    pub facts: Facts,
    /// The sections that matched as a block.
    pub blocks: BTreeSet<SectionId>,
    /// Read-only data that is not what runs.
    pub data: Vec<Difference>,
}

/// Matches `object`, compiled by kbuild's exact flags and before objtool, with what runs.
pub fn match_object(object: &ObjectFile, running: &dyn Running) -> Matched {
    let sites = Sites::of(object);
    let matching = Matching { object, sites: &sites, running, scattered: false };
    let mut matched = Matched::default();
    let code: Vec<SectionId> =
        object.sections_with_ids().filter(|(_, s)| is_code(s)).map(|(id, _)| id).collect();
    let mut open: Vec<Candidates> = code.iter().map(|id| candidates(&matching, *id)).collect();
    loop {
        let known = &matched.facts;
        for section in &mut open {
            section.passed.retain(|(_, facts)| known.with(object, facts).is_ok());
        }
        let certain = open.iter().position(|section| section.passed.len() == 1);
        let Some(certain) = certain else { break };
        let section = open.swap_remove(certain);
        for (_, facts) in section.passed {
            // It was kept because it does.
            if let Ok(all) = matched.facts.with(object, &facts) {
                matched.facts = all;
                matched.blocks.insert(section.id);
            }
        }
    }
    let scattered = Matching { scattered: true, ..matching };
    for section in &open {
        by_function(&scattered, section.id, &mut matched);
    }
    walk_data(&matching, &mut matched);
    for id in &matched.blocks {
        for function in functions_of(object, *id) {
            let verdict = in_block(&matching, &matched.facts, function);
            matched.functions.insert(function, verdict);
        }
    }
    matched
}

/// A section and what it may be.
struct Candidates {
    id: SectionId,
    /// Bases at which it matches, and what it tells there.
    passed: Vec<(Place, Facts)>,
}

/// Tries every base that the name of a function suggests, those first that most suggest.
fn candidates(matching: &Matching<'_>, id: SectionId) -> Candidates {
    let object = matching.object;
    let mut votes: BTreeMap<Place, usize> = BTreeMap::new();
    for function in functions_of(object, id) {
        let symbol = &object[function];
        for place in matching.running.named(&symbol.name) {
            *votes.entry(place.offset(-(symbol.value as i64))).or_default() += 1;
        }
    }
    let bases: Vec<Place> = votes.into_keys().collect();
    let passed = bases
        .into_par_iter()
        .filter_map(|base| Some((base, matching.block(id, base).ok()?)))
        .collect();
    Candidates { id, passed }
}

/// The verdict on a function whose section matched as a block.
fn in_block(matching: &Matching<'_>, facts: &Facts, function: SymbolId) -> Verdict {
    let object = matching.object;
    let Some(place) = facts.definition(object, function) else { return Verdict::Absent };
    let symbol = &object[function];
    let named = matching.running.named(&symbol.name);
    if named.contains(&place) {
        return Verdict::Matched(place);
    }
    match symbol.binding {
        Binding::Weak if !named.is_empty() => Verdict::Overridden(named),
        _ => Verdict::Absent,
    }
}

/// Matches the functions of a section one by one.
fn by_function(matching: &Matching<'_>, section: SectionId, matched: &mut Matched) {
    let object = matching.object;
    for function in functions_of(object, section) {
        let mut passed: Vec<(Place, Facts)> = Vec::new();
        let mut failed: Vec<(Place, Difference)> = Vec::new();
        for place in matching.running.named(&object[function].name) {
            let found = matching.function(function, place);
            match found.and_then(|facts| combined(object, &matched.facts, &facts, (section, place)))
            {
                Ok(facts) => passed.push((place, facts)),
                Err(difference) => failed.push((place, difference)),
            }
        }
        let weak = object[function].binding == Binding::Weak;
        let verdict = if let [(place, facts)] = passed.as_slice() {
            matched.facts = facts.clone();
            Verdict::Matched(*place)
        } else if !passed.is_empty() {
            Verdict::Ambiguous(passed.into_iter().map(|(place, _)| place).collect())
        } else if weak && !failed.is_empty() {
            Verdict::Overridden(failed.into_iter().map(|(place, _)| place).collect())
        } else {
            let differences = failed.into_iter().map(|(_, difference)| difference);
            let longest = differences.max_by_key(|difference| difference.ours);
            longest.map_or(Verdict::Absent, Verdict::Different)
        };
        matched.functions.insert(function, verdict);
    }
}

/// What both know; a difference of `section`, which is at `base`, if they contradict each other.
fn combined(
    object: &ObjectFile,
    known: &Facts,
    more: &Facts,
    (section, base): (SectionId, Place),
) -> Result<Facts, Difference> {
    known.with(object, more).map_err(|it| Difference {
        section,
        ours: 0,
        theirs: base,
        what: What::Contradiction(it),
    })
}

/// Follows the fields of data whose place is known, and holds read-only data against what runs.
fn walk_data(matching: &Matching<'_>, matched: &mut Matched) {
    let object = matching.object;
    let mut walked: BTreeSet<SectionId> = BTreeSet::new();
    loop {
        let next = matched.facts.sections().find(|(id, _)| {
            let section = &object[*id];
            !walked.contains(id)
                && section.has(ALLOC)
                && !section.has(EXEC)
                && !section.has(MERGE)
                && section.kind == SectionKind::Progbits
                && is_final(section)
                && !section.data.is_empty()
        });
        let Some((id, base)) = next else { break };
        walked.insert(id);
        let section = &object[id];
        if !section.has(WRITE) {
            let facts = matching.block(id, base);
            match facts.and_then(|facts| combined(object, &matched.facts, &facts, (id, base))) {
                Ok(facts) => matched.facts = facts,
                Err(difference) => matched.data.push(difference),
            }
            continue;
        }
        // What is writable may have been written by the kernel's build. Its fields are believed together.
        let mut facts = matched.facts.clone();
        let fields = &section.relocations;
        if fields.iter().all(|field| matching.field(id, field, base, &mut facts).is_ok()) {
            matched.facts = facts;
        }
    }
}

//! The tables by which `switch` statements branch. Compilers that put those of all functions into one
//! section without names (gcc before 8, and any for functions of a named section) make them look like one
//! run of data; yet each belongs to one function, and the next one's may lead into code that is gone.
//!
//! Bias: a piece is a table of its own only if all of it leads into one function, and nothing but that
//! function refers to it. References to before a table's start, which compilers make from an index that
//! does not begin with 0, so keep the pieces together.

use kpatch_elf::ObjectFile;
use kpatch_elf::SectionId;
use kpatch_elf::section_flags::EXEC;
use rustc_hash::FxHashMap;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::atoms::Atoms;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::Class;
use crate::normalize::sections::classify;

/// Which nameless pieces are branch tables, and which function each belongs to.
#[derive(Debug, Default)]
pub struct BranchTables<'a> {
    functions: FxHashMap<AtomId, &'a str>,
}

impl BranchTables<'_> {
    /// Whether two pieces are tables of different functions, so that neither goes on in the other.
    pub fn part(&self, one: AtomId, other: AtomId) -> bool {
        match (self.functions.get(&one), self.functions.get(&other)) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        }
    }
}

/// Finds the branch tables of an object.
pub fn find<'a>(
    object: &'a ObjectFile,
    atoms: &Atoms,
    references: &FxHashMap<SectionId, Vec<Reference>>,
) -> BranchTables<'a> {
    let mut functions: FxHashMap<AtomId, &'a str> = FxHashMap::default();
    for (id, section) in object.sections_with_ids() {
        let pieces = atoms.of_section(id);
        let Some(references) = references.get(&id).filter(|_| pieces.len() > 1) else { continue };
        if section.has(EXEC) || classify(section) != Class::Data {
            continue;
        }
        for piece in pieces {
            let leads = leads_into(object, atoms, *piece, references);
            functions.extend(leads.map(|function| (*piece, function)));
        }
    }
    if !functions.is_empty() {
        keep_own(object, atoms, references, &mut functions);
    }
    BranchTables { functions }
}

/// The function into which all of a nameless piece leads; what is behind the last pointer is padding.
fn leads_into<'a>(
    object: &'a ObjectFile,
    atoms: &Atoms,
    piece: AtomId,
    references: &[Reference],
) -> Option<&'a str> {
    let atom = &atoms[piece];
    if atom.kind != AtomKind::Anonymous {
        return None;
    }
    let first = references.partition_point(|r| r.offset < atom.start);
    let end = references.partition_point(|r| r.offset < atom.end);
    let mut function = None;
    let mut next = atom.start;
    for reference in references.get(first..end)? {
        let Target::Atom(target) = reference.target else { return None };
        let name = whole_function(object, atoms, target)?;
        if reference.offset != next || *function.get_or_insert(name) != name {
            return None;
        }
        next = next.saturating_add(reference.kind.width()? as u64);
    }
    let bytes = &object[atom.section].data;
    let rest = bytes.get(usize::try_from(next).ok()?..usize::try_from(atom.end).ok()?)?;
    function.filter(|_| rest.iter().all(|byte| *byte == 0))
}

/// The name of a function, for a part that was split off that of the function.
fn whole_function<'a>(object: &'a ObjectFile, atoms: &Atoms, id: AtomId) -> Option<&'a str> {
    let atom = &atoms[id];
    let symbol = atom.symbols.first().filter(|_| atom.kind == AtomKind::Function)?;
    let name = object[*symbol].name.as_str();
    Some(names::parent_of_cold(name).unwrap_or(name))
}

/// Leaves those to which only their function refers.
fn keep_own<'a>(
    object: &'a ObjectFile,
    atoms: &Atoms,
    references: &FxHashMap<SectionId, Vec<Reference>>,
    functions: &mut FxHashMap<AtomId, &'a str>,
) {
    let mut used: FxHashMap<AtomId, bool> = FxHashMap::default();
    for (id, section) in object.sections_with_ids() {
        if matches!(classify(section), Class::Table(_) | Class::Ignored) {
            continue;
        }
        for reference in references.get(&id).into_iter().flatten() {
            let Target::Atom(target) = reference.target else { continue };
            let Some(function) = functions.get(&target) else { continue };
            let user = atoms.at(id, reference.offset as i64);
            let own = user.and_then(|user| whole_function(object, atoms, user)) == Some(function);
            *used.entry(target).or_insert(true) &= own;
        }
    }
    functions.retain(|piece, _| used.get(piece) == Some(&true));
}

//! Matches the named pieces of the two objects: which function and which variable of the patched
//! object is the old one of the kernel. A wrong match would redirect a function to the code of
//! another, so what cannot be told apart with certainty stays unmatched and is remembered.

pub mod clones;
pub mod uses;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use kpatch_elf::Binding;
use kpatch_elf::section_flags::WRITE;
use rustc_hash::FxHashMap;

use crate::correlate::uses::Use;
use crate::correlate::uses::Uses;
use crate::lines::Scopes;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Target;
use crate::normalize::side::Side;
use crate::normalize::source_files::SourceFiles;
use crate::normalize::source_files::UNKNOWN;

/// Which pieces belong together.
#[derive(Debug, Clone, Default)]
pub struct Correlation {
    to_patched: FxHashMap<AtomId, AtomId>,
    to_original: FxHashMap<AtomId, AtomId>,
    ambiguous: BTreeSet<AtomId>,
}

impl Correlation {
    /// The patched piece that an original one became.
    pub fn patched_of(&self, original: AtomId) -> Option<AtomId> {
        self.to_patched.get(&original).copied()
    }

    /// The original piece that a patched one was.
    pub fn original_of(&self, patched: AtomId) -> Option<AtomId> {
        self.to_original.get(&patched).copied()
    }

    /// Whether a patched piece has several possible originals.
    pub fn is_ambiguous(&self, patched: AtomId) -> bool {
        self.ambiguous.contains(&patched)
    }

    /// All matches, by patched piece.
    pub fn pairs(&self) -> Vec<(AtomId, AtomId)> {
        let mut pairs: Vec<_> = self.to_patched.iter().map(|(o, p)| (*o, *p)).collect();
        pairs.sort_by_key(|(_, p)| *p);
        pairs
    }

    /// The same matches and more.
    pub fn with(&self, pairs: &[(AtomId, AtomId)]) -> Self {
        let mut all = self.clone();
        pairs.iter().for_each(|(original, patched)| all.add(*original, *patched));
        all
    }

    fn add(&mut self, original: AtomId, patched: AtomId) {
        self.to_patched.insert(original, patched);
        self.to_original.insert(patched, original);
    }
}

/// Matches the named pieces of two objects.
pub fn correlate(original: &Side<'_>, patched: &Side<'_>) -> Correlation {
    let mut correlation = Correlation::default();
    let old_globals = globals(original);
    for (name, p) in globals(patched) {
        if let Some(o) = old_globals.get(name) {
            let free = correlation.patched_of(*o).is_none() && correlation.original_of(p).is_none();
            if free && original.atoms[*o].kind == patched.atoms[p].kind {
                correlation.add(*o, p);
            }
        }
    }
    let o_users = users(original);
    let p_users = users(patched);
    let (o_uses, p_uses) = (Uses::new(original), Uses::new(patched));
    let (o_scopes, p_scopes) = (OnceCell::new(), OnceCell::new());
    let files = SourceFiles::of_both(original.object, patched.object);
    let old_groups = groups(original, &files.0, |atom| correlation.patched_of(atom).is_none());
    let new_groups = groups(patched, &files.1, |atom| correlation.original_of(atom).is_none());
    for (key, new) in new_groups {
        let Some(old) = old_groups.get(&key) else { continue };
        let old = old.clone();
        let o = Candidates {
            side: original,
            atoms: old,
            users: &o_users,
            uses: &o_uses,
            scopes: &o_scopes,
        };
        let p = Candidates {
            side: patched,
            atoms: new,
            users: &p_users,
            uses: &p_uses,
            scopes: &p_scopes,
        };
        match_group(o, p, &mut correlation);
    }
    correlation
}

struct Candidates<'a> {
    side: &'a Side<'a>,
    atoms: Vec<AtomId>,
    users: &'a FxHashMap<AtomId, BTreeSet<&'a str>>,
    uses: &'a Uses<'a>,
    /// Read when the code does not tell.
    scopes: &'a OnceCell<Scopes>,
}

impl Candidates<'_> {
    /// The function in which a static variable is declared.
    fn scope(&self, atom: AtomId) -> Option<&str> {
        let symbol = self.side.symbol(atom)?;
        let scopes = self.scopes.get_or_init(|| Scopes::read(self.side.object));
        scopes.of(self.side.atoms[atom].section, symbol.value)
    }
}

/// What tells members of a group apart, from the most to the least exact.
const TESTS: [fn(&Candidates<'_>, AtomId) -> u64; 3] = [
    |c, atom| digest(&(fingerprint(c.side, atom), c.users.get(&atom))),
    |c, atom| digest(&fingerprint(c.side, atom)),
    |c, atom| digest(&(c.users.get(&atom), c.side.atoms[atom].end - c.side.atoms[atom].start)),
];

fn match_group(mut old: Candidates<'_>, mut new: Candidates<'_>, correlation: &mut Correlation) {
    if let ([o], [p]) = (old.atoms.as_slice(), new.atoms.as_slice()) {
        match may_be_one((&old, *o), (&new, *p)) || of_one_scope((&old, *o), (&new, *p)) {
            true => correlation.add(*o, *p),
            false => correlation.ambiguous.extend([*p]),
        }
        return;
    }
    for test in TESTS {
        let unique = |candidates: &Candidates<'_>| {
            let mut found: BTreeMap<u64, Option<AtomId>> = BTreeMap::new();
            for atom in &candidates.atoms {
                let key = test(candidates, *atom);
                found.entry(key).and_modify(|a| *a = None).or_insert(Some(*atom));
            }
            found
        };
        let (o_found, p_found) = (unique(&old), unique(&new));
        for (key, o) in o_found {
            if let (Some(o), Some(Some(p))) = (o, p_found.get(&key)) {
                if may_be_one((&old, o), (&new, *p)) {
                    correlation.add(o, *p);
                }
            }
        }
        old.atoms.retain(|atom| correlation.patched_of(*atom).is_none());
        new.atoms.retain(|atom| correlation.original_of(*atom).is_none());
    }
    for (o, p) in by_scope(&old, &new) {
        correlation.add(o, p);
        old.atoms.retain(|atom| *atom != o);
        new.atoms.retain(|atom| *atom != p);
    }
    for (o, p) in by_use(&old, &new) {
        correlation.add(o, p);
        old.atoms.retain(|atom| *atom != o);
        new.atoms.retain(|atom| *atom != p);
    }
    match (old.atoms.as_slice(), new.atoms.as_slice()) {
        ([], _) | (_, []) => {}
        ([o], [p]) if may_be_one((&old, *o), (&new, *p)) => correlation.add(*o, *p),
        _ => correlation.ambiguous.extend(new.atoms.iter().copied()),
    }
}

/// Those that are the only ones of their name in a function, as the source has it.
fn by_scope(old: &Candidates<'_>, new: &Candidates<'_>) -> Vec<(AtomId, AtomId)> {
    if old.atoms.is_empty() || new.atoms.is_empty() {
        return Vec::new();
    }
    let only = |group: &Candidates<'_>| {
        let mut found: BTreeMap<String, Option<AtomId>> = BTreeMap::new();
        for atom in &group.atoms {
            if let Some(scope) = group.scope(*atom) {
                found.entry(scope.to_owned()).and_modify(|a| *a = None).or_insert(Some(*atom));
            }
        }
        found
    };
    let (old, new) = (only(old), only(new));
    old.iter().filter_map(|(scope, o)| Some(((*o)?, (*new.get(scope)?)?))).collect()
}

/// Whether two pieces are variables of one function, as the source has it.
fn of_one_scope((old, o): (&Candidates<'_>, AtomId), (new, p): (&Candidates<'_>, AtomId)) -> bool {
    old.scope(o).is_some_and(|scope| new.scope(p) == Some(scope))
}

/// All of both groups in pairs, if what is done to each is done to no other of its group, and the
/// functions come to them in the same order.
fn by_use(old: &Candidates<'_>, new: &Candidates<'_>) -> Vec<(AtomId, AtomId)> {
    if old.atoms.len() != new.atoms.len() || old.atoms.len() < 2 {
        return Vec::new();
    }
    let (Some(old), Some(new)) = (in_order(old), in_order(new)) else { return Vec::new() };
    let same = old.iter().zip(&new).all(|(o, p)| (o.size, &o.uses) == (p.size, &p.uses));
    let pairs = old.iter().zip(&new).map(|(o, p)| (o.atom, p.atom));
    if same { pairs.collect() } else { Vec::new() }
}

/// One of several variables of one name.
struct Used<'a> {
    atom: AtomId,
    size: u64,
    uses: Vec<Use<'a>>,
}

/// A group in the order in which functions come to it; `None` unless all are used in ways of their own.
fn in_order<'a>(group: &Candidates<'a>) -> Option<Vec<Used<'a>>> {
    let mut found = Vec::new();
    for atom in group.atoms.iter().copied() {
        let size = group.side.atoms[atom].end - group.side.atoms[atom].start;
        found.push((group.uses.first(atom)?, Used { atom, size, uses: group.uses.of(atom)? }));
    }
    found.sort_by_key(|(place, _)| *place);
    let distinct: BTreeSet<&Vec<Use<'a>>> = found.iter().map(|(_, used)| &used.uses).collect();
    let all_distinct = distinct.len() == found.len();
    all_distinct.then(|| found.into_iter().map(|(_, used)| used).collect())
}

/// Whether nothing speaks against two pieces of one name being one. All static variables of one name in
/// the functions of a file have the same name but for the number, so those must share a user.
fn may_be_one((old, o): (&Candidates<'_>, AtomId), (new, p): (&Candidates<'_>, AtomId)) -> bool {
    let is_numbered = |c: &Candidates<'_>, atom| {
        c.side.atoms[atom].kind == AtomKind::Data && names::is_numbered(c.side.name(atom))
    };
    if !is_numbered(old, o) && !is_numbered(new, p) {
        return true;
    }
    match (old.users.get(&o), new.users.get(&p)) {
        (Some(old), Some(new)) => !old.is_disjoint(new),
        _ => true,
    }
}

/// The atoms that global and weak symbols name.
fn globals<'a>(side: &'a Side<'_>) -> BTreeMap<&'a str, AtomId> {
    let mut map = BTreeMap::new();
    for (id, atom) in side.atoms.iter() {
        for symbol in atom.symbols.iter().map(|s| &side.object[*s]) {
            if symbol.binding != Binding::Local {
                map.insert(symbol.name.as_str(), id);
            }
        }
    }
    map
}

/// What the members of a group have in common: whether they are functions, the source file, and the name
/// without numbers.
type Group = (bool, u32, String);

/// Named pieces that are still free.
fn groups(
    side: &Side<'_>,
    files: &SourceFiles,
    free: impl Fn(AtomId) -> bool,
) -> BTreeMap<Group, Vec<AtomId>> {
    let mut map: BTreeMap<Group, Vec<AtomId>> = BTreeMap::new();
    for (id, atom) in side.atoms.iter() {
        let name = side.name(id);
        if !name.is_empty() && !goes_by_content(side, id) && free(id) {
            let file = side.symbol_id(id).map_or(UNKNOWN, |symbol| files.of_symbol(symbol));
            let key = (atom.kind == AtomKind::Function, file, names::base_name(name));
            map.entry(key).or_default().push(id);
        }
    }
    map
}

/// Whether a named piece is what it holds, not what it is called: read-only data of the compiler, static
/// constants of one function, and data that macros put beside their uses.
fn goes_by_content(side: &Side<'_>, atom: AtomId) -> bool {
    let name = side.name(atom);
    if names::is_private_to_its_use(name) || names::is_compiler_table(name) {
        return true;
    }
    let read_only = side.atoms[atom].kind == AtomKind::Data && !side.section(atom).has(WRITE);
    let local = side.symbol(atom).is_some_and(|symbol| symbol.binding == Binding::Local);
    read_only && local && names::is_of_function(name)
}

/// Who refers to each atom, by the name in the source: what gcc makes of a function is the function.
fn users<'a>(side: &'a Side<'_>) -> FxHashMap<AtomId, BTreeSet<&'a str>> {
    let mut users: FxHashMap<AtomId, BTreeSet<&str>> = FxHashMap::default();
    for (id, _) in side.atoms.iter() {
        let name = side.name(id).split('.').next().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        for reference in side.needed_references(id) {
            if let Target::Atom(target) = reference.target {
                if target != id {
                    users.entry(target).or_default().insert(name);
                }
            }
        }
    }
    users
}

/// A digest of what an atom holds, in which names stand without numbers.
fn fingerprint(side: &Side<'_>, atom: AtomId) -> u64 {
    let mut hasher = DefaultHasher::new();
    let range = &side.atoms[atom];
    (range.end - range.start).hash(&mut hasher);
    side.bytes(atom).hash(&mut hasher);
    for reference in side.references(atom) {
        (reference.offset - range.start, reference.delta).hash(&mut hasher);
        match reference.target {
            Target::Extern(symbol) => side.object[symbol].name.hash(&mut hasher),
            Target::Atom(target) => match side.atoms[target].kind {
                AtomKind::String => side.bytes(target).hash(&mut hasher),
                _ => names::base_name(side.name(target)).hash(&mut hasher),
            },
            Target::Section(section) => side.object[section].name.hash(&mut hasher),
            Target::Nothing => {}
        }
    }
    hasher.finish()
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

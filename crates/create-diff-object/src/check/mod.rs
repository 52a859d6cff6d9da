//! Refuses what cannot be patched safely. All reasons are collected, so that a user sees them at once.

pub(crate) mod assembly;
mod runtime_const;
mod unrelocated;

use std::cell::OnceCell;

use kpatch_elf::Binding;
use kpatch_elf::SymbolKind;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use crate::compare::What;
use crate::correlate::Correlation;
use crate::lines::Lines;
use crate::normalize::atoms::Atom;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::Class;
use crate::normalize::sections::FENTRY;
use crate::normalize::sections::MCOUNT_LOC;
use crate::normalize::sections::Policy;
use crate::normalize::sections::classify;
use crate::normalize::side::Side;
use crate::select::Selection;

/// A call to `__fentry__` starts within this many bytes of a function: behind an ENDBR64 of 4 bytes.
pub(crate) const FENTRY_WITHIN: u64 = 4 + 1;

/// What the checks look at.
#[derive(Debug)]
pub struct Checked<'a> {
    /// How the object is called in messages.
    pub name: &'a str,
    /// The unpatched object.
    pub original: &'a Side<'a>,
    /// The patched object.
    pub patched: &'a Side<'a>,
    /// What belongs together.
    pub correlation: &'a Correlation,
    /// What goes into the patch.
    pub selection: &'a Selection,
    /// Where symbols of the patched object are in the source; read when the first refusal asks.
    pub lines: OnceCell<Lines>,
}

/// Every reason against the selection.
pub fn check(pair: &Checked<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for atom in pair.selection.changed_data.keys() {
        refusals.push(changed_data(pair, *atom));
    }
    for atom in pair.selection.changed.keys() {
        refusals.extend(changed_function(pair, *atom));
    }
    for atom in &pair.selection.included {
        refusals.extend(included(pair, *atom));
    }
    refusals.extend(new_init_functions(pair));
    refusals
}

/// What a patch adds for boot or load would never run: nothing else speaks of it, as no other function
/// may refer to it.
fn new_init_functions(pair: &Checked<'_>) -> Vec<Refusal> {
    let atoms = pair.patched.atoms.iter().filter(|(id, atom)| {
        atom.kind == AtomKind::Function
            && names::is_init_section(&pair.patched.section(*id).name)
            && pair.correlation.original_of(*id).is_none()
            && !pair.correlation.is_ambiguous(*id)
    });
    let refusal = |(id, _)| {
        let name = pair.patched.name(id);
        pair.refusal(
            Code::InitChanged,
            id,
            format!("`{name}` is new in `{}`: it would never run", pair.patched.section(id).name),
            "do it in a callback, or leave `__init` and `__exit` code out of the patch",
        )
    };
    atoms.map(refusal).collect()
}

impl Checked<'_> {
    pub(crate) fn refusal(&self, code: Code, atom: AtomId, message: String, hint: &str) -> Refusal {
        Refusal::new(code, self.place(atom), message, hint)
    }

    fn place(&self, atom: AtomId) -> Place {
        let mut place = Place::object(self.name);
        let name = self.patched.name(atom);
        if !name.is_empty() {
            place = place.symbol(name);
        }
        let id = self.patched.atoms[atom].symbols.first();
        let lines = self.lines.get_or_init(|| Lines::read(self.patched.object));
        if let Some((file, line)) = id.and_then(|id| lines.of_symbol(self.patched.object, *id)) {
            place.file = Some(file);
            place.line = Some(line);
        }
        place
    }
}

fn changed_data(pair: &Checked<'_>, atom: AtomId) -> Refusal {
    let section = pair.patched.section(atom);
    let name = pair.patched.name(atom);
    if names::is_init_section(&section.name) {
        return pair.refusal(
            Code::InitChanged,
            atom,
            format!("data that is gone after boot or load is changed: `{name}`"),
            "leave initialisation out of the patch; change what it made in a callback",
        );
    }
    let original = pair.correlation.original_of(atom);
    if pair.selection.changed_data.get(&atom).is_some_and(|reason| reason.what == What::Memory) {
        let old = original.map_or("", |o| &pair.original.section(o).name);
        return pair.refusal(
            Code::DataLayoutChanged,
            atom,
            format!("`{name}` is moved from `{old}` to `{}`: that is other memory", section.name),
            "keep the object as it is and add a new one",
        );
    }
    let resized = original.is_some_and(|o| {
        let (o, p) = (&pair.original.atoms[o], &pair.patched.atoms[atom]);
        o.end - o.start != p.end - p.start
    });
    if resized {
        return pair.refusal(
            Code::DataLayoutChanged,
            atom,
            format!("the size of `{name}` is changed; the kernel goes on using the old one"),
            "keep the object as it is and add a new one, or use shadow variables",
        );
    }
    pair.refusal(
        Code::DataChanged,
        atom,
        format!("the initial value of `{name}` is changed; the kernel has long read the old one"),
        "change the value at run time, in a callback or in the function that uses it",
    )
}

fn changed_function(pair: &Checked<'_>, atom: AtomId) -> Vec<Refusal> {
    let Some(original) = pair.correlation.original_of(atom) else { return Vec::new() };
    let name = pair.original.name(original);
    let sections = [pair.original.section(original), pair.patched.section(atom)];
    let mut refusals = Vec::new();
    let gone = sections.iter().map(|s| &s.name).find(|name| names::is_init_section(name));
    if let Some(section) = gone {
        refusals.push(pair.refusal(
            Code::InitChanged,
            atom,
            format!("`{name}` is in `{section}`: it has run already, or is gone"),
            "leave `__init` and `__exit` code out of the patch",
        ));
        return refusals;
    }
    let symbols = pair.original.atoms[original].symbols.iter().map(|s| &pair.original.object[*s]);
    if symbols.clone().any(|s| s.binding == Binding::Weak) {
        refusals.push(pair.refusal(
            Code::WeakChanged,
            atom,
            format!("`{name}` is weak: another definition may be the one that runs"),
            "patch the definition that the kernel uses",
        ));
    }
    if !has_ftrace_entry(pair.original, original) {
        refusals.push(pair.refusal(
            Code::NoFtraceEntry,
            atom,
            format!(
                "`{name}` has no ftrace entry (notrace, noinstr or inline code, or a file that is built without)"
            ),
            "change the functions that call it instead",
        ));
    }
    let [was, is] = sections.map(|section| names::is_untraceable_section(&section.name));
    if is && !was {
        refusals.push(pair.refusal(
            Code::NoFtraceEntry,
            atom,
            format!("`{name}` must not be traced any more, and the patch would be reached by that"),
            "leave the function where it is",
        ));
    }
    refusals
}

/// Whether a function begins with the call that ftrace, and so livepatch, redirects.
pub(crate) fn has_ftrace_entry(side: &Side<'_>, function: AtomId) -> bool {
    let origin = side.atoms[function].origin;
    let listed = side.entries.of(function).iter().any(|entry| {
        entry.table.name == MCOUNT_LOC && (0..FENTRY_WITHIN as i64).contains(&entry.at)
    });
    if listed {
        return true;
    }
    side.references(function).iter().any(|reference| {
        let name = match reference.target {
            Target::Extern(symbol) => side.object[symbol].name.as_str(),
            _ => "",
        };
        name == FENTRY && reference.offset >= origin && reference.offset - origin <= FENTRY_WITHIN
    })
}

fn included(pair: &Checked<'_>, atom: AtomId) -> Vec<Refusal> {
    let side = pair.patched;
    let name = side.name(atom);
    let what = if name.is_empty() { "code without a name".to_owned() } else { format!("`{name}`") };
    let mut refusals = Vec::new();
    if pair.correlation.is_ambiguous(atom) {
        refusals.push(pair.refusal(
            Code::AmbiguousMatch,
            atom,
            format!("{what} has several possible counterparts in the original object"),
            "give the variable or function a name that is unique in its file",
        ));
    }
    refusals.extend(unrelocated::check(pair, atom));
    refusals.extend(runtime_const::check(pair, atom));
    if side.has_invalid_code(atom) {
        refusals.push(pair.refusal(
            Code::UnsupportedObject,
            atom,
            format!("{what} holds bytes that are no x86-64 instruction"),
            "patch a caller in place of the function",
        ));
    }
    if side.ends_wrongly(atom) {
        refusals.push(pair.refusal(
            Code::UnsupportedObject,
            atom,
            format!(
                "{what}, or a special entry of it, ends outside its section or in a relocated field"
            ),
            "the size of the symbol is not what a compiler makes",
        ));
    }
    for entry in side.entries.of(atom) {
        if let Policy::Refuse(code) = entry.table.policy {
            let section = &side.object[entry.section].name;
            refusals.push(pair.refusal(
                code,
                atom,
                format!("{what} has entries in `{section}`"),
                match code {
                    Code::RuntimeConst => "patch a caller; the constant exists only in vmlinux",
                    _ => "use the compiler's own output, before objtool",
                },
            ));
        }
    }
    if classify(side.section(atom)) == Class::Unknown && !pair.correlation.is_ambiguous(atom) {
        refusals.push(pair.refusal(
            Code::UnsupportedSection,
            atom,
            format!("{what} is new in `{}`, and nothing is known of it", side.section(atom).name),
            "please report the section's name and what fills it",
        ));
    }
    // Strings and constants are shared by whoever has equal ones.
    let is_shared = matches!(side.atoms[atom].kind, AtomKind::String | AtomKind::Constant);
    let unknown = side.entries.unknown.get(&atom).filter(|_| !is_shared);
    for section in unknown.into_iter().flatten() {
        let section = &side.object[*section].name;
        refusals.push(pair.refusal(
            Code::UnknownSection,
            atom,
            format!("section `{section}` refers to {what}, and this tool does not know what for"),
            "please report the section's name and what fills it",
        ));
    }
    for reference in side.needed_references(atom) {
        if reference.target != Target::Atom(atom) {
            refusals.extend(unusable_target(pair, atom, reference.target));
        }
        refusals.extend(end_or_start(pair, atom, reference));
    }
    refusals
}

fn unusable_target(pair: &Checked<'_>, atom: AtomId, target: Target) -> Option<Refusal> {
    let side = pair.patched;
    let section = match target {
        // What the running kernel has is what counts, whatever the patch made of it.
        Target::Atom(target) => match pair.correlation.original_of(target) {
            Some(original) if !pair.selection.included.contains(&target) => {
                pair.original.section(original)
            }
            _ => side.section(target),
        },
        Target::Section(section) => &side.object[section],
        _ => return None,
    };
    if names::is_init_section(&section.name) {
        return Some(pair.refusal(
            Code::InitChanged,
            atom,
            format!("it refers to `{}`, which is gone after boot or load", section.name),
            "do not use `__init` or `__exit` code or data in a patched function",
        ));
    }
    let is_piece = matches!(target, Target::Atom(_));
    if !is_piece && classify(section) != Class::Ignored {
        return Some(pair.refusal(
            Code::UnsupportedSection,
            atom,
            format!("it refers into section `{}`, which cannot be carried over", section.name),
            "please report the section's name and what fills it",
        ));
    }
    None
}

/// Variables with a section attribute lie side by side in one section, and the end of one array is the
/// start of the next variable. Which of them is meant only matters where they part: when not both are
/// the kernel's, one behind the other.
fn end_or_start(pair: &Checked<'_>, atom: AtomId, reference: &Reference) -> Option<Refusal> {
    let side = pair.patched;
    let Target::Atom(target) = reference.target else { return None };
    let named = side.object[reference.symbol].kind != SymbolKind::Section;
    if named || reference.delta != 0 || side.atoms[target].kind != AtomKind::Data {
        return None;
    }
    let section = side.atoms[target].section;
    let before = side.atoms.at(section, side.atoms[target].start as i64 - 1)?;
    let this = &side.atoms[before];
    // A loop runs to the end of an array, not of a single number or pointer, or of what stands beside
    // one use of a macro.
    let is_array = this.kind == AtomKind::Data
        && this.end - this.start > 8
        && !names::is_private_to_its_use(side.name(before));
    if before == target || !is_array {
        return None;
    }
    let old = |atom| Some(&pair.original.atoms[pair.correlation.original_of(atom)?]);
    let touch = |a: &Atom, b: &Atom| a.section == b.section && a.end == b.start;
    if old(before).zip(old(target)).is_some_and(|(a, b)| touch(a, b)) {
        return None;
    }
    Some(pair.refusal(
        Code::AmbiguousMatch,
        atom,
        format!(
            "it refers to the end of `{}` or the start of `{}` in `{}`",
            side.name(before),
            side.name(target),
            side.object[section].name
        ),
        "define the new variable without a section attribute",
    ))
}

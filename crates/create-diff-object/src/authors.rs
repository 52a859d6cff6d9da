//! Reads what the patch's author tells the tools by the macros of `kmod/include/`, kpatch's own
//! `kpatch-macros.h`, or the kernel's `linux/livepatch_helpers.h`: callbacks to run when the object is
//! patched and unpatched, and differences to ignore.
//!
//! The macros leave pointers in sections of their own, which never go into the patch as they are:
//!
//! | Section | Entry |
//! |---|---|
//! | `.kpatch.callbacks.<kind>` | 16 bytes: function, object name (NULL) |
//! | `.kpatch.ignore.functions` | pointer to a function, or to its name |
//! | `.kpatch.force` | pointer to a function |
//! | `.kpatch.states` | 16 bytes: id, version |
//! | `.kpatch.ignore.sections` | pointer to the section's name |
//! | `.discard.klp_callback_ptrs` | pointer to a function, in a variable `__klp_<kind>_callback_<object>` |
//!
//! Sources: kpatch's `kmod/patch/kpatch-macros.h`; Linux 6.19's `include/linux/livepatch_helpers.h` and
//! `livepatch_external.h`. Bias: a wish that cannot be followed to the letter is refused, since the
//! author counts on it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch::CallbackKind;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::correlate::Correlation;
use crate::lines::Lines;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::side::Side;
use crate::notices::Notice;

/// Callbacks, a section for each kind.
const CALLBACKS: &str = ".kpatch.callbacks.";
/// Size of an entry there.
const CALLBACK_SIZE: u64 = 16;
/// The kernel's section of callbacks.
const KERNEL_CALLBACKS: &str = ".discard.klp_callback_ptrs";
/// Functions whose differences do not count.
const IGNORED_FUNCTIONS: &str = ".kpatch.ignore.functions";
/// Sections whose differences do not count.
const IGNORED_SECTIONS: &str = ".kpatch.ignore.sections";
/// Functions that kpatch's own kernel module would redirect without its stack check.
const FORCED: &str = ".kpatch.force";
/// States that the patch deals with.
const STATES: &str = ".kpatch.states";
/// Size of an entry there.
const STATE_SIZE: usize = 16;
/// Size of a pointer.
const POINTER_SIZE: u64 = 8;

/// A function to run when the object is patched or unpatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callback {
    /// When.
    pub kind: CallbackKind,
    /// The function, a piece of the patched object.
    pub function: AtomId,
    /// The variable that the macro made, if it has a name.
    registered_by: Option<SymbolId>,
}

/// A state that the patch deals with (`struct klp_state` of `include/linux/livepatch.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeclaredState {
    /// Known to all patches of a kernel; not 0.
    pub id: u64,
    /// Newer ones can deal with what older ones left.
    pub version: u32,
}

/// All wishes of one object.
#[derive(Debug, Default)]
pub struct Authors {
    /// Callbacks by kind, at most one of each.
    pub callbacks: Vec<Callback>,
    /// States, by id, each once.
    pub states: Vec<DeclaredState>,
    /// Sections whose differences do not count.
    pub ignored_sections: BTreeSet<String>,
    /// Names in the source of functions whose differences do not count.
    ignored_names: BTreeSet<String>,
    /// Those functions of the patched object with their cold parts and clones.
    ignored_functions: BTreeSet<AtomId>,
    forced: BTreeSet<AtomId>,
}

/// Reads the wishes in `patched` that `original` does not have; `name` is what refusals call the
/// object.
///
/// # Errors
/// [`Code::SeveralCallbacks`], [`Code::AuthorMacro`].
pub fn read(name: &str, original: &Side<'_>, patched: &Side<'_>) -> Result<Authors, Refusals> {
    let old = variables(original);
    let mut reader = Reader { name, original, patched, old, lines: None, refusals: Vec::new() };
    let mut authors = Authors::default();
    let mut callbacks = Vec::new();
    for (id, section) in patched.object.sections_with_ids() {
        match section.name.as_str() {
            KERNEL_CALLBACKS => callbacks.extend(reader.kernel_callbacks(id)),
            IGNORED_FUNCTIONS => authors.ignored_names.extend(reader.function_names(id)),
            IGNORED_SECTIONS => authors.ignored_sections.extend(reader.section_names(id)),
            FORCED => authors.forced.extend(reader.functions(id)),
            STATES => authors.states.extend(reader.states(id)),
            other => {
                if let Some(kind) = other.strip_prefix(CALLBACKS) {
                    callbacks.extend(reader.callbacks(id, kind));
                }
            }
        }
    }
    if !authors.ignored_names.is_empty() {
        let is_ignored = |name: &str| authors.ignored_names.contains(name);
        authors.ignored_functions = functions_of(patched, is_ignored);
    }
    authors.states.sort_unstable();
    authors.states.dedup();
    callbacks.sort_by_key(|callback| (callback.kind, callback.function));
    authors.callbacks = reader.one_of_each_kind(callbacks);
    Refusals::none_or(reader.refusals, authors)
}

impl Authors {
    /// Whether differences of a function of the patched object do not count.
    pub fn ignores(&self, patched: AtomId) -> bool {
        self.ignored_functions.contains(&patched)
    }

    /// Wishes that could not be followed: `included` is what goes into the patch.
    pub(crate) fn check(
        &self,
        name: &str,
        (original, patched): (&Side<'_>, &Side<'_>),
        correlation: &Correlation,
        included: &BTreeSet<AtomId>,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for id in &self.ignored_functions {
            let function = source_name(patched, *id);
            let is_other = match correlation.original_of(*id) {
                // As a clone a function takes other arguments.
                Some(old) => {
                    let (old, new) = (original.name(old), patched.name(*id));
                    names::base_name(old) != names::base_name(new)
                }
                None => {
                    included.contains(id)
                        && !functions_of(original, |name| name == function).is_empty()
                }
            };
            if !is_other {
                continue;
            }
            refusals.push(Refusal::new(
                Code::AuthorMacro,
                place(name, patched, *id, &Lines::read(patched.object)),
                format!(
                    "KPATCH_IGNORE_FUNCTION({function}): the original object has no such `{}`, and \
                     the patch would need it",
                    patched.name(*id)
                ),
                "the compiler made other parts of the function this time: do not change it, or \
                 ignore its callers, too",
            ));
        }
        refusals
    }

    /// What the author may not expect: wishes without effect. `unchanged` are ignored functions without
    /// a difference.
    pub(crate) fn notices(
        &self,
        name: &str,
        patched: &Side<'_>,
        correlation: &Correlation,
        unchanged: &BTreeSet<AtomId>,
    ) -> Vec<Notice> {
        if self.ignored_names.is_empty() && self.forced.is_empty() {
            return Vec::new();
        }
        let lines = Lines::read(patched.object);
        let notice = |id: &AtomId, text| Notice::new(place(name, patched, *id, &lines), text);
        let mut notices = Vec::new();
        for function in &self.ignored_names {
            let all = functions_of(patched, |name| name == function);
            let Some(first) = all.first() else { continue };
            let is_new = |id: &AtomId| correlation.original_of(*id).is_none();
            if all.iter().all(is_new) {
                let text =
                    format!("function {function} is new, KPATCH_IGNORE_FUNCTION() has no effect");
                notices.push(notice(first, text));
            } else if all.is_subset(unchanged) {
                let text = format!(
                    "no change detected in function {function}, unnecessary \
                     KPATCH_IGNORE_FUNCTION()?"
                );
                notices.push(notice(first, text));
            }
        }
        for id in &self.forced {
            let text = format!(
                "KPATCH_FORCE_UNSAFE({}) has no effect: the kernel's livepatch core always checks \
                 stacks",
                patched.name(*id)
            );
            notices.push(notice(id, text));
        }
        notices
    }

    /// Where each callback is registered, in the order of `callbacks`.
    pub fn places(&self, name: &str, patched: &Side<'_>) -> Vec<Place> {
        if self.callbacks.is_empty() {
            return Vec::new();
        }
        let lines = Lines::read(patched.object);
        self.callbacks.iter().map(|c| registration(name, patched, c, &lines)).collect()
    }
}

/// The name of a function in the source: compilers append what they made of it.
fn source_name<'a>(side: &Side<'a>, function: AtomId) -> &'a str {
    side.name(function).split('.').next().unwrap_or_default()
}

/// The functions of the wanted names in the source, their cold parts and clones.
fn functions_of(side: &Side<'_>, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<AtomId> {
    let functions = side.atoms.iter().filter(|(_, atom)| atom.kind == AtomKind::Function);
    functions.map(|(id, _)| id).filter(|id| is_wanted(source_name(side, *id))).collect()
}

/// The variables that the macros make, each with its section.
fn variables<'a>(side: &Side<'a>) -> BTreeSet<(&'a str, &'a str)> {
    let object = side.object;
    let is_ours = |name: &str| {
        name.starts_with(CALLBACKS)
            || [KERNEL_CALLBACKS, IGNORED_FUNCTIONS, IGNORED_SECTIONS, FORCED, STATES]
                .contains(&name)
    };
    if !object.sections.iter().any(|section| is_ours(&section.name)) {
        return BTreeSet::new();
    }
    let all = object.symbols.iter().filter(|symbol| symbol.kind == SymbolKind::Object);
    all.filter_map(|symbol| Some((object[symbol.section()?].name.as_str(), symbol.name.as_str())))
        .filter(|(section, _)| is_ours(section))
        .collect()
}

struct Reader<'a> {
    name: &'a str,
    original: &'a Side<'a>,
    patched: &'a Side<'a>,
    /// Variables of macros in the original object: not this patch's.
    old: BTreeSet<(&'a str, &'a str)>,
    lines: Option<Lines>,
    refusals: Vec<Refusal>,
}

impl Reader<'_> {
    fn callbacks(&mut self, id: SectionId, kind: &str) -> Vec<Callback> {
        let Some(kind) = CallbackKind::ALL.into_iter().find(|k| k.name() == kind) else {
            let section = &self.patched.object[id].name;
            self.refuse(section, format!("`{section}` is no kind of callback that the kernel has"));
            return Vec::new();
        };
        let entries = self.entries(id, CALLBACK_SIZE);
        let functions = entries.into_iter().filter_map(|reference| {
            let registered_by = self.symbol_at(id, reference.offset);
            let function = self.function(id, &reference)?;
            Some(Callback { kind, function, registered_by })
        });
        functions.collect()
    }

    fn kernel_callbacks(&mut self, id: SectionId) -> Vec<Callback> {
        let mut callbacks = Vec::new();
        for reference in self.entries(id, POINTER_SIZE) {
            let registered_by = self.symbol_at(id, reference.offset);
            let variable = registered_by.map_or("", |id| self.patched.object[id].name.as_str());
            let kind = CallbackKind::ALL
                .into_iter()
                .find(|kind| variable.starts_with(&format!("__klp_{}_callback_", kind.name())));
            match (kind, self.function(id, &reference)) {
                (Some(kind), Some(function)) => {
                    callbacks.push(Callback { kind, function, registered_by });
                }
                (None, _) => {
                    let message = format!("`{variable}` names no kind of callback");
                    self.refuse(variable, message);
                }
                (Some(_), None) => {}
            }
        }
        callbacks
    }

    fn states(&mut self, id: SectionId) -> Vec<DeclaredState> {
        let section = &self.patched.object[id];
        let records = section.data.chunks_exact(STATE_SIZE);
        if !records.remainder().is_empty() || !section.relocations.is_empty() {
            let message = format!("`{STATES}` does not hold what the macros leave there");
            self.refuse(STATES, message);
            return Vec::new();
        }
        let mut states = Vec::new();
        for (record, at) in records.zip((0..).step_by(STATE_SIZE)) {
            let variable = self.symbol_at(id, at);
            let variable = variable.map_or("", |id| self.patched.object[id].name.as_str());
            if self.old.contains(&(STATES, variable)) {
                continue;
            }
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            let (state, version) = record.split_at(STATE_SIZE / 2);
            match (number(state), u32::try_from(number(version))) {
                (id, Ok(version)) if id != 0 => states.push(DeclaredState { id, version }),
                _ => {
                    let message = "KPATCH_STATE(): an id is not 0, a version has 32 bits";
                    self.refuse(STATES, message.to_owned());
                }
            }
        }
        states
    }

    fn functions(&mut self, id: SectionId) -> Vec<AtomId> {
        let entries = self.entries(id, POINTER_SIZE);
        entries.iter().filter_map(|reference| self.function(id, reference)).collect()
    }

    fn function_names(&mut self, id: SectionId) -> Vec<String> {
        let mut names = Vec::new();
        for reference in self.entries(id, POINTER_SIZE) {
            let text = self.text(&reference);
            let Some(name) = text else {
                let function = self.function(id, &reference);
                names.extend(function.map(|id| source_name(self.patched, id).to_owned()));
                continue;
            };
            let is_there = [self.original, self.patched]
                .iter()
                .any(|side| !functions_of(side, |function| function == name).is_empty());
            if is_there {
                names.push(name);
            } else {
                let message = format!("KPATCH_IGNORE_FUNCTION(): there is no function `{name}`");
                self.refuse(&name, message);
            }
        }
        names
    }

    fn section_names(&mut self, id: SectionId) -> Vec<String> {
        let mut names = Vec::new();
        for reference in self.entries(id, POINTER_SIZE) {
            let Some(name) = self.text(&reference) else {
                let section = &self.patched.object[id].name;
                let message =
                    "KPATCH_IGNORE_SECTION() does not name a section by a string constant";
                self.refuse(section, message.to_owned());
                continue;
            };
            let mut sections =
                [self.original, self.patched].into_iter().flat_map(|side| &side.object.sections);
            if sections.any(|section| section.name == name) {
                names.push(name);
            } else {
                let message = format!("KPATCH_IGNORE_SECTION(): there is no section `{name}`");
                self.refuse(&name, message);
            }
        }
        names
    }

    /// The references of a section of entries of `size` bytes: the first field of each, and no other.
    fn entries(&mut self, id: SectionId, size: u64) -> Vec<Reference> {
        let section = &self.patched.object[id];
        let references = self.patched.references_in(id, 0..section.size);
        let whole = section.size % size == 0
            && references.len() as u64 == section.size / size
            && references.iter().zip(0..).all(|(r, index)| r.offset == size * index);
        if !whole {
            let message = format!("`{}` does not hold what the macros leave there", section.name);
            self.refuse(&section.name, message);
            return Vec::new();
        }
        let is_new = |reference: &&Reference| {
            let variable = self.symbol_at(id, reference.offset);
            let variable = variable.map_or("", |id| self.patched.object[id].name.as_str());
            !self.old.contains(&(section.name.as_str(), variable))
        };
        references.iter().filter(is_new).copied().collect()
    }

    /// The function of this object that a reference is to.
    fn function(&mut self, id: SectionId, reference: &Reference) -> Option<AtomId> {
        match reference.target {
            Target::Atom(atom)
                if reference.delta == 0 && self.patched.atoms[atom].kind == AtomKind::Function =>
            {
                return Some(atom);
            }
            _ => {}
        }
        let section = &self.patched.object[id].name;
        let meant = match reference.target {
            Target::Extern(symbol) => self.patched.object[symbol].name.as_str(),
            Target::Atom(atom) => self.patched.name(atom),
            _ => "",
        };
        let message = format!("`{meant}`, named in `{section}`, is not a function of this file");
        self.refuse(if meant.is_empty() { section } else { meant }, message);
        None
    }

    fn text(&self, reference: &Reference) -> Option<String> {
        let Target::Atom(atom) = reference.target else { return None };
        if self.patched.atoms[atom].kind == AtomKind::Function {
            return None;
        }
        let bytes = self.patched.bytes(atom).get(usize::try_from(reference.delta).ok()?..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        String::from_utf8(bytes[..end].to_vec()).ok()
    }

    /// The name of the variable at a place.
    fn symbol_at(&self, section: SectionId, offset: u64) -> Option<SymbolId> {
        let mut symbols = self.patched.object.symbols_with_ids();
        let is_here = |symbol: &Symbol| {
            symbol.section() == Some(section)
                && symbol.value == offset
                && symbol.kind == SymbolKind::Object
        };
        symbols.find(|(_, symbol)| is_here(symbol)).map(|(id, _)| id)
    }

    /// The kernel has room for one callback of each kind.
    fn one_of_each_kind(&mut self, callbacks: Vec<Callback>) -> Vec<Callback> {
        let mut by_kind: BTreeMap<CallbackKind, Callback> = BTreeMap::new();
        for callback in callbacks {
            let Some(first) = by_kind.get(&callback.kind).copied() else {
                by_kind.insert(callback.kind, callback);
                continue;
            };
            let lines = self.lines.get_or_insert_with(|| Lines::read(self.patched.object));
            let [one, other] =
                [first, callback].map(|c| registration(self.name, self.patched, &c, lines));
            self.refusals.push(several_callbacks(callback.kind, one, &other));
        }
        by_kind.into_values().collect()
    }

    fn refuse(&mut self, symbol: &str, message: String) {
        self.refusals.push(Refusal::new(
            Code::AuthorMacro,
            Place::object(self.name).symbol(symbol),
            message,
            "use the macros of kpatch-macros.h or linux/livepatch_helpers.h, with a function or a \
             section of the same file",
        ));
    }
}

/// The refusal of a state that a patch declares in two versions.
pub fn several_versions(id: u64, object: &str) -> Refusal {
    Refusal::new(
        Code::AuthorMacro,
        Place::object(object),
        format!("KPATCH_STATE(): the patch deals with state {id} in two versions"),
        "a patch is of one version for each of its states: declare it once",
    )
}

/// The refusal of two callbacks of one kind for one object of the kernel.
pub fn several_callbacks(kind: CallbackKind, one: Place, other: &Place) -> Refusal {
    Refusal::new(
        Code::SeveralCallbacks,
        one,
        format!("there is another {} callback: {other}", kind.name()),
        "the kernel runs one callback of each kind for vmlinux and for each module: make one that \
         calls both",
    )
}

fn registration(name: &str, side: &Side<'_>, callback: &Callback, lines: &Lines) -> Place {
    let mut found = place(name, side, callback.function, lines);
    let of_macro = callback.registered_by.and_then(|id| lines.of_symbol(side.object, id));
    if let Some((file, line)) = of_macro {
        found.file = Some(file);
        found.line = Some(line);
    }
    found
}

fn place(name: &str, side: &Side<'_>, function: AtomId, lines: &Lines) -> Place {
    let mut place = Place::object(name).symbol(side.name(function));
    let symbol = side.atoms[function].symbols.first();
    if let Some((file, line)) = symbol.and_then(|id| lines.of_symbol(side.object, *id)) {
        place.file = Some(file);
        place.line = Some(line);
    }
    place
}

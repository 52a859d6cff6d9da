//! Finds what a source patch changed in an object file, and cuts out exactly what a livepatch module
//! needs of it.
//!
//! The phases, each a folder or a file, each from immutable inputs to new data:
//!
//! 1. [`normalize`]: an object is cut into pieces, relocations are resolved to their meaning, special
//!    sections taken apart;
//! 2. [`authors`]: what the patch's author tells the tools;
//! 3. [`correlate`]: named pieces of both objects are matched, clones that lost their suffix or got one,
//!    too;
//! 4. [`compare`] and [`select`]: what changed, and what that needs;
//! 5. [`check`]: what cannot be patched safely is refused;
//! 6. [`outlive`]: what may run longer than the patch keeps its module loaded;
//! 7. [`emit`]: the pieces are written as an object, references out of it resolved by what [`kernel`]
//!    knows.
//!
//! [`explain`] says why a function counts as changed, with the source places that [`lines`] reads;
//! [`notices`] are what the user should know of a patch that can be built.
//!
//! Bias: a difference that is not understood counts as a change, and a change that cannot be made
//! safely is refused. A false change costs a few bytes, a missed one leaves the kernel unfixed.

pub mod authors;
pub mod check;
pub mod compare;
pub mod correlate;
pub mod emit;
pub mod explain;
pub mod kernel;
pub mod lines;
pub mod normalize;
pub mod notices;
pub mod outlive;
pub mod same_source;
pub mod select;

use std::cell::OnceCell;

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::livepatch::CallbackKind;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use authors::Authors;
use correlate::Correlation;
use emit::Emitted;
use normalize::record_sizes::RecordSizes;
use normalize::side::Side;
use notices::Notice;
use select::Selection;

/// Two objects compared.
#[derive(Debug)]
pub struct Difference<'a> {
    /// How the object is called in messages (`fs/proc/cmdline.o`).
    pub name: &'a str,
    patched: Side<'a>,
    original: Side<'a>,
    correlation: Correlation,
    authors: Authors,
    selection: Selection,
}

/// Compares `original` with `patched`, the same source compiled without and with the patch.
///
/// # Errors
/// Everything that speaks against patching, if anything does.
pub fn compare_objects<'a>(
    name: &'a str,
    original: &'a ObjectFile,
    patched: &'a ObjectFile,
) -> Result<Difference<'a>, Refusals> {
    let Examined { difference, refusals } = examine_objects(name, original, patched)?;
    Refusals::none_or(refusals, difference)
}

/// Two objects compared, and what speaks against patching.
#[derive(Debug)]
pub struct Examined<'a> {
    /// What is different.
    pub difference: Difference<'a>,
    /// Why it cannot be patched, empty if it can: then [`Difference::emit`] may be called.
    pub refusals: Vec<Refusal>,
}

/// As [`compare_objects`], with the difference also of what cannot be patched, for explanations.
///
/// # Errors
/// What speaks against comparing the objects at all.
pub fn examine_objects<'a>(
    name: &'a str,
    original: &'a ObjectFile,
    patched: &'a ObjectFile,
) -> Result<Examined<'a>, Refusals> {
    examine_objects_with(name, original, patched, &RecordSizes::default())
}

/// As [`examine_objects`], where sizes of records are known from elsewhere.
///
/// # Errors
/// As [`examine_objects`]; and a section's entries do not have the size that is given.
pub fn examine_objects_with<'a>(
    name: &'a str,
    original: &'a ObjectFile,
    patched: &'a ObjectFile,
    sizes: &RecordSizes,
) -> Result<Examined<'a>, Refusals> {
    let (original, patched) =
        rayon::join(|| Side::new(name, original, sizes), || Side::new(name, patched, sizes));
    let (original, patched) = (original?, patched?);
    let correlation = correlate::correlate(&original, &patched);
    let correlation = correlate::clones::follow(&original, &patched, correlation);
    let authors = authors::read(name, &original, &patched)?;
    let selection = select::select(&original, &patched, &correlation, &authors);
    let checked = check::Checked {
        name,
        original: &original,
        patched: &patched,
        correlation: &correlation,
        selection: &selection,
        lines: OnceCell::new(),
    };
    let mut refusals = check::check(&checked);
    refusals.extend(check::assembly::check(&checked, &authors));
    let sides = (&original, &patched);
    refusals.extend(authors.check(name, sides, &correlation, &selection.included));
    let difference = Difference { name, patched, original, correlation, authors, selection };
    Ok(Examined { difference, refusals })
}

impl Difference<'_> {
    /// Whether nothing goes into the patch: nothing of the running kernel would change, and there is
    /// nothing new that other objects of the patch could refer to.
    pub fn is_empty(&self) -> bool {
        self.selection.included.is_empty()
    }

    /// Names of the functions that replace one of the kernel, by name: as the kernel has it.
    pub fn changed_functions(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.selection.changed.keys().map(|id| self.old_name(*id)).collect();
        names.sort_unstable();
        names
    }

    /// Why each changed function counts as changed, by name of the function.
    pub fn reasons(&self) -> Vec<(&str, &compare::Reason)> {
        let changed = self.selection.changed.iter();
        let mut reasons: Vec<_> = changed.map(|(id, r)| (self.old_name(*id), r)).collect();
        reasons.sort_unstable_by_key(|(name, _)| *name);
        reasons
    }

    /// What a piece of the patched object is called in the original one, if it has one: compilers number
    /// as they like.
    fn old_name(&self, patched: normalize::atoms::AtomId) -> &str {
        let original = self.correlation.original_of(patched);
        original.map_or(self.patched.name(patched), |original| self.original.name(original))
    }

    /// Names of the functions of the kernel that the patch has a copy of because nothing can redirect
    /// them, by name. Their callers are changed functions.
    pub fn copied_functions(&self) -> Vec<&str> {
        let copied = self.selection.copied.keys();
        let mut names: Vec<&str> = copied.map(|id| self.old_name(*id)).collect();
        names.sort_unstable();
        names
    }

    /// Names of the functions that the kernel does not have, by name.
    pub fn new_functions(&self) -> Vec<&str> {
        let new = self.selection.new_functions.iter();
        let new = new.filter(|id| !self.selection.copied.contains_key(id));
        let mut names: Vec<&str> = new.map(|id| self.patched.name(*id)).collect();
        names.sort_unstable();
        names
    }

    /// Names that this object defines anew for the other objects of the patch.
    pub fn new_globals(&self) -> Vec<&str> {
        let new = |id: &&normalize::atoms::AtomId| self.correlation.original_of(**id).is_none();
        let symbols = self.selection.included.iter().filter(new).flat_map(|id| {
            self.patched.atoms[*id].symbols.iter().map(|s| &self.patched.object[*s])
        });
        let mut names: Vec<&str> =
            symbols.filter(|s| s.binding != Binding::Local).map(|s| s.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The functions to run when the object is patched or unpatched, one of each kind at most: when, and
    /// where it is registered.
    pub fn callbacks(&self) -> Vec<(CallbackKind, Place)> {
        let kinds = self.authors.callbacks.iter().map(|callback| callback.kind);
        kinds.zip(self.authors.places(self.name, &self.patched)).collect()
    }

    /// How many functions [`Difference::callbacks`] gives.
    pub fn callback_count(&self) -> usize {
        self.authors.callbacks.len()
    }

    /// States that the patch's author declares, by id.
    pub fn states(&self) -> &[authors::DeclaredState] {
        &self.authors.states
    }

    /// Variables that the kernel does not have and that the patch can write to, by name: what the source
    /// calls so, not what macros of the kernel make.
    pub fn new_variables(&self) -> Vec<&str> {
        let is_new = |id: &normalize::atoms::AtomId| {
            let atom = &self.patched.atoms[*id];
            let section = &self.patched.object[atom.section];
            atom.kind == normalize::atoms::AtomKind::Data
                && section.has(kpatch_elf::section_flags::WRITE)
                && !section.name.starts_with(".data.once")
                && !section.name.starts_with(".data.rel.ro")
                && self.correlation.original_of(*id).is_none()
        };
        let names = self.selection.included.iter().filter(|id| is_new(id));
        let names = names.map(|id| self.patched.name(*id).split('.').next().unwrap_or_default());
        let mut names: Vec<&str> = names.filter(|name| !name.starts_with("__")).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the user should know of the patch before it is written, by place.
    pub fn notices(&self) -> Vec<Notice> {
        let Difference { name, patched, correlation, authors, selection, .. } = self;
        let unchanged = &selection.ignored_unchanged;
        let mut all = authors.notices(name, patched, correlation, unchanged);
        all.extend(select::callers::notices(name, patched, selection));
        all.extend(notices::of_record_sizes(name, patched, selection));
        all.extend(notices::of_what_stays_behind(name, &self.original, patched));
        notices::sorted(all)
    }

    /// Writes what goes into the patch as an object; `symbols` resolves what it needs of the kernel.
    ///
    /// # Errors
    /// Every reference that cannot be resolved.
    pub fn emit(&self, symbols: &dyn kernel::symbols::Symbols) -> Result<Emitted, Refusals> {
        emit::emit(self, symbols)
    }
}

/// Combines a refusal with where it comes from.
pub(crate) fn at(name: &str, symbol: &str, mut refusal: Refusal) -> Refusal {
    refusal.place.object.get_or_insert_with(|| name.to_owned());
    refusal.place.symbol.get_or_insert_with(|| symbol.to_owned());
    refusal
}

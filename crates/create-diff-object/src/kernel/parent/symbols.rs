//! Answers the emitter from the symbol table of the parent object and from `Module.symvers`.
//!
//! Numbers count as the kernel counts (`klp_find_object_symbol` in `kernel/livepatch/core.c`): all
//! symbols of a name, local and global, for vmlinux in the order of kallsyms, which is that of
//! addresses; for a module in the order of its symbol table. Bias: a local name is only resolved when
//! it is certain which file's it is.

use std::collections::HashSet;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place as RefusalPlace;
use kpatch_refusal::Refusal;
use shipped_kernel::Exports;
use shipped_kernel::symvers;

use super::files;
use super::files::ObjectPart;
use super::listing::Listed;
use super::listing::Listing;
use super::listing::ListingError;
use super::listing::Place;

use crate::kernel::rules;
use crate::kernel::rules::Exporter;
use crate::kernel::rules::Kernel;
use crate::kernel::rules::Rules;
use crate::kernel::symbols::Resolution;
use crate::kernel::symbols::Wanted;

/// The global function of every module's initialisation code (`include/linux/module.h`).
const MODULE_INIT: &str = "init_module";

/// What is known of the parent of one object.
#[derive(Debug)]
pub struct ParentSymbols<'a> {
    object: String,
    parts: Vec<ObjectPart<'a>>,
    listing: Listing<'a>,
    /// Whether the parent has all global symbols of the object, and there are any.
    is_linked_in: bool,
    exports: Exports,
    /// The modules whose exports the parent or the unpatched object uses.
    needed: HashSet<String>,
}

impl<'a> ParentSymbols<'a> {
    /// The view of `original`, and of `patched`, the same with the patch, in the object `parent`:
    /// `vmlinux` or a module. `listing` is the text of `readelf -s --wide` of that object.
    ///
    /// # Errors
    /// [`ListingError`]
    pub fn new(
        parent: &str,
        (original, patched): (&'a ObjectFile, &'a ObjectFile),
        listing: &'a [u8],
        exports: Exports,
    ) -> Result<Self, ListingError> {
        let parts = files::parts_of(original);
        let files: HashSet<&str> = parts.iter().map(|part| part.name).collect();
        let both = || original.symbols.iter().chain(&patched.symbols);
        let mut names: HashSet<&str> = both().map(|symbol| symbol.name.as_str()).collect();
        names.remove("");
        names.insert(MODULE_INIT);
        let listing = Listing::parse(listing, &names, &files)?;
        // A module that already uses another one's symbols cannot be loaded without it.
        let undefined = original.symbols.iter().skip(1);
        let undefined = undefined.filter(|s| s.definition == Definition::Undefined);
        let needed = undefined.filter_map(|s| Some(exports.get(&s.name)?.module.clone()));
        let needed = needed.collect();
        let object = symvers::module_name(parent);
        let is_there = |name: &str| {
            let mut listed = listing.named(name).iter();
            listed.any(|l| l.binding != Binding::Local && l.place != Place::Undefined)
        };
        let mut globals = files::globals_of(original).peekable();
        let is_linked_in = globals.peek().is_some() && globals.all(is_there);
        Ok(ParentSymbols { object, parts, listing, is_linked_in, exports, needed })
    }

    /// The rules by which references are resolved.
    pub fn rules(&self) -> Rules<'_, Self> {
        Rules { object: &self.object, kernel: self }
    }

    /// What the kernel finds by a name, in the order in which it counts.
    fn counted(&self, name: &str) -> Vec<Listed> {
        let is_counted = |listed: &&Listed| match listed.place {
            Place::Undefined => false,
            // `scripts/mksysmap` leaves these out of kallsyms.
            Place::Absolute => self.object != VMLINUX || listed.binding != Binding::Local,
            Place::Section(_) => true,
        };
        let mut all: Vec<Listed> =
            self.listing.named(name).iter().filter(is_counted).copied().collect();
        if self.object == VMLINUX {
            all.sort_by_key(|listed| (listed.value, listed.line));
        }
        all
    }

    /// Which of the symbols of a name is meant. `None` if there is none that could be.
    fn choose(&self, all: &[Listed], wanted: Wanted<'_>) -> Result<Option<usize>, Refusal> {
        if !wanted.local {
            return Ok(all.iter().position(|listed| listed.binding != Binding::Local));
        }
        if !all.iter().any(|listed| listed.binding == Binding::Local) {
            return Ok(None);
        }
        let name = wanted.name;
        let refuse = |message: String, hint: &str| {
            let place = RefusalPlace::default().symbol(name);
            Err(Refusal::new(Code::SymbolNotUnique, place, message, hint))
        };
        let mut own = self.parts.iter().filter(|part| part.all.contains(name));
        let part = match (own.next(), own.next()) {
            (Some(part), None) => part,
            (None, _) => {
                return refuse(
                    format!("the object has no FILE symbol that says whose `{name}` is meant"),
                    "compile it from C",
                );
            }
            (Some(one), Some(other)) => {
                return refuse(
                    format!(
                        "both `{}` and `{}` of the object have a `{name}`",
                        one.name, other.name
                    ),
                    "diff the objects that it was linked from",
                );
            }
        };
        let found = files::matching(part, self.listing.files(), self.is_linked_in);
        let [file] = found.as_slice() else {
            let what = match found.len() {
                0 => "no file of that name has the same local symbols".to_owned(),
                many => format!("{many} files of that name have the same local symbols"),
            };
            let object = &self.object;
            return refuse(
                format!(
                    "which `{name}` of `{}` in `{object}` is meant is not certain: {what}; it has {}",
                    part.name,
                    candidates(all)
                ),
                "give the symbols of exactly the kernel that the unpatched object was compiled for",
            );
        };
        let mut of_file = all
            .iter()
            .enumerate()
            .filter(|(_, listed)| listed.binding == Binding::Local && listed.file == file.file);
        match (of_file.next(), of_file.next()) {
            (None, _) => Ok(None),
            (Some((index, _)), None) => Ok(Some(index)),
            (Some(_), Some(_)) => refuse(
                format!(
                    "`{}` in `{}` has several `{name}`: {}",
                    part.name,
                    self.object,
                    candidates(all)
                ),
                "give the variable or function a name that is unique in its file",
            ),
        }
    }

    /// Whether the number of a symbol may depend on when it is looked up: a module's kallsyms lose
    /// what is gone after initialisation.
    fn changes_after_init(&self, all: &[Listed]) -> bool {
        let init = self.listing.named(MODULE_INIT).iter().map(|init| init.place);
        let init: Vec<Place> = init.filter(|place| matches!(place, Place::Section(_))).collect();
        self.object != VMLINUX && all.iter().any(|listed| init.contains(&listed.place))
    }
}

/// Candidates as a user can look them up in the symbol table.
fn candidates(all: &[Listed]) -> String {
    let shown = all.iter().take(8).map(|listed| {
        let binding = if listed.binding == Binding::Local { "local" } else { "global" };
        format!("{:#x} ({binding})", listed.value)
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if all.len() > 8 {
        text.push_str(&format!(" and {} more", all.len() - 8));
    }
    text
}

impl Kernel for ParentSymbols<'_> {
    fn find(&self, object: &str, wanted: Wanted<'_>) -> Result<Option<LivepatchSymbol>, Refusal> {
        let name = wanted.name;
        if object != self.object {
            // Of vmlinux behind a module only the exports are known. If the name is not unique there,
            // the kernel refuses position 0.
            let exported = self.exporter(name).is_some_and(|e| e.module == object);
            return Ok(exported.then(|| rules::livepatch_symbol(object, name)));
        }
        let all = self.counted(name);
        let Some(index) = self.choose(&all, wanted)? else { return Ok(None) };
        // Livepatch takes address 0, the first per-CPU symbol before 6.15, for "not found".
        if self.object == VMLINUX && self.listing.is_linked() && all[index].value == 0 {
            return Ok(None);
        }
        if all.len() == 1 {
            return Ok(Some(rules::livepatch_symbol(object, name)));
        }
        if self.changes_after_init(&all) {
            return Err(Refusal::new(
                Code::SymbolNotUnique,
                RefusalPlace::default().symbol(name),
                format!(
                    "`{object}` has a `{name}` in its initialisation code, too: the number of the one that is meant changes when that is gone"
                ),
                "patch a function that does not need it",
            ));
        }
        let position = u32::try_from(index + 1).unwrap_or(u32::MAX);
        Ok(Some(LivepatchSymbol { position, ..rules::livepatch_symbol(object, name) }))
    }

    fn exporter(&self, name: &str) -> Option<Exporter<'_>> {
        let export = self.exports.get(name)?;
        Some(Exporter { module: &export.module, namespace: export.namespace.is_some() })
    }

    /// Of other modules only the exports are known. If the name is not unique there, the kernel refuses
    /// position 0.
    fn exported(&self, module: &str, name: &str) -> Result<LivepatchSymbol, Refusal> {
        Ok(rules::livepatch_symbol(module, name))
    }

    /// Nothing is known of the other objects of the patch: see [`Self::unknown`].
    fn is_new(&self, _object: &str, _name: &str) -> bool {
        false
    }

    fn is_needed_by_patched(&self, module: &str) -> bool {
        self.needed.contains(module)
    }

    fn is_noreturn(&self, _name: &str) -> bool {
        false
    }

    /// What this object refers to and the parent does not have is another object's of the patch, or the
    /// link of the module fails.
    fn unknown(&self, wanted: Wanted<'_>) -> Result<Resolution, Refusal> {
        match wanted.defined_here {
            true => Err(rules::not_found(&self.object, wanted.name)),
            false => Ok(Resolution::Ordinary),
        }
    }
}

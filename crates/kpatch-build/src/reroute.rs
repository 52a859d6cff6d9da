//! Changed functions of the kernel proper that nothing can redirect, since no call to ftrace begins them, and
//! that other files call: `inline` ones that are not static, which the kernel makes `notrace`
//! (include/linux/compiler_types.h). The patch gets the new function under another name, and all who call
//! the old one are patched to call that. Callers in the function's own file change with it; those in other
//! files are compiled for it, unpatched but for the name. (A function that is local to its file is taken
//! along by the differ.)
//!
//! Bias: the shipped image says who knows the old function, not the source. Files are found by their text;
//! whatever in the image could be a field with the function's address must be a direct branch in code that is
//! replaced, or the function stays one that cannot be patched. So does one that BPF programs call by name.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;
use create_diff_object::Difference;
use create_diff_object::notices::Notice;
use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolKind;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use rayon::prelude::*;
use shipped_kernel::Text;
use shipped_kernel::references;

use crate::compile;
use crate::compile::CompiledPair;
use crate::compile::Setting;
use crate::compile::Unit;
use crate::compile_database::CompileDatabase;
use crate::compile_database::Owner;
use crate::objects;
use crate::run_pre::Proof;
use crate::target::Target;

/// What stands before the name of a function whose callers are patched in its place.
const NEW: &str = "__kpatch_";

/// The functions whose callers are patched in their place, by name, and the object of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rerouted(BTreeMap<String, String>);

impl Rerouted {
    /// These and those that `refused` speaks of; `None` if there is another reason against the patch, or
    /// one that it would not take away.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn with(
        &self,
        refused: &Refusals,
        pairs: &[CompiledPair],
        target: &Target,
    ) -> Result<Option<Self>> {
        let mut found = self.0.clone();
        for refusal in &refused.0 {
            let Place { object: Some(object), symbol: Some(name), .. } = &refusal.place else {
                return Ok(None);
            };
            let own = |pair: &&CompiledPair| {
                pair.unit.object == *object && pair.unit.owner == Owner::Vmlinux
            };
            let Some(pair) = pairs.iter().find(own) else { return Ok(None) };
            let can = refusal.code == Code::NoFtraceEntry
                && is_global(&objects::read(object, &pair.original)?, name)
                && is_plain(name, target);
            if !can || found.insert(name.clone(), object.clone()).is_some() {
                return Ok(None);
            }
        }
        Ok(Some(Self(found)))
    }

    /// The objects of the kernel proper whose source names one of the functions, besides `known`: both sides are
    /// the original.
    ///
    /// # Errors
    /// What speaks against compiling them.
    pub fn users(
        &self,
        setting: &Setting<'_>,
        database: &CompileDatabase,
        known: &[CompiledPair],
    ) -> Result<Vec<CompiledPair>> {
        let sources: Vec<&str> = database.sources().collect();
        let named: Vec<&str> = sources
            .into_par_iter()
            .filter(|source| {
                let text = fs::read(setting.source.join(source)).unwrap_or_default();
                self.0.keys().any(|name| has_word(&text, name.as_bytes()))
            })
            .collect();
        let known: BTreeSet<&str> = known.iter().map(|pair| pair.unit.object.as_str()).collect();
        let mut units = Vec::new();
        for source in named {
            let all = database.units_with_main(source)?.into_iter();
            units.extend(all.filter(|unit| {
                unit.owners.contains(&Owner::Vmlinux) && !known.contains(unit.object.as_str())
            }));
        }
        let compiled = compile::unpatched(setting, &units)?;
        let pair = |it: compile::Unpatched| CompiledPair {
            unit: it.unit,
            exact: it.exact,
            patched: it.original.clone(),
            original: it.original,
        };
        Ok(compiled.into_iter().map(pair).collect())
    }

    /// Gives the functions their new names in the patched object of `unit`. What the compiler cut off them
    /// (`name.cold`) goes with them.
    pub fn rename(&self, unit: &Unit, patched: &mut ObjectFile) {
        if self.0.is_empty() || unit.owner != Owner::Vmlinux {
            return;
        }
        for symbol in &mut patched.symbols {
            let whole = symbol.name.split('.').next().unwrap_or_default();
            let Some(object) = self.0.get(whole) else { continue };
            let is_part = symbol.name != whole && *object == unit.object;
            // Another file may have a static one of that name.
            let is_it = symbol.name == whole && symbol.binding != Binding::Local;
            if is_it || is_part {
                symbol.name.insert_str(0, NEW);
            }
        }
    }

    /// Refuses functions that code may still call which is not replaced.
    ///
    /// # Errors
    /// When the image's tables cannot be read.
    pub fn check(
        &self,
        changed: &[&(&CompiledPair, Difference<'_>)],
        originals: &[&ObjectFile],
        proofs: &BTreeMap<&Unit, Proof>,
        target: &Target,
    ) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        for (name, object) in &self.0 {
            let mut refuse = |why: String| {
                refusals.push(Refusal::new(
                    Code::NoFtraceEntry,
                    Place::object(object).symbol(name),
                    format!(
                        "`{name}` has no ftrace entry (notrace, noinstr or inline code), and {why}"
                    ),
                    "change the functions that call it instead",
                ));
            };
            if originals.iter().any(|original| is_for_bpf(original, name)) {
                refuse(format!("BPF programs may call `{name}`"));
            }
            let proof = proofs.iter().find(|(unit, _)| unit.object == *object);
            let Some((address, size)) = place(name, target) else { continue };
            let runs = proof.is_some_and(|(_, proof)| {
                proof.function_at(address as u32) == Some(name) && proof.runs(name)
            });
            if !runs {
                refuse(format!("`{name}` is not proven to be what runs"));
                continue;
            }
            for field in references::to(&target.image, &target.kallsyms, address)? {
                let own = (address..address + size).contains(&field.at);
                let who = describe(field.at, target);
                if !field.branch {
                    // What has read it may call the old function for as long as it likes.
                    refuse(format!("{who} may hold the address of `{name}`"));
                } else if !own && !is_replaced(field.at, changed, proofs) {
                    refuse(format!("{who} may call `{name}`, and the patch does not replace that"));
                }
            }
        }
        Ok(refusals)
    }

    /// What the user should know of those of one object.
    pub fn notices<'a>(&'a self, object: &'a str) -> impl Iterator<Item = Notice> + 'a {
        let here = self.0.iter().filter(move |(_, of)| *of == object);
        here.map(move |(name, _)| {
            Notice::new(
                Place::object(object).symbol(name),
                format!("`{name}` has no ftrace entry: its callers in all files are patched in its place"),
            )
        })
    }
}

/// The refusals `first` of functions that cannot be redirected, when patching their callers was refused by
/// `then`.
pub fn in_vain(first: Refusals, then: &Refusals) -> Refusals {
    let why = then.0.first().filter(|_| *then != first).map(|refusal| refusal.message.clone());
    let with = |refusal: Refusal| match &why {
        Some(why) => Refusal {
            message: format!(
                "{}, nor can its callers be patched in its place: {why}",
                refusal.message
            ),
            ..refusal
        },
        None => refusal,
    };
    Refusals(first.0.into_iter().map(with).collect())
}

/// Whether an address is in the code of a function that the patch replaces.
fn is_replaced(
    field: u64,
    changed: &[&(&CompiledPair, Difference<'_>)],
    proofs: &BTreeMap<&Unit, Proof>,
) -> bool {
    changed.iter().filter(|(pair, _)| pair.unit.owner == Owner::Vmlinux).any(
        |(pair, difference)| {
            let Some(name) = proofs[&pair.unit].function_at(field as u32) else { return false };
            let whole = name.split_once(".cold").map_or(name, |(whole, _)| whole);
            difference.changed_functions().contains(&whole)
                || difference.copied_functions().contains(&whole)
        },
    )
}

/// Whether an object offers a function to BPF programs, which find it by its name (include/linux/btf_ids.h).
fn is_for_bpf(object: &ObjectFile, name: &str) -> bool {
    let mark = format!("__BTF_ID__func__{name}__");
    object.symbols.iter().any(|symbol| symbol.name.starts_with(&mark))
}

/// Whether an object defines a function for others, in no section with rules of its own.
fn is_global(object: &ObjectFile, name: &str) -> bool {
    let mut symbols = object.symbols.iter().filter(|symbol| symbol.name == name);
    symbols.any(|symbol| {
        let section = symbol.section().map(|section| object[section].name.as_str());
        symbol.binding == Binding::Global
            && symbol.kind == SymbolKind::Function
            && section == Some(&*format!(".text.{name}"))
    })
}

/// Whether the kernel has one function of that name, which modules do not know.
fn is_plain(name: &str, target: &Target) -> bool {
    let address = place(name, target).map(|(address, _)| address);
    let is_text = address.is_some_and(|address| target.text.what_is(address) == Text::Normal);
    is_text && !target.exports.contains_key(name)
}

/// Address and size of the one symbol of that name.
fn place(name: &str, target: &Target) -> Option<(u64, u64)> {
    let [index] = target.kallsyms.positions(name) else { return None };
    let symbol = target.kallsyms.get(*index)?;
    Some((symbol.address, target.kallsyms.size(*index)?))
}

/// An address as the kernel's own messages have it.
fn describe(address: u64, target: &Target) -> String {
    let index = target.kallsyms.containing(address);
    match index.and_then(|index| target.kallsyms.get(index)) {
        Some(symbol) => format!("`{}`+{:#x}", symbol.name, address - symbol.address),
        None => format!("{address:#x}"),
    }
}

/// Whether `word` stands in `text` by itself.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        !before.is_some_and(part) && !text.get(at + word.len()).is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpatch_elf::Symbol;

    #[test]
    fn words_stand_alone() {
        assert!(has_word(b"x = f(1);", b"f"));
        assert!(!has_word(b"x = ff(1) + f_(2) + of(3);", b"f"));
        assert!(has_word(b"ff f", b"f"));
    }

    #[test]
    fn says_both_reasons() {
        let refusal = |message: &str| {
            Refusals::from(Refusal::new(Code::NoFtraceEntry, Place::default(), message, ""))
        };
        let (first, then) = (refusal("`f` has no entry"), refusal("`g` has none"));
        let both = in_vain(first.clone(), &then);
        assert!(both.0[0].message.starts_with("`f` has no entry, nor can its callers"));
        assert!(both.0[0].message.ends_with(": `g` has none"));
        assert_eq!(in_vain(first.clone(), &first), first);
    }

    #[test]
    fn names_change_in_the_kernel_proper_with_what_was_cut_off() {
        let rerouted = Rerouted([("f".to_owned(), "a.o".to_owned())].into());
        let names = |object: &str, owner: Owner| {
            let unit = Unit { object: object.to_owned(), source: String::new(), owner };
            let mut file = ObjectFile::default();
            for (name, binding) in [
                ("f", Binding::Global),
                ("f", Binding::Local),
                ("f.cold", Binding::Local),
                ("ff", Binding::Global),
            ] {
                file.add_symbol(Symbol::undefined(name, binding));
            }
            rerouted.rename(&unit, &mut file);
            let names = file.symbols.iter().map(|symbol| symbol.name.clone());
            names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(names("a.o", Owner::Vmlinux), ["__kpatch_f", "f", "__kpatch_f.cold", "ff"]);
        assert_eq!(names("b.o", Owner::Vmlinux), ["__kpatch_f", "f", "f.cold", "ff"]);
        let module = Owner::Module { name: "m".to_owned(), path: "m".to_owned() };
        assert_eq!(names("a.o", module), ["f", "f", "f.cold", "ff"]);
    }
}

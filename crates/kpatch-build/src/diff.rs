//! Diffs all pairs of objects, proves that what is to be replaced is what runs, and writes what goes into
//! the patch. Two passes: what one object defines anew, the others may refer to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use create_diff_object::Difference;
use create_diff_object::Examined;
use create_diff_object::authors::several_callbacks;
use create_diff_object::emit::Emitted;
use create_diff_object::explain::report::ObjectReport;
use create_diff_object::lines::layouts;
use kpatch_elf::ObjectFile;
use kpatch_elf::livepatch::CallbackKind;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use rayon::prelude::*;

use crate::compile::CompiledPair;
use crate::compile::Unit;
use crate::compile_database::Owner;
use crate::modules::Modules;
use crate::namesakes;
use crate::namesakes::OfObject;
use crate::objects;
use crate::objects::DiffObject;
use crate::outcome::NothingChanged;
use crate::reroute::Rerouted;
use crate::resolve::Knowledge;
use crate::run_pre;
use crate::run_pre::Proof;
use crate::target::Target;

/// The name by which livepatch knows what an object is linked into.
fn patched_object(owner: &Owner) -> &str {
    match owner {
        Owner::Vmlinux => VMLINUX,
        Owner::Module { name, .. } => name,
    }
}

struct Loaded<'a> {
    pair: &'a CompiledPair,
    original: ObjectFile,
    patched: ObjectFile,
}

/// Diffs `pairs`, of which the functions `rerouted` have new names, and writes an object for each that changed
/// into `directory`. The result is sorted by patched object, vmlinux first, as the module link wants it.
/// Explanations are added to `explained` if they are wanted, by object, also of what is refused.
///
/// # Errors
/// All refusals of all objects; [`NothingChanged`] when no function of the kernel is replaced
/// and no callback runs.
pub fn diff(
    pairs: &[CompiledPair],
    rerouted: &Rerouted,
    target: &Target,
    source: &Path,
    directory: &Path,
    explained: Option<&mut Vec<ObjectReport>>,
) -> Result<Vec<DiffObject>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    let load = |pair| load(pair, rerouted);
    let loaded = pairs.par_iter().map(load).collect::<Result<Vec<_>>>()?;
    let examined = all_or_refusals(loaded.par_iter().map(|loaded| {
        let Loaded { pair, original, patched } = loaded;
        let name = pair.unit.object.as_str();
        let found = create_diff_object::examine_objects(name, original, patched);
        found.map(|examined| (*pair, examined))
    }))?;
    if let Some(explained) = explained {
        explained.extend(explain(&examined));
    }
    let touched = loaded.iter().zip(&examined).filter(|(_, (_, it))| !it.difference.is_empty());
    let touched: Vec<&Loaded<'_>> = touched.map(|(loaded, _)| loaded).collect();
    let mut refusals = relaid_types(&touched);
    refusals.extend(loaded.iter().flat_map(new_exports));
    refusals.extend(loaded.iter().filter_map(new_initcall));
    let owners = touched.iter().map(|loaded| &loaded.pair.unit.owner);
    let modules = Modules::read(target, owners)?;
    let proofs = prove(&touched, target, &modules)?;
    let mut differences = Vec::new();
    for (pair, examined) in examined {
        let proof = proofs.get(&pair.unit);
        let runs = |name: &str| proof.is_some_and(|proof| proof.runs(name));
        refusals.extend(examined.refusals.into_iter().filter(|refusal| {
            // Weak functions are refused by those who cannot know which definition runs.
            let symbol = refusal.place.symbol.as_deref().unwrap_or_default();
            refusal.code != Code::WeakChanged || !runs(symbol)
        }));
        differences.push((pair, examined.difference));
    }
    Refusals::none_or(refusals, ())?;
    let mut changed: Vec<_> = differences.iter().filter(|(_, d)| !d.is_empty()).collect();
    if !changed.iter().any(|(_, difference)| acts(difference)) {
        return Err(NothingChanged.into());
    }
    leave_out_unreachable(&mut changed);
    one_callback_of_each_kind(&changed)?;
    changed.sort_by_key(|(pair, _)| {
        let object = patched_object(&pair.unit.owner);
        (object != VMLINUX, object, &pair.unit.object)
    });
    all_run(&changed, &proofs, target, &modules)?;
    let originals: Vec<&ObjectFile> = loaded.iter().map(|loaded| &loaded.original).collect();
    Refusals::none_or(rerouted.check(&changed, &originals, &proofs, target)?, ())?;

    let mut knowledge = Knowledge::new(target, &modules, source);
    for (pair, difference) in &changed {
        let object = patched_object(&pair.unit.owner);
        knowledge.add_new_globals(&pair.unit.object, object, difference.new_globals())?;
    }
    let elsewhere = NewFunctions::of(&changed);
    let mut emitted = all_or_refusals(changed.par_iter().map(|(pair, difference)| {
        let symbols = knowledge.of(&pair.unit.owner, &proofs[&pair.unit]);
        difference.emit(&symbols).map(|emitted| (*pair, difference, emitted))
    }))?;
    let of_objects = emitted.iter_mut().map(|(pair, _, emitted)| OfObject {
        name: &pair.unit.object,
        patches: patched_object(&pair.unit.owner),
        object: &mut emitted.object,
    });
    namesakes::keep_apart(&mut of_objects.collect::<Vec<_>>())?;
    let mut written = Vec::new();
    let mut names = BTreeSet::new();
    for (pair, difference, Emitted { object, notices }) in emitted {
        let path = directory.join(file_name(&pair.unit.object, &mut names));
        let bytes = kpatch_elf::write(&object)
            .with_context(|| format!("cannot write the diff of `{}`", pair.unit.object))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        written.push(DiffObject {
            name: pair.unit.object.clone(),
            patches: patched_object(&pair.unit.owner).to_owned(),
            build_id: knowledge.module_build_id(patched_object(&pair.unit.owner)),
            path,
            changed: owned(difference.changed_functions()),
            new: owned(difference.new_functions()),
            outliving: difference.outliving(&|name| elsewhere.has(pair, name)),
            callbacks: difference.callback_count(),
            states: difference.states().to_vec(),
            new_variables: owned(difference.new_variables()),
            notices: difference
                .notices()
                .into_iter()
                .chain(notices)
                .chain(rerouted.notices(&pair.unit.object))
                .collect(),
        });
    }
    Ok(written)
}

/// Refuses types that the patch lays out otherwise than the kernel does. What exists of such a type, and the
/// code that is not patched, keep the old layout.
fn relaid_types(touched: &[&Loaded<'_>]) -> Vec<Refusal> {
    let refusals = touched.par_iter().flat_map_iter(|loaded| {
        let found = layouts::relaid(&loaded.original, &loaded.patched);
        found.into_iter().map(|relaid| {
            let place = match relaid.place {
                Some((file, line)) => Place::file(file).line(line),
                None => Place::object(&loaded.pair.unit.object),
            };
            Refusal::new(
                Code::TypeLayoutChanged,
                place,
                format!("the layout of `{}` is changed: {}", relaid.name, relaid.what),
                "what the running kernel has of it keeps the old layout: put what is new into a shadow \
                 variable (klp_shadow_alloc()), or into a type of its own",
            )
        })
    });
    refusals.collect()
}

/// Refuses what is exported on the patched side only: other modules' symbols are resolved by the kernel's own
/// tables, which a livepatch does not add to.
fn new_exports(loaded: &Loaded<'_>) -> Vec<Refusal> {
    // include/linux/export.h
    const MARK: &str = "__export_symbol_";
    let exports = |object: &ObjectFile| {
        let names = object.symbols.iter().filter_map(|symbol| symbol.name.strip_prefix(MARK));
        names.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let new = &exports(&loaded.patched) - &exports(&loaded.original);
    let refusals = new.into_iter().map(|name| {
        Refusal::new(
            Code::ExportAdded,
            Place::object(&loaded.pair.unit.object).symbol(&name),
            format!("`{name}` is exported, which it is not in the kernel"),
            "files of the same patch may use it without an export: leave EXPORT_SYMBOL out",
        )
    });
    refusals.collect()
}

/// Refuses what only the patched side has the kernel call at boot, or when a module is loaded: that is over.
fn new_initcall(loaded: &Loaded<'_>) -> Option<Refusal> {
    // include/linux/init.h, include/linux/module.h
    const SECTIONS: [&str; 4] = [".initcall", ".con_initcall", ".init.setup", ".exitcall"];
    const OF_MODULES: [&str; 2] = ["init_module", "cleanup_module"];
    let calls = |object: &ObjectFile| {
        let sections = object.sections.iter();
        let sections = sections.filter(|s| SECTIONS.iter().any(|head| s.name.starts_with(head)));
        let size: u64 = sections.map(|section| section.size).sum();
        let own = object.symbols.iter().filter(|symbol| symbol.section().is_some());
        (size, own.filter(|symbol| OF_MODULES.contains(&symbol.name.as_str())).count())
    };
    let (old, new) = (calls(&loaded.original), calls(&loaded.patched));
    (new.0 > old.0 || new.1 > old.1).then(|| {
        Refusal::new(
            Code::InitChanged,
            Place::object(&loaded.pair.unit.object),
            "an initcall, `module_init()`, `module_exit()` or boot option is new: it would never run",
            "do it in a callback (`KPATCH_PRE_PATCH_CALLBACK` of kpatch-macros.h)",
        )
    })
}

/// Matches the objects that are touched with what runs.
fn prove<'a>(
    touched: &[&'a Loaded<'_>],
    target: &Target,
    modules: &Modules,
) -> Result<BTreeMap<&'a Unit, Proof>> {
    let proofs = touched.par_iter().map(|loaded| {
        let proof = run_pre::prove(
            &loaded.pair.unit,
            (&loaded.pair.exact, &loaded.original),
            target,
            modules,
        )?;
        Ok((&loaded.pair.unit, proof))
    });
    proofs.collect()
}

/// Refuses functions that are to be replaced and are not proven to be what runs.
fn all_run(
    changed: &[&(&CompiledPair, Difference<'_>)],
    proofs: &BTreeMap<&Unit, Proof>,
    target: &Target,
    modules: &Modules,
) -> Result<()> {
    let mut refusals = Vec::new();
    for (pair, difference) in changed {
        let names = difference.changed_functions();
        refusals.extend(proofs[&pair.unit].check(&names, &pair.unit.owner, target, modules)?);
    }
    Ok(Refusals::none_or(refusals, ())?)
}

/// Whether it changes anything of what it patches, as [`DiffObject::acts`].
fn acts(difference: &Difference<'_>) -> bool {
    !difference.changed_functions().is_empty() || difference.callback_count() > 0
}

/// New code of a module can only be called by code that replaces the module's. The kernel proper's new code is
/// there for all.
fn leave_out_unreachable(changed: &mut Vec<&(&CompiledPair, Difference<'_>)>) {
    let acting = changed.iter().filter(|(_, difference)| acts(difference));
    let acting: BTreeSet<Owner> = acting.map(|(pair, _)| pair.unit.owner.clone()).collect();
    changed
        .retain(|(pair, _)| pair.unit.owner == Owner::Vmlinux || acting.contains(&pair.unit.owner));
}

/// Why everything counts as changed that does, by object.
fn explain(examined: &[(&CompiledPair, Examined<'_>)]) -> Vec<ObjectReport> {
    let reports = examined.par_iter().map(|(pair, examined)| {
        let mut report = examined.difference.explain();
        report.patches = Some(patched_object(&pair.unit.owner).to_owned());
        report
    });
    let mut reports: Vec<ObjectReport> = reports.filter(|report| !report.is_empty()).collect();
    reports.sort_by(|a, b| a.object.cmp(&b.object));
    reports
}

/// The new functions that objects of the patch define for each other, by the object that they are for.
struct NewFunctions<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> NewFunctions<'a> {
    fn of(differences: &[&'a (&'a CompiledPair, Difference<'a>)]) -> Self {
        let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (pair, difference) in differences {
            let functions: BTreeSet<&str> = difference.new_functions().into_iter().collect();
            let globals = difference.new_globals().into_iter().filter(|n| functions.contains(n));
            all.entry(patched_object(&pair.unit.owner)).or_default().extend(globals);
        }
        NewFunctions(all)
    }

    /// Whether `name`, used by `pair` and not defined there, is one: of the same object, or of vmlinux.
    fn has(&self, pair: &CompiledPair, name: &str) -> bool {
        let seen = [patched_object(&pair.unit.owner), VMLINUX];
        seen.iter().any(|object| self.0.get(object).is_some_and(|names| names.contains(name)))
    }
}

/// The kernel has room for one callback of each kind for vmlinux and for each module, however many
/// files of it are patched.
fn one_callback_of_each_kind(changed: &[&(&CompiledPair, Difference<'_>)]) -> Result<(), Refusals> {
    let mut refusals = Vec::new();
    let mut first: BTreeMap<(&str, CallbackKind), Place> = BTreeMap::new();
    for (pair, difference) in changed {
        for (kind, place) in difference.callbacks() {
            let key = (patched_object(&pair.unit.owner), kind);
            if let Some(other) = first.get(&key) {
                refusals.push(several_callbacks(kind, other.clone(), &place));
            } else {
                first.insert(key, place);
            }
        }
    }
    Refusals::none_or(refusals, ())
}

/// Collects results in order, or the refusals of all that were refused.
fn all_or_refusals<T: Send>(
    results: impl IndexedParallelIterator<Item = Result<T, Refusals>>,
) -> Result<Vec<T>, Refusals> {
    let results: Vec<Result<T, Refusals>> = results.collect();
    let mut values = Vec::new();
    let mut refusals = Vec::new();
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(Refusals(more)) => refusals.extend(more),
        }
    }
    Refusals::none_or(refusals, values)
}

fn load<'a>(pair: &'a CompiledPair, rerouted: &Rerouted) -> Result<Loaded<'a>> {
    let original = objects::read(&pair.unit.object, &pair.original)?;
    let mut patched = objects::read(&pair.unit.object, &pair.patched)?;
    rerouted.rename(&pair.unit, &mut patched);
    Ok(Loaded { pair, original, patched })
}

/// A flat, unique file name for the diff of an object.
fn file_name(object: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let stem: String = object.trim_end_matches(".o").chars().map(plain).collect();
    let mut name = format!("diff-{stem}.o");
    let mut number = 1;
    while !taken.insert(name.clone()) {
        number += 1;
        name = format!("diff-{stem}-{number}.o");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_flat_and_unique() {
        let mut taken = BTreeSet::new();
        let object = "arch/x86/kvm/../../../virt/kvm/kvm_main.o";
        assert_eq!(file_name(object, &mut taken), "diff-arch-x86-kvm----------virt-kvm-kvm_main.o");
        assert_eq!(file_name("a.b.o", &mut taken), "diff-a-b.o");
        assert_eq!(file_name("a-b.o", &mut taken), "diff-a-b-2.o");
    }
}

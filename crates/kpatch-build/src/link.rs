//! Links diff objects, glue and core into a module, converts and verifies it, and puts it where the
//! user wants it, whole or not at all.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use create_diff_object::authors::several_versions;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Refusals;
use patch_module::Code;
use patch_module::KernelOptions;
use patch_module::PatchModule;
use patch_module::Template;
use shipped_kernel::Module;
use tool_run::ToolLog;

use crate::gate;
use crate::gate::Identity;
use crate::objects::DiffObject;
use crate::prepare::Prepared;
use crate::target::Target;

/// What the module is to be.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it replaces all earlier patches.
    pub replace: bool,
    /// How it is built around the in-kernel core.
    pub template: Template,
    /// The kernel that it may be enabled on; any without it.
    pub only_on: Option<&'a Identity>,
}

/// Builds the intermediate module.
///
/// # Errors
/// Refusals of the module's gates; tool failures.
pub fn link(
    objects: &[DiffObject],
    wish: Wish<'_>,
    target: &Target,
    prepared: &Prepared,
    (work, cache): (&Path, &Path),
    jobs: usize,
    log: &ToolLog,
) -> Result<PathBuf> {
    let options = options(target)?;
    let files: Vec<PathBuf> = objects.iter().map(|object| object.path.clone()).collect();
    // The kernel proper may have nothing but new code in the patch, which modules call.
    let acting = objects.iter().filter(|object| object.acts());
    let patched: BTreeSet<&str> = acting.map(|object| object.patches.as_str()).collect();
    let gate =
        wish.only_on.map(|identity| gate::gate(identity, gate::modules(objects))).transpose()?;
    let states = states(objects)?;
    let module = PatchModule {
        name: wish.name,
        code: Code::Diff(&files),
        functions: objects.iter().map(|object| object.changed.len()).sum(),
        callbacks: objects.iter().map(|object| object.callbacks).sum(),
        klp_objects: patched.len(),
        states: &states,
        gate: gate.as_ref(),
        replace: wish.replace,
        pin: objects.iter().any(|object| !object.outliving.is_empty()),
        template: wish.template,
    };
    let kernel = kernel(target, prepared, &options);
    let _lock = prepared.lock()?;
    patch_module::build(&kernel, &module, work, cache, jobs, log)
}

/// The states of all objects together, by id with their versions.
fn states(objects: &[DiffObject]) -> Result<BTreeMap<u64, u32>, Refusals> {
    let mut states = BTreeMap::new();
    let mut refusals = Vec::new();
    for object in objects {
        for state in &object.states {
            let version = *states.entry(state.id).or_insert(state.version);
            if version != state.version {
                refusals.push(several_versions(state.id, &object.name));
            }
        }
    }
    Refusals::none_or(refusals, states)
}

/// What of the kernel's configuration matters to modules.
///
/// # Errors
/// As [`KernelOptions::from_config`].
pub fn options(target: &Target) -> Result<KernelOptions> {
    KernelOptions::from_config(|name| target.config.raw(name).map(str::to_owned))
}

/// The kernel as `patch-module` wants it.
pub fn kernel<'a>(
    target: &'a Target,
    prepared: &'a Prepared,
    options: &'a KernelOptions,
) -> patch_module::Target<'a> {
    patch_module::Target {
        source: &prepared.source,
        object_dir: &prepared.objects,
        release: &target.parts.release,
        compiler: &prepared.compiler.command,
        options,
    }
}

/// Converts the intermediate module into `<directory>/<name>.ko` and verifies it against the target and the
/// `modules` that it refers to.
///
/// # Errors
/// Refusals of conversion and verification; I/O errors.
pub fn convert(
    intermediate: &Path,
    modules: &BTreeMap<String, Module>,
    target: &Target,
    directory: &Path,
    name: &str,
) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    let output = directory.join(format!("{name}.ko"));
    let known = klp_convert::Target {
        kernel: Some((&target.image, &target.kallsyms)),
        modules: Some(modules),
        exports: Some(&target.exports),
    };
    klp_convert::convert_file(intermediate, &output, &known)?;
    Ok(output)
}

/// The patched modules and those that they need, to whose symbols they may refer.
///
/// # Errors
/// Refusals for modules that are not there or cannot be read.
pub fn modules(objects: &[DiffObject], target: &Target) -> Result<BTreeMap<String, Module>> {
    let mut all = BTreeMap::new();
    let mut read = |name: &str| -> Result<Vec<String>> {
        if let Some(module) = all.get(name) {
            let module: &Module = module;
            return Ok(module.depends.clone());
        }
        let module = Module::read(&target.parts.modules.find(name)?)?;
        let depends = module.depends.clone();
        all.insert(name.to_owned(), module);
        Ok(depends)
    };
    for object in objects.iter().filter(|object| object.patches != VMLINUX) {
        for needed in read(&object.patches)? {
            read(&needed)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use create_diff_object::authors::DeclaredState;
    use kpatch_refusal::Code;

    #[test]
    fn a_state_has_one_version_in_all_objects() {
        let object = |name: &str, states: &[(u64, u32)]| DiffObject {
            name: name.to_owned(),
            patches: VMLINUX.to_owned(),
            build_id: None,
            path: PathBuf::new(),
            changed: Vec::new(),
            new: Vec::new(),
            outliving: Vec::new(),
            callbacks: 0,
            states: states
                .iter()
                .map(|(id, version)| DeclaredState { id: *id, version: *version })
                .collect(),
            new_variables: Vec::new(),
            notices: Vec::new(),
        };
        let all = [object("a.o", &[(7, 1), (9, 4)]), object("b.o", &[(7, 1)])];
        assert_eq!(states(&all).unwrap(), BTreeMap::from([(7, 1), (9, 4)]));
        let refused = states(&[all[0].clone(), object("c.o", &[(9, 3)])]).unwrap_err();
        assert_eq!(refused.0.len(), 1);
        assert_eq!(refused.0[0].code, Code::AuthorMacro);
        assert!(refused.0[0].message.contains("state 9"), "{refused}");
    }
}

//! The kernel's modules that a run works with, each read once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::Context;
use anyhow::Result;
use kpatch_refusal::Refusals;
use run_pre::LoadableModule;
use shipped_kernel::Module;
use shipped_kernel::ModuleFiles;

use crate::agree;
use crate::compile_database::Owner;
use crate::target::Target;

/// A module that is patched.
#[derive(Debug)]
pub struct PatchedModule {
    /// What it says of itself.
    pub shipped: Module,
    /// Its code.
    pub loadable: LoadableModule,
}

/// All of them, by name.
#[derive(Debug)]
pub struct Modules {
    files: ModuleFiles,
    patched: BTreeMap<String, PatchedModule>,
    /// Modules of which the patched ones need symbols.
    needed: Mutex<BTreeMap<String, Arc<Module>>>,
}

impl Modules {
    /// Reads the modules among `owners`.
    ///
    /// # Errors
    /// A refusal when a module is not there, cannot be read, or is of another kernel.
    pub fn read<'a>(target: &Target, owners: impl Iterator<Item = &'a Owner>) -> Result<Self> {
        let files = target.parts.modules.clone();
        let mut patched = BTreeMap::new();
        for owner in owners {
            let Owner::Module { name, .. } = owner else { continue };
            if patched.contains_key(name) {
                continue;
            }
            let shipped = Module::read(&files.find(name)?)?;
            agree::module(&shipped, target.vermagic.as_deref(), &target.exports)?;
            let object = kpatch_elf::read(&shipped.elf)
                .with_context(|| format!("cannot read module `{name}`"))?;
            let loadable = LoadableModule::new(object);
            patched.insert(name.clone(), PatchedModule { shipped, loadable });
        }
        Ok(Self { files, patched, needed: Mutex::default() })
    }

    /// A module that is patched.
    pub fn get(&self, name: &str) -> Option<&PatchedModule> {
        self.patched.get(name)
    }

    /// All that are patched.
    pub fn iter(&self) -> impl Iterator<Item = &PatchedModule> {
        self.patched.values()
    }

    /// Any module: one that is not patched is read now.
    ///
    /// # Errors
    /// As [`Modules::read`].
    pub fn needed(&self, name: &str) -> Result<Arc<Module>, Refusals> {
        let mut needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = needed.get(name) {
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(Module::read(&self.files.find(name)?)?);
        needed.insert(name.to_owned(), Arc::clone(&module));
        Ok(module)
    }
}

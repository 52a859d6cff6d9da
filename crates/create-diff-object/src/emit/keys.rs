//! Static branches and static calls whose key a module owns. The kernel sets both up when the patch loads,
//! and applies references to a module only afterwards, when that module is there: such a key would be
//! read before it is known. (Kernels refuse such a patch, `jump_label_add_module()`, or write through
//! the unrelocated key.)
//!
//! Tracepoints and `pr_debug()` can do without: they stay off in the patched function. Everything else
//! decides what the code does, and is refused.

use kpatch_elf::Definition;
use kpatch_elf::Relocation;
use kpatch_elf::Section;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_elf::section_flags::ALLOC;
use kpatch_elf::section_flags::WRITE;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::Emitter;
use super::targets::Named;

use crate::kernel::symbols::Resolution;
use crate::kernel::symbols::Wanted;
use crate::normalize::atoms::AtomId;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::DYNAMIC_DEBUG;
use crate::normalize::sections::STATIC_CALL_SITES;
use crate::normalize::tables::Entry;
use crate::notices::Notice;

/// The static key of what is switched off for good.
const OFF_KEY: &str = "__kpatch_key_off";
/// At least `sizeof(struct static_key)`: 16 bytes, 24 before 4.11.
const OFF_KEY_SIZE: u64 = 32;
/// In a key field: whether the branch is taken when the key is on or when it is off
/// (`include/linux/jump_label.h`).
const TAKEN_WHEN_OFF: i64 = 1;
/// All that a key field says besides the address.
const KEY_FLAGS: i64 = 3;

/// What becomes of an entry with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// It goes into the patch as it is.
    Kept,
    /// It stays behind.
    LeftOut,
    /// It goes into the patch with a key of the patch that nobody ever turns on.
    Off,
}

/// A key that the kernel finds only when its module is there.
struct ModuleKey {
    name: String,
    module: String,
}

impl Emitter<'_> {
    /// What becomes of an entry; refuses and notes as it has to.
    pub(super) fn site(&mut self, owner: AtomId, entry: &Entry) -> Site {
        let side = &self.difference.patched;
        let fields = side.references_in(entry.section, entry.start..entry.end);
        let Some(field) = fields.last().filter(|_| entry.table.has_key) else { return Site::Kept };
        let Some(key) = self.module_key(field) else { return Site::Kept };
        if side.object[entry.section].name == STATIC_CALL_SITES {
            return self.static_call(owner, &key);
        }
        let what = match key.name.strip_prefix("__tracepoint_") {
            Some(tracepoint) => format!("tracepoint `{tracepoint}`"),
            None if self.is_dynamic_debug(field) => "pr_debug()".to_owned(),
            None => return self.static_branch(owner, &key),
        };
        let is_jump = self.is_jump(owner, entry);
        if field.delta & TAKEN_WHEN_OFF != 0 {
            return self.static_branch(owner, &key);
        }
        self.stays_off(owner, &what, &key);
        // What is a NOP already stays one. Before objtool it is the jump to what is to stay off.
        if is_jump { Site::Off } else { Site::LeftOut }
    }

    /// The relocation of a key field for [`Site::Off`].
    pub(super) fn off_key(&mut self, field: &Reference, offset: u64) -> Relocation {
        let symbol = self.off_key_symbol();
        Relocation { offset, kind: field.kind, symbol, addend: field.delta & KEY_FLAGS }
    }

    fn off_key_symbol(&mut self) -> SymbolId {
        if let Some(symbol) = self.off_key {
            return symbol;
        }
        let section = self.output.add_section(Section {
            kind: SectionKind::Nobits,
            size: OFF_KEY_SIZE,
            ..Section::progbits(format!(".bss.{OFF_KEY}"), ALLOC | WRITE, 8)
        });
        self.output.add_symbol(Symbol {
            size: OFF_KEY_SIZE,
            kind: SymbolKind::Object,
            definition: Definition::Section(section),
            ..Symbol::undefined(OFF_KEY, kpatch_elf::Binding::Local)
        });
        let symbol = self.section_symbol(section);
        self.off_key = Some(symbol);
        symbol
    }

    /// Whether a field leads to what is known when its module is.
    fn module_key(&self, field: &Reference) -> Option<ModuleKey> {
        let (name, defined_here, local) = match field.target {
            Target::Extern(symbol) => {
                (self.difference.patched.object[symbol].name.clone(), false, false)
            }
            Target::Atom(atom) if !self.places.contains_key(&atom) => {
                let Named { name, local, .. } = self.kernel_name(atom, field.symbol);
                (name, true, local)
            }
            _ => return None,
        };
        match self.symbols.resolve(Wanted { name: &name, defined_here, local }) {
            Ok(Resolution::Livepatch { placeholder, .. })
                if placeholder.applied_with != VMLINUX =>
            {
                let module = placeholder.symbol.object;
                Some(ModuleKey { name: placeholder.symbol.name, module })
            }
            // What cannot be resolved is refused where it is used.
            _ => None,
        }
    }

    fn is_dynamic_debug(&self, field: &Reference) -> bool {
        let Target::Atom(atom) = field.target else { return false };
        DYNAMIC_DEBUG.contains(&self.difference.patched.section(atom).name.as_str())
    }

    fn is_jump(&self, owner: AtomId, entry: &Entry) -> bool {
        const JUMPS: [u8; 2] = [0xe9, 0xeb];
        let side = &self.difference.patched;
        let atom = &side.atoms[owner];
        let at = (atom.origin - atom.start).checked_add_signed(entry.at);
        let byte = at.and_then(|at| side.bytes(owner).get(usize::try_from(at).ok()?));
        byte.is_some_and(|byte| JUMPS.contains(byte))
    }

    fn static_branch(&mut self, owner: AtomId, key: &ModuleKey) -> Site {
        let ModuleKey { name, module } = key;
        let message = format!(
            "a static branch on `{name}`: the key is in module `{module}`, and the kernel sets static branches up before it knows where"
        );
        let hint = format!(
            "write `static_key_enabled(&{name})` in place of static_branch_likely() or static_branch_unlikely()"
        );
        self.refuse_key(owner, message, hint)
    }

    fn static_call(&mut self, owner: AtomId, key: &ModuleKey) -> Site {
        let ModuleKey { name, module } = key;
        let name = ["__SCK__", "__SCT__"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        if let Some(tracepoint) = name.strip_prefix("tp_func_") {
            self.stays_off(owner, &format!("tracepoint `{tracepoint}`"), key);
            return Site::LeftOut;
        }
        let message = format!(
            "a static call of `{name}`: the key is in module `{module}`, and the kernel sets static calls up before it knows where"
        );
        let hint = format!(
            "write `KPATCH_STATIC_CALL({name})(…)` (kpatch-macros.h) or `KLP_STATIC_CALL({name})(…)` in place of static_call()"
        );
        self.refuse_key(owner, message, hint)
    }

    fn refuse_key(&mut self, owner: AtomId, message: String, hint: String) -> Site {
        let place = Place::object(self.difference.name).symbol(self.difference.patched.name(owner));
        self.refusals.push(Refusal::new(Code::ModuleOwnedKey, place, message, hint));
        Site::LeftOut
    }

    fn stays_off(&mut self, owner: AtomId, what: &str, key: &ModuleKey) {
        let function = self.difference.patched.name(owner);
        let module = &key.module;
        self.notices.push(Notice::new(
            Place::object(self.difference.name).symbol(function),
            format!("{what} of module `{module}` stays off in the patched `{function}`"),
        ));
    }
}

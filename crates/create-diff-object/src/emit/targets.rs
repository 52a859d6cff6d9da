//! Where a reference of an included piece goes: to a piece in the patch, or to the running kernel.

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;
use kpatch_elf::SectionId;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::livepatch;
use kpatch_elf::livepatch::Placeholder;

use super::Emitter;
use super::Outside;
use super::PlaceOf;

use crate::Difference;
use crate::kernel::symbols::Resolution;
use crate::kernel::symbols::Wanted;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::FENTRY;

/// What the kernel calls a piece.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) local: bool,
    /// What the name stands for, as an offset into the piece: an inner label has a symbol of its own.
    pub(super) at: i64,
}

impl Emitter<'_> {
    /// The output relocation for a reference, and the module whose loading applies it, if that is
    /// not the patch's own. `None` where resolving was refused.
    pub(super) fn relocation(
        &mut self,
        owner: AtomId,
        reference: &Reference,
        offset: u64,
        in_table: bool,
    ) -> Option<(Relocation, Option<String>)> {
        let side = &self.difference.patched;
        let kind = reference.kind;
        if kind == RelocationKind::NONE && !self.is_fentry(reference) {
            return None;
        }
        let with = |symbol: SymbolId, delta: i64| Relocation {
            offset,
            kind,
            symbol,
            addend: delta.wrapping_add(reference.bias),
        };
        match reference.target {
            // A fixed address stays one.
            Target::Nothing if reference.symbol == SymbolId::NULL => {
                Some((with(SymbolId::NULL, reference.delta), None))
            }
            // A replacement of no bytes may be anywhere, but its relocation must be there: the entry has
            // its layout from it.
            Target::Nothing => {
                let place = self.places.get(&owner).copied()?;
                Some((self.inside(owner, place, &with, 0, true), None))
            }
            Target::Section(_) => None,
            Target::Extern(symbol) => {
                let name = &side.object[symbol].name;
                let outside = self.outside(owner, name, false, false)?;
                Some((with(outside.symbol, reference.delta), outside.late))
            }
            Target::Atom(atom) => match self.places.get(&atom).copied() {
                Some(place) if in_table || !self.means_the_old_function(atom, reference) => {
                    Some((self.inside(atom, place, &with, reference.delta, in_table), None))
                }
                _ => {
                    let Named { name, local, at } = self.kernel_name(atom, reference.symbol);
                    let outside = self.outside(owner, &name, true, local)?;
                    let delta = reference.delta.wrapping_sub(at);
                    Some((with(outside.symbol, delta), outside.late))
                }
            },
        }
    }

    /// Where the call of `__fentry__` was is still to be known.
    fn is_fentry(&self, reference: &Reference) -> bool {
        let object = self.difference.patched.object;
        matches!(reference.target, Target::Extern(symbol) if object[symbol].name == FENTRY)
    }

    /// A pointer to a function of the kernel may outlive the patch module, so it must be the old
    /// function's address: calls through it reach the new code by ftrace, as all others do.
    pub(super) fn means_the_old_function(&self, atom: AtomId, reference: &Reference) -> bool {
        let is_function = self.difference.patched.atoms[atom].kind == AtomKind::Function;
        let has_entry = self.difference.selection.changed.contains_key(&atom);
        is_function && has_entry && reference.delta == 0 && !reference.branch
    }

    pub(super) fn inside(
        &mut self,
        atom: AtomId,
        place: PlaceOf,
        with: &dyn Fn(SymbolId, i64) -> Relocation,
        delta: i64,
        in_table: bool,
    ) -> Relocation {
        let atom = &self.difference.patched.atoms[atom];
        match place.symbol {
            // As assemblers write, local symbols go by section: objtool takes nothing else in its
            // annotations, and a jump to a function's symbol (a cold part, say) for a sibling call.
            Some(symbol)
                if !in_table && delta == 0 && self.output[symbol].binding != Binding::Local =>
            {
                with(symbol, delta)
            }
            _ => {
                let origin = (place.start + (atom.origin - atom.start)) as i64;
                let symbol = self.section_symbol(place.section);
                with(symbol, delta.wrapping_add(origin))
            }
        }
    }

    pub(super) fn section_symbol(&mut self, section: SectionId) -> SymbolId {
        let output = &mut self.output;
        *self.section_symbols.entry(section).or_insert_with(|| {
            output.add_symbol(Symbol {
                kind: SymbolKind::Section,
                definition: Definition::Section(section),
                ..Symbol::undefined("", Binding::Local)
            })
        })
    }

    /// The name by which the kernel knows a piece: as the *original* object says, for compilers number
    /// as they like. The symbol that the relocation names is preferred.
    pub(super) fn kernel_name(&self, atom: AtomId, symbol: SymbolId) -> Named {
        let Difference { original, patched, correlation, .. } = self.difference;
        let named = &patched.object[symbol].name;
        let old = correlation.original_of(atom).and_then(|o| {
            let mut names = original.atoms[o].symbols.iter().map(|s| &original.object[*s]);
            let symbol = names.find(|s| s.name == *named).or_else(|| original.symbol(o))?;
            Some((symbol, original.atoms[o].origin))
        });
        let new = || Some((patched.symbol(atom)?, patched.atoms[atom].origin));
        match old.or_else(new) {
            Some((symbol, origin)) => Named {
                name: symbol.name.clone(),
                local: symbol.binding == Binding::Local,
                at: symbol.value.wrapping_sub(origin) as i64,
            },
            None => Named { name: String::new(), local: true, at: 0 },
        }
    }

    pub(super) fn outside(
        &mut self,
        owner: AtomId,
        name: &str,
        here: bool,
        local: bool,
    ) -> Option<Outside> {
        let key = (name.to_owned(), here, local);
        if let Some(known) = self.outside.get(&key) {
            return known.clone();
        }
        let wanted = Wanted { name, defined_here: here, local };
        let outside = match self.symbols.resolve(wanted) {
            Ok(Resolution::Ordinary) => {
                let symbol = self.output.add_symbol(Symbol::undefined(name, Binding::Global));
                Some(Outside { symbol, late: None })
            }
            Ok(Resolution::Livepatch { placeholder, plain_name }) => {
                let late = Some(placeholder.applied_with.clone());
                let late = late.filter(|object| object != livepatch::VMLINUX);
                let symbol = self.placeholder(placeholder, plain_name);
                Some(Outside { symbol, late })
            }
            Err(refusal) => {
                let function = self.difference.patched.name(owner);
                self.refusals.push(crate::at(self.difference.name, function, refusal));
                None
            }
        };
        self.outside.insert(key, outside.clone());
        outside
    }

    pub(super) fn placeholder(&mut self, placeholder: Placeholder, plain_name: bool) -> SymbolId {
        let output = &mut self.output;
        *self.placeholders.entry(placeholder).or_insert_with_key(|placeholder| {
            let name = match plain_name {
                true => placeholder.symbol.name.clone(),
                false => placeholder.unique_name(),
            };
            output.add_symbol(Symbol::undefined(name, Binding::Weak))
        })
    }
}

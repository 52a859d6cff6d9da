//! Finds what may still run when the patch is disabled and every task is said to have left it. Such a
//! module must not be unloaded.
//!
//! Before a task counts as off the patch, the kernel looks at its stack. It looks for addresses between
//! the start of each *listed* new function (those that replace one of the kernel) and the next symbol
//! of the module behind it (`klp_check_stack_func()`, `find_kallsyms_symbol()`), and for nothing else
//! of the module. What it finds are return addresses and, as the ORC unwinder takes a task that was
//! preempted or faulted for reliable, too, the places where tasks were interrupted. So code of the
//! patch is safe as long as something within a listed function is on the stack below it:
//!
//! - A new function that a listed one *calls* is: it returns into the listed function. So is all that
//!   it calls or jumps to itself.
//! - A new function that a listed one *jumps* to is not: nothing of the listed one is left.
//!   Alternatives' replacements run in the place of the listed function's own code, and count as that.
//! - A call that ends a listed function never returns; its return address is behind the function. A new
//!   function that is called so has nothing of the listed one below it.
//! - The cold part of a listed function is a symbol of its own, and has nothing of the listed one below
//!   it either: calls from it, and interrupts, faults and warnings in it, are not seen. Only a cold part
//!   that nothing leaves again is harmless: tasks die there. The same holds for nameless code
//!   elsewhere. The cold part of a function that is not listed is as safe as that function.
//! - A symbol within a listed function ends what the kernel looks at.
//! - A new function whose *address* is anywhere in the patch may have been handed to the kernel: a
//!   timer, a work item, a table of operations. Every reference to its start counts that is not a near
//!   branch, in code and in data; not places within a function (labels, switch tables), which only that
//!   function jumps to, and not tables that describe code. A listed function's address is that of the
//!   function which it replaces, and outlives the patch.
//!
//! Functions that another object of the patch defines count as new ones of this object do.
//!
//! Bias: what cannot be proven safe pins the module. That costs memory, the contrary a kernel. *Data*
//! without code is left to the author, as with any module: nearly every function hands out addresses of
//! strings, flags or locks, and few callees keep one. Who adds a new lock, list or the like to what
//! the kernel keeps takes it out again in a callback.

mod flow;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::fmt;

use kpatch_elf::SymbolKind;
use kpatch_refusal::Place;
use rustc_hash::FxHashMap;

use crate::Difference;
use crate::lines::Lines;
use crate::lines::Rows;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::names;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::sections::ALTINSTRUCTIONS;
use crate::normalize::sections::Policy;
use crate::normalize::side::Side;
use crate::select;

/// Code for the time before alternatives are applied, which for a module is before it runs: all jumps to
/// it are replaced then (`static_cpu_has()`; `arch/x86/kernel/vmlinux.lds.S` says so of the section).
const PATCHED_OUT: &str = ".altinstr_aux";

/// Code that may run when the patch is disabled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outliving {
    /// What leads there: object, function or data, source line where known.
    pub place: Place,
    /// How.
    pub why: Why,
    /// The code: a new function, a cold part or, of [`Why::OutOfLine`] and [`Why::InnerSymbol`], the
    /// function that it belongs to.
    pub function: String,
}

/// How code comes to run without a frame that the kernel looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// A changed function jumps to a new one.
    Jump,
    /// A changed function ends in a call of a new one.
    LastCall,
    /// The cold part of a changed function, which can be left again.
    ColdPart,
    /// Nameless code outside of a changed function, which can be left again.
    OutOfLine,
    /// A changed function goes on behind another symbol.
    InnerSymbol,
    /// The address of a new function is in code or data.
    Address,
}

/// `fs/x.o: f jumps to new function g (fs/x.c:12)`.
impl fmt::Display for Outliving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outliving { place, why, function } = self;
        if let Some(object) = &place.object {
            write!(f, "{object}: ")?;
        }
        let from = place.symbol.as_deref().unwrap_or("nameless data");
        match why {
            Why::Jump => write!(f, "{from} jumps to new function {function}"),
            Why::LastCall => write!(f, "{from} ends in a call of new function {function}"),
            Why::ColdPart => write!(f, "{from} jumps to its cold part {function}"),
            Why::OutOfLine => write!(f, "{from} jumps to code out of line"),
            Why::InnerSymbol => write!(f, "{from} goes on behind another symbol"),
            Why::Address => write!(f, "{from} holds the address of new function {function}"),
        }?;
        match (&place.file, place.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

impl Difference<'_> {
    /// What may still run when the patch is disabled, by place. If there is anything, the module must
    /// stay loaded. `is_new_elsewhere` says whether another object of the patch defines a new function
    /// of that name.
    pub fn outliving(&self, is_new_elsewhere: &dyn Fn(&str) -> bool) -> Vec<Outliving> {
        let side = &self.patched;
        let is_part = |id: &AtomId| names::parent_of_cold(side.name(*id)).is_some();
        let any_parts = self.selection.included.iter().any(is_part);
        let mut search = Search {
            difference: self,
            side,
            is_new_elsewhere,
            cold_parts: if any_parts { select::cold_parts(side) } else { FxHashMap::default() },
            rows: OnceCell::new(),
            lines: OnceCell::new(),
            seen: HashSet::new(),
            found: Vec::new(),
        };
        for id in &self.selection.included {
            if self.selection.changed.contains_key(id) {
                search.changed_function(*id);
            } else if search.is_cold(*id) {
                search.cold_part(*id);
            }
            search.addresses(*id);
        }
        search.found.sort();
        search.found
    }
}

struct Search<'a> {
    difference: &'a Difference<'a>,
    side: &'a Side<'a>,
    is_new_elsewhere: &'a dyn Fn(&str) -> bool,
    /// Cold parts and their functions.
    cold_parts: FxHashMap<AtomId, AtomId>,
    rows: OnceCell<Rows>,
    lines: OnceCell<Lines>,
    seen: HashSet<(AtomId, Why, String)>,
    found: Vec<Outliving>,
}

impl Search<'_> {
    fn changed_function(&mut self, id: AtomId) {
        let atom = &self.side.atoms[id];
        let inside = atom.origin + 1..atom.end;
        let mut values = atom.symbols.iter().map(|symbol| self.side.object[*symbol].value);
        if let Some(value) = values.find(|value| inside.contains(value)) {
            self.found(Why::InnerSymbol, id, Some(value), self.side.name(id));
        }
        self.transfers(id, id);
        for entry in self.side.entries.of(id) {
            if entry.table.policy != Policy::Keep {
                continue;
            }
            for reference in self.side.references_in(entry.section, entry.start..entry.end) {
                let Target::Atom(to) = reference.target else { continue };
                if entry.table.name == ALTINSTRUCTIONS {
                    if self.is_fragment(to) {
                        self.transfers(id, to);
                    }
                } else if self.is_code(to) {
                    // A way out of a fault or a static branch.
                    self.jump(id, Some(reference.target), None);
                }
            }
        }
    }

    /// The branches out of `code`, which runs as part of the changed function `function`.
    fn transfers(&mut self, function: AtomId, code: AtomId) {
        for transfer in flow::transfers(self.side, code) {
            let at = (code == function).then_some(transfer.at);
            if !transfer.call {
                self.jump(function, transfer.to, at);
            } else if transfer.last && code == function {
                if let Some(name) = self.new_function(transfer.to) {
                    self.found(Why::LastCall, function, at, &name);
                }
            }
        }
    }

    fn jump(&mut self, function: AtomId, to: Option<Target>, at: Option<u64>) {
        match to {
            Some(Target::Atom(to)) if self.is_fragment(to) => {
                if self.side.section(to).name != PATCHED_OUT && self.can_be_left(to) {
                    let name = self.side.name(function);
                    self.found(Why::OutOfLine, function, at, name);
                }
            }
            // Whoever jumps there: the rule for cold parts says what is to be said.
            Some(Target::Atom(to)) if self.is_cold(to) && !self.is_cold_of_unlisted(to) => {}
            _ => {
                if let Some(name) = self.new_function(to) {
                    self.found(Why::Jump, function, at, &name);
                }
            }
        }
    }

    fn cold_part(&mut self, id: AtomId) {
        if self.is_cold_of_unlisted(id) || !self.can_be_left(id) {
            return;
        }
        let name = self.side.name(id);
        let function = names::parent_of_cold(name).unwrap_or(name);
        let at = self.side.atoms[id].origin;
        let mut place = self.place(id, Some(at));
        place.symbol = Some(function.to_owned());
        self.push(id, Outliving { place, why: Why::ColdPart, function: name.to_owned() });
    }

    fn addresses(&mut self, holder: AtomId) {
        // Records for the tools and the core, which know when the module goes.
        let section = &self.side.section(holder).name;
        if section.starts_with(".kpatch.") || section.starts_with(".klp.") {
            return;
        }
        for reference in self.side.references(holder) {
            if reference.branch || !self.is_start(reference) {
                continue;
            }
            let function = match reference.target {
                // A switch table leads there, or a jump whose target is computed.
                Target::Atom(to) if self.is_cold(to) => None,
                to => self.new_function(Some(to)),
            };
            if let Some(name) = function {
                self.found(Why::Address, holder, Some(reference.offset), &name);
            }
        }
    }

    /// Whether a reference is to the start of what it is to, or to a name within.
    fn is_start(&self, reference: &Reference) -> bool {
        let named = self.side.object[reference.symbol].kind == SymbolKind::Function;
        reference.delta == 0 || named
    }

    fn can_be_left(&self, id: AtomId) -> bool {
        flow::can_be_left(self.side, id, &|to| self.new_function(to).is_some())
    }

    /// The name of code of the patch which is not listed, if `to` is that.
    fn new_function(&self, to: Option<Target>) -> Option<String> {
        match to? {
            Target::Atom(id) => {
                let listed = self.difference.selection.changed.contains_key(&id);
                let name = self.side.name(id);
                let shown = if name.is_empty() { "without a name" } else { name };
                (self.is_code(id) && !listed).then(|| shown.to_owned())
            }
            Target::Extern(symbol) => {
                let name = &self.side.object[symbol].name;
                (self.is_new_elsewhere)(name).then(|| name.clone())
            }
            Target::Section(_) | Target::Nothing => None,
        }
    }

    /// Whether a piece is code that goes into the patch.
    fn is_code(&self, id: AtomId) -> bool {
        let kind = self.side.atoms[id].kind;
        matches!(kind, AtomKind::Function | AtomKind::Fragment) && self.included().contains(&id)
    }

    fn is_fragment(&self, id: AtomId) -> bool {
        self.side.atoms[id].kind == AtomKind::Fragment && self.included().contains(&id)
    }

    /// Whether a piece is a split-off part of a function of the patch.
    fn is_cold(&self, id: AtomId) -> bool {
        self.cold_parts.contains_key(&id)
            && self.included().contains(&id)
            && !self.difference.selection.changed.contains_key(&id)
    }

    /// Whether a cold part belongs to a function that is not listed: a new one, or a copy.
    fn is_cold_of_unlisted(&self, id: AtomId) -> bool {
        self.cold_parts.get(&id).is_some_and(|function| {
            let is_listed = self.difference.selection.changed.contains_key(function);
            self.included().contains(function) && !is_listed
        })
    }

    fn included(&self) -> &BTreeSet<AtomId> {
        &self.difference.selection.included
    }

    /// Notes something once for each function that can run, however often `from` leads there.
    fn found(&mut self, why: Why, from: AtomId, at: Option<u64>, function: &str) {
        let place = self.place(from, at);
        self.push(from, Outliving { place, why, function: function.to_owned() });
    }

    fn push(&mut self, from: AtomId, outliving: Outliving) {
        if self.seen.insert((from, outliving.why, outliving.function.clone())) {
            self.found.push(outliving);
        }
    }

    /// Where something is: the line of the instruction at `at`, else that of the declaration.
    fn place(&self, id: AtomId, at: Option<u64>) -> Place {
        let (object, atom) = (self.side.object, &self.side.atoms[id]);
        let mut place = Place::object(self.difference.name);
        let name = self.side.name(id);
        if !name.is_empty() {
            place = place.symbol(name);
        }
        let row = at.filter(|_| atom.kind == AtomKind::Function).and_then(|at| {
            let row = self.rows.get_or_init(|| Rows::read(object)).at(atom.section, at)?;
            Some((row.file.to_owned(), row.line))
        });
        let declaration = || {
            let lines = self.lines.get_or_init(|| Lines::read(object));
            lines.of_symbol(object, *atom.symbols.first()?)
        };
        if let Some((file, line)) = row.or_else(declaration) {
            place.file = Some(file);
            place.line = Some(line);
        }
        place
    }
}

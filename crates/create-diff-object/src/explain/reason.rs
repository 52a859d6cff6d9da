//! Finds the place of a difference on both sides and says what kind of reason it is.

use std::collections::BTreeSet;

use iced_x86::Instruction;
use iced_x86::OpKind;

use super::Explained;
use super::code;
use super::code::Code;
use super::code::Names;
use super::code::Printer;
use super::report::Change;
use super::report::Class;
use super::report::Excerpt;

use crate::compare::Reason;
use crate::compare::What;
use crate::correlate::Correlation;
use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::side::Side;

/// Both sides.
pub(super) struct Pair<'a> {
    pub(super) original: &'a Explained<'a>,
    pub(super) patched: &'a Explained<'a>,
}

/// A reason in words.
type Said = (Class, String);

impl Pair<'_> {
    /// Why the piece `patched` is not the piece `original`.
    pub(super) fn change(
        &self,
        correlation: &Correlation,
        (original, patched): (AtomId, AtomId),
        reason: &Reason,
    ) -> Change {
        // A difference in a cold part, or in a function that is copied for its callers, is shown there, if
        // both sides have that.
        let (mut what, mut place, mut callee) = (&reason.what, (original, patched), None);
        while let What::ColdPart { part, what: there }
        | What::Callee { function: part, what: there } = what
        {
            if let Some(old) = correlation.original_of(*part) {
                place = (old, *part);
            }
            if matches!(what, What::Callee { .. }) {
                callee = Some(self.patched.side.name(*part));
            }
            what = there;
        }
        let is_code = self.patched.side.atoms[place.1].kind == AtomKind::Function;
        let ((class, summary), excerpts) = match is_code {
            true => self.code(place, what, reason),
            false => self.data(place, what, reason),
        };
        let inlined = is_code.then(|| self.inlined(original, patched)).flatten();
        let (class, mut summary) = inlined.unwrap_or((class, summary));
        if let Some(callee) = callee {
            summary = format!("in `{callee}`, which it calls and nothing can redirect: {summary}");
        }
        Change {
            name: self.patched.side.name(patched).to_owned(),
            original_name: self.original.side.name(original).to_owned(),
            class,
            summary,
            original: excerpts.0,
            patched: excerpts.1,
        }
    }

    fn code(
        &self,
        (original, patched): (AtomId, AtomId),
        what: &What,
        reason: &Reason,
    ) -> (Said, (Option<Excerpt>, Option<Excerpt>)) {
        let old = code::decode(self.original.side, original);
        let new = code::decode(self.patched.side, patched);
        let find = |code: &[Code<'_>], offset: Option<i64>| {
            offset.and_then(|offset| code.iter().position(|code| code.holds(offset)))
        };
        let at = match (find(&old, reason.original), find(&new, reason.patched)) {
            (None, None) => self.first_other((original, &old), (patched, &new)),
            found => found,
        };
        let said = match what {
            What::Entry(section) => {
                (Class::SpecialSection, format!("another entry in `{section}`"))
            }
            _ => {
                let old = at.0.map(|at| &old[at]);
                let new = at.1.map(|at| &new[at]);
                self.instruction((original, old), (patched, new))
            }
        };
        let excerpts = (
            at.0.and_then(|at| self.original.code_around(original, &old, at)),
            at.1.and_then(|at| self.patched.code_around(patched, &new, at)),
        );
        (said, excerpts)
    }

    /// The first instructions that do not read alike; places within the function do not count.
    fn first_other(
        &self,
        (original, old): (AtomId, &[Code<'_>]),
        (patched, new): (AtomId, &[Code<'_>]),
    ) -> (Option<usize>, Option<usize>) {
        let mut old_printer = Printer::new(self.original.side);
        let mut new_printer = Printer::new(self.patched.side);
        let mut pairs = old.iter().zip(new);
        let other = pairs.position(|(a, b)| {
            old_printer.text(original, a, Names::Compared)
                != new_printer.text(patched, b, Names::Compared)
        });
        let at = other.unwrap_or(old.len().min(new.len()));
        ((at < old.len()).then_some(at), (at < new.len()).then_some(at))
    }

    /// What tells two instructions apart.
    fn instruction(
        &self,
        (original, old): (AtomId, Option<&Code<'_>>),
        (patched, new): (AtomId, Option<&Code<'_>>),
    ) -> Said {
        let (Some(old), Some(new)) = (old, new) else {
            let text = match (old, new) {
                (None, None) => "the code is the same, what belongs to it is not",
                (None, _) => "the patched function goes on",
                (_, None) => "the patched function ends here",
                _ => "",
            };
            return (Class::Instruction, text.to_owned());
        };
        let sides = (self.original.side, self.patched.side);
        let operands = operands(old, new);
        if operands == Operands::Same && old.references.len() == new.references.len() {
            let mut pairs = old.references.iter().zip(new.references);
            let other = pairs.find(|(a, b)| {
                code::target(sides.0, a, Names::Compared)
                    != code::target(sides.1, b, Names::Compared)
            });
            if let Some((a, b)) = other {
                return reference((sides.0, a), (sides.1, b));
            }
            let same = old
                .references
                .iter()
                .zip(new.references)
                .find_map(|(a, b)| content((sides.0, a), (sides.1, b)));
            if let Some(said) = same {
                return said;
            }
        }
        let text = |side, owner, code| Printer::new(side).text(owner, code, Names::Exact);
        let (a, b) = (text(sides.0, original, old), text(sides.1, patched, new));
        let class = match operands {
            Operands::Number => Class::Constant,
            _ => Class::Instruction,
        };
        match a == b {
            true => (class, format!("`{a}` means something else")),
            false => (class, format!("`{}` became `{}`", plain(&a), plain(&b))),
        }
    }

    /// A function that the one side calls and the other has a copy of.
    fn inlined(&self, original: AtomId, patched: AtomId) -> Option<Said> {
        let called = |explained: &Explained<'_>, id| -> BTreeSet<String> {
            let side = explained.side;
            let branches = side.references(id).iter().filter(|reference| reference.branch);
            let names = branches.filter_map(|reference| match reference.target {
                Target::Atom(target) if target != id => Some(source_name(side.name(target))),
                _ => None,
            });
            names.map(str::to_owned).collect()
        };
        let copies = |explained: &Explained<'_>, id| -> BTreeSet<String> {
            let name = source_name(explained.side.name(id));
            explained.inlined.of(name).map(str::to_owned).collect()
        };
        let (old_calls, new_calls) =
            (called(self.original, original), called(self.patched, patched));
        let (old_copies, new_copies) =
            (copies(self.original, original), copies(self.patched, patched));
        let moved =
            |from: &BTreeSet<String>, to: &BTreeSet<String>, still: [&BTreeSet<String>; 2]| {
                let names = from.intersection(to);
                names.into_iter().find(|name| still.iter().all(|set| !set.contains(*name))).cloned()
            };
        if let Some(name) = moved(&old_calls, &new_copies, [&new_calls, &old_copies]) {
            return Some((Class::CalleeInlined, format!("`{name}` is inlined now, not called")));
        }
        let name = moved(&new_calls, &old_copies, [&old_calls, &new_copies])?;
        Some((Class::CalleeInlined, format!("`{name}` is called now, not inlined")))
    }

    fn data(
        &self,
        (original, patched): (AtomId, AtomId),
        what: &What,
        reason: &Reason,
    ) -> (Said, (Option<Excerpt>, Option<Excerpt>)) {
        let sides = (self.original.side, self.patched.side);
        let size = |side: &Side<'_>, id| side.atoms[id].end.saturating_sub(side.atoms[id].origin);
        let at = |side: &Side<'_>, id: AtomId, offset: Option<i64>| -> Option<Reference> {
            let place = side.atoms[id].origin.wrapping_add_signed(offset?);
            side.references(id).iter().find(|reference| reference.offset == place).copied()
        };
        let references =
            (at(sides.0, original, reason.original), at(sides.1, patched, reason.patched));
        let summary = match (what, references) {
            (What::Size, _) => {
                let (old, new) = (size(sides.0, original), size(sides.1, patched));
                format!("its size was {old} bytes and is {new}")
            }
            (What::Memory, _) => {
                let (old, new) = (sides.0.section(original), sides.1.section(patched));
                format!("it was in `{}` and is in `{}`", old.name, new.name)
            }
            (What::Entry(section), _) => format!("another entry in `{section}`"),
            (_, (Some(a), Some(b))) => {
                let a = code::target(sides.0, &a, Names::Exact);
                let b = code::target(sides.1, &b, Names::Exact);
                match a == b {
                    true => format!("what it points to, `{a}`, is another"),
                    false => format!("it pointed to {} and points to {}", quoted(&a), quoted(&b)),
                }
            }
            _ => "its initial value is another".to_owned(),
        };
        let offset = |offset: Option<i64>| offset.unwrap_or(0);
        let excerpts = (
            Some(self.original.data_at(original, offset(reason.original))),
            Some(self.patched.data_at(patched, offset(reason.patched))),
        );
        ((Class::Data, summary), excerpts)
    }
}

/// The name in the source of what compilers make of it.
fn source_name(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Blanks that line up operands say nothing in a sentence.
fn plain(text: &str) -> String {
    match text.split_once(' ') {
        Some((mnemonic, operands)) => format!("{mnemonic} {}", operands.trim_start()),
        None => text.to_owned(),
    }
}

fn quoted(name: &str) -> String {
    if name.starts_with('"') { name.to_owned() } else { format!("`{name}`") }
}

fn is_string(side: &Side<'_>, reference: &Reference) -> bool {
    matches!(reference.target, Target::Atom(id) if side.atoms[id].kind == AtomKind::String)
}

/// Whether it is data that the compiler made for the code that uses it.
fn is_compilers(side: &Side<'_>, reference: &Reference) -> bool {
    let Target::Atom(id) = reference.target else { return false };
    match side.atoms[id].kind {
        AtomKind::Constant | AtomKind::Anonymous => true,
        AtomKind::Data => crate::normalize::names::is_compiler_table(side.name(id)),
        _ => false,
    }
}

/// Two references to what has not the same name.
fn reference((o_side, a): (&Side<'_>, &Reference), (p_side, b): (&Side<'_>, &Reference)) -> Said {
    let old = quoted(&code::target(o_side, a, Names::Exact));
    let new = quoted(&code::target(p_side, b, Names::Exact));
    if is_string(o_side, a) || is_string(p_side, b) {
        return (Class::String, format!("{old} became {new}"));
    }
    if a.branch && b.branch {
        return (Class::CallTarget, format!("it goes to {new}, not to {old}"));
    }
    if is_compilers(o_side, a) && is_compilers(p_side, b) {
        return (Class::Constant, format!("constants at {old} became those at {new}"));
    }
    (Class::Data, format!("it refers to {new}, not to {old}"))
}

/// Two references to what has the same name and yet is not the same.
fn content(
    (o_side, a): (&Side<'_>, &Reference),
    (p_side, b): (&Side<'_>, &Reference),
) -> Option<Said> {
    let (Target::Atom(old), Target::Atom(new)) = (a.target, b.target) else { return None };
    if o_side.bytes(old) == p_side.bytes(new) && !is_compilers(o_side, a) {
        return None;
    }
    let name = quoted(&code::target(p_side, b, Names::Exact));
    if is_compilers(o_side, a) || is_compilers(p_side, b) {
        let (o, p) = (o_side.bytes(old), p_side.bytes(new));
        let at = o.iter().zip(p).position(|(a, b)| a != b);
        let where_ = at.map_or(String::new(), |at| {
            // A whole number is easier to recognise than a byte of it.
            let at = at & !3;
            let hex = |bytes: &[u8]| {
                let shown = bytes.iter().skip(at).take(4).map(|byte| format!("{byte:02x}"));
                shown.collect::<Vec<_>>().join(" ")
            };
            format!(": at {at:#x} it was {} and is {}", hex(o), hex(p))
        });
        return Some((Class::Constant, format!("the content of {name} is another{where_}")));
    }
    (!a.branch).then(|| (Class::Data, format!("{name} is another variable")))
}

/// What tells two instructions apart, references left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operands {
    Same,
    /// A number that stands in them.
    Number,
    Other,
}

fn operands(old: &Code<'_>, new: &Code<'_>) -> Operands {
    let (a, b) = (&old.instruction, &new.instruction);
    let count = a.op_count();
    if a.mnemonic() != b.mnemonic() || count != b.op_count() {
        return Operands::Other;
    }
    let referred = !old.references.is_empty() && !new.references.is_empty();
    let mut found = Operands::Same;
    for operand in 0..count {
        let same = match (a.op_kind(operand), b.op_kind(operand)) {
            (OpKind::Register, OpKind::Register) => {
                a.op_register(operand) == b.op_register(operand)
            }
            (OpKind::Memory, OpKind::Memory) => {
                let memory = |i: &Instruction| {
                    let base = (i.memory_base(), i.memory_index(), i.memory_index_scale());
                    (base, i.segment_prefix(), i.memory_size())
                };
                let displaced = a.memory_displacement64() != b.memory_displacement64();
                memory(a) == memory(b) && (referred || !displaced)
            }
            (OpKind::NearBranch64, OpKind::NearBranch64) => true,
            (a_kind, b_kind) if is_number(a_kind) && is_number(b_kind) => {
                if !referred && a.immediate(operand) != b.immediate(operand) {
                    found = Operands::Number;
                }
                true
            }
            (a_kind, b_kind) => a_kind == b_kind,
        };
        if !same {
            return Operands::Other;
        }
    }
    found
}

fn is_number(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate8_2nd
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

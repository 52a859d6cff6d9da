//! Matches one function by itself, decoded, where its section does not match as a block: the linker or
//! another layout has moved what is around it.
//!
//! Rules, each with a name, and none besides: relocated fields; the rewrites of [`crate::sites`]; the
//! size of a branch; NOPs that only align, and what fills up behind the function. All other bits of an
//! instruction must be equal.

use std::collections::BTreeMap;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use iced_x86::FlowControl;
use iced_x86::Instruction;
use iced_x86::Mnemonic;
use iced_x86::OpKind;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;

use crate::block::Matching;
use crate::difference::Difference;
use crate::difference::What;
use crate::facts::Facts;
use crate::facts::Subject;
use crate::running::Place;

/// What compilers align places inside functions to, at the least.
const LEAST_ALIGNMENT: u64 = 8;

/// Code that runs may be longer than ours by this much: padding and longer branches.
const SLACK: usize = 256;

/// `int3`.
const INT3: u8 = 0xcc;

/// One side of the walk.
struct Walk<'a> {
    code: &'a [u8],
    /// What the first byte's offset is called.
    start: u64,
    at: usize,
}

struct Step {
    instruction: Instruction,
    /// From the start of the walk.
    at: usize,
    end: usize,
    /// Where an immediate or displacement that is a branch target begins, from the start of the walk.
    field: usize,
}

impl Walk<'_> {
    fn decode(&self) -> Option<Step> {
        let rest = self.code.get(self.at..).filter(|rest| !rest.is_empty())?;
        let ip = self.start + self.at as u64;
        let mut decoder = Decoder::with_ip(64, rest, ip, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let field = decoder.get_constant_offsets(&instruction).immediate_offset();
        let (at, end) = (self.at, self.at + instruction.len());
        (!instruction.is_invalid()).then_some(Step { instruction, at, end, field: at + field })
    }

    /// The next instruction that does something; NOPs up to an aligned place do not.
    fn next(&mut self, is_site: impl Fn(usize) -> bool) -> Option<Step> {
        let first = self.decode()?;
        let mut step = first;
        let from = self.at;
        while step.instruction.mnemonic() == Mnemonic::Nop && !is_site(step.at) {
            self.at = step.end;
            let Some(next) = self.decode() else { break };
            step = next;
        }
        let aligned = (self.start + self.at as u64) % LEAST_ALIGNMENT == 0;
        if self.at != from && !aligned {
            self.at = from;
            step = self.decode()?;
        }
        self.at = step.end;
        Some(step)
    }
}

fn is_branch(instruction: &Instruction) -> bool {
    let near = matches!(
        instruction.op0_kind(),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    );
    near && instruction.op_count() > 0 && instruction.flow_control() != FlowControl::Next
}

impl Matching<'_> {
    /// Compares the function `id` with the code at `place`, and gives what its fields tell.
    pub(crate) fn function(&self, id: SymbolId, place: Place) -> Result<Facts, Difference> {
        let symbol = &self.object[id];
        let Some(section) = symbol.section() else {
            let (section, what) = (SectionId(0), What::Missing);
            return Err(Difference { section, ours: 0, theirs: place, what });
        };
        let (start, end) = (symbol.value, symbol.value.saturating_add(symbol.size));
        let different = |ours: usize, theirs: usize, what: What| Difference {
            section,
            ours: start + ours as u64,
            theirs: place.offset(theirs as i64),
            what,
        };
        let code = self.object[section].data.get(start as usize..end as usize);
        let code = code.ok_or_else(|| different(0, 0, What::Missing))?;
        let theirs = self.running.bytes(place).ok_or_else(|| different(0, 0, What::Missing))?;
        let theirs = &theirs[..theirs.len().min(code.len() + SLACK)];
        let mut facts = Facts::default();
        facts
            .learn(self.object, Subject::Symbol(id), place)
            .map_err(|it| different(0, 0, What::Contradiction(it)))?;
        let mut ours = Walk { code, start, at: 0 };
        let at = match place {
            Place::Address(address) => u64::from(address),
            Place::Section(_, at) => at as u64,
            Place::Outside(..) => 0,
        };
        let mut run = Walk { code: theirs, start: at, at: 0 };
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut local: Vec<(usize, usize, usize, usize)> = Vec::new();
        loop {
            let rewritten = theirs.get(run.at..).and_then(|theirs| {
                self.sites.rewritten(self.object, section, start + ours.at as u64, theirs)
            });
            if let Some(len) = rewritten {
                places.insert(ours.at, run.at);
                ours.at += len;
                run.at += len;
                continue;
            }
            let before = (ours.at, run.at);
            let Some(o) = ours.next(|_| false) else { break };
            let Some(r) = run.next(|_| false) else {
                return Err(different(before.0, before.1, What::Missing));
            };
            places.insert(o.at, r.at);
            let fields =
                self.object[section].relocations_in(start + o.at as u64..start + o.end as u64);
            if is_branch(&o.instruction) && is_branch(&r.instruction) {
                if o.instruction.mnemonic() != r.instruction.mnemonic() {
                    return Err(different(o.at, r.at, What::Bytes));
                }
                let to = r.instruction.near_branch_target();
                let leads = self.running.branch_target(
                    place.offset(r.field as i64),
                    place.offset(r.end as i64),
                    place.offset(to.wrapping_sub(at) as i64),
                );
                let leads = leads.ok_or_else(|| different(o.at, r.at, What::Field))?;
                match fields {
                    [field] => {
                        let bias = (start + o.end as u64 - field.offset) as i64;
                        let delta = field.addend.wrapping_add(bias);
                        self.branch(field, delta, leads, &mut facts)
                            .map_err(|what| different(o.at, r.at, what))?;
                    }
                    _ => {
                        let target = o.instruction.near_branch_target();
                        if (start..end).contains(&target) {
                            let Some(theirs) = inside(place, leads) else {
                                return Err(different(o.at, r.at, What::Bytes));
                            };
                            local.push(((target - start) as usize, theirs, o.at, r.at));
                        } else {
                            self.reaches(section, target, leads, &mut facts)
                                .map_err(|what| different(o.at, r.at, what))?;
                        }
                    }
                }
                continue;
            }
            let (a, b) = (&code[o.at..o.end], &theirs[r.at..r.end]);
            let in_field = |at: usize| {
                let at = start + (o.at + at) as u64;
                let holds = |f: &&Relocation| {
                    (f.offset..f.offset + f.kind.width().unwrap_or(0) as u64).contains(&at)
                };
                fields.iter().any(|field| holds(&field))
            };
            let same = a.len() == b.len()
                && a.iter().zip(b).enumerate().all(|(at, (a, b))| a == b || in_field(at));
            if !same {
                return Err(different(o.at, r.at, What::Bytes));
            }
            for field in fields {
                // As if the section began where it would have to for this instruction.
                let base = place.offset(r.at as i64 - (start as i64 + o.at as i64));
                self.field(section, field, base, &mut facts)?;
            }
        }
        for (ours, theirs, o, r) in local {
            // The end of a function is a place, too.
            let known = places.get(&ours).copied();
            if known.is_some_and(|known| known != theirs) {
                return Err(different(o, r, What::Bytes));
            }
        }
        let extent = self.running.extent(place).and_then(|bytes| usize::try_from(bytes).ok());
        let rest = theirs.get(run.at..extent.unwrap_or(theirs.len()).min(theirs.len()));
        if !rest.is_none_or(is_filling) {
            return Err(different(ours.at, run.at, What::Longer));
        }
        self.names_agree(&facts).map_err(|what| different(0, 0, what))?;
        Ok(facts)
    }

    /// Notes where a branch with a relocation leads: so far behind the relocation's symbol.
    fn branch(
        &self,
        field: &Relocation,
        delta: i64,
        leads: Place,
        facts: &mut Facts,
    ) -> Result<(), What> {
        match Subject::of(self.object, field) {
            Subject::Mergeable(..) => Err(What::Field),
            Subject::Section(code, value) => {
                self.reaches(code, value.wrapping_add(delta) as u64, leads, facts)
            }
            subject => {
                self.named(field, leads.offset(-delta))?;
                facts.learn(self.object, subject, leads.offset(-delta)).map_err(What::Contradiction)
            }
        }
    }

    /// Notes where a function is of which `place` is the byte at `target` of the section.
    pub(crate) fn reaches(
        &self,
        section: SectionId,
        target: u64,
        place: Place,
        facts: &mut Facts,
    ) -> Result<(), What> {
        let holds = |id: SymbolId| {
            let symbol = &self.object[id];
            symbol.kind == SymbolKind::Function
                && (symbol.value..symbol.value + symbol.size.max(1)).contains(&target)
        };
        let symbols = self.object.symbols_by_section();
        let function = symbols.of(section).iter().copied().find(|id| holds(*id));
        let function = function.ok_or(What::Bytes)?;
        let place = place.offset(-((target - self.object[function].value) as i64));
        facts.learn(self.object, Subject::Symbol(function), place).map_err(What::Contradiction)
    }
}

/// Whether bytes behind a function only fill up: NOPs, as the assembler puts them between functions, or
/// breakpoints, as the linker puts them between objects. Both together are code: the compiler puts
/// breakpoints behind jumps (`-mharden-sls`).
fn is_filling(bytes: &[u8]) -> bool {
    let mut nops = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).into_iter();
    bytes.iter().all(|byte| *byte == INT3) || nops.all(|it| it.mnemonic() == Mnemonic::Nop)
}

/// How far `place` is behind `start`, if both are parts of one thing.
fn inside(start: Place, place: Place) -> Option<usize> {
    let distance = match (start, place) {
        (Place::Address(a), Place::Address(b)) => i64::from(b) - i64::from(a),
        (Place::Section(a, from), Place::Section(b, to)) if a == b => to - from,
        _ => return None,
    };
    usize::try_from(distance).ok()
}

/// The functions of an object.
pub(crate) fn functions_of(object: &ObjectFile, section: SectionId) -> Vec<SymbolId> {
    let all = object.symbols_by_section();
    let is_function = |id: &SymbolId| object[*id].kind == SymbolKind::Function;
    all.of(section).iter().copied().filter(is_function).collect()
}

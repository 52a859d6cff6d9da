//! How variables are used: what tells two of one name, size and content in one function apart.
//!
//! Compilers choose registers and lay out blocks as they like, so only what the instructions do to the
//! variable counts, and the order in which the function comes to the variables.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use iced_x86::Decoder;
use iced_x86::DecoderOptions;
use rustc_hash::FxHashMap;

use crate::normalize::atoms::AtomId;
use crate::normalize::atoms::AtomKind;
use crate::normalize::references::Target;
use crate::normalize::side::Side;

/// All uses of the data of an object, found when first asked for.
#[derive(Debug)]
pub struct Uses<'a> {
    side: &'a Side<'a>,
    /// By variable: the function, and the offset of the field.
    places: OnceCell<FxHashMap<AtomId, Vec<(AtomId, u64)>>>,
}

/// What is done to a variable: by which function, and with which operation and constants.
pub type Use<'a> = (&'a str, u32, Vec<u64>);

impl<'a> Uses<'a> {
    /// The uses of an object.
    pub fn new(side: &'a Side<'a>) -> Self {
        Uses { side, places: OnceCell::new() }
    }

    /// Everything that is done to a variable, in no order that means something; `None` if some of it is
    /// not understood: an address that is taken, or a use in data.
    pub fn of(&self, variable: AtomId) -> Option<Vec<Use<'a>>> {
        let places = self.places().get(&variable)?;
        let mut uses: Vec<Use<'a>> = Vec::with_capacity(places.len());
        let functions: BTreeSet<AtomId> = places.iter().map(|(function, _)| *function).collect();
        for function in functions {
            let atom = &self.side.atoms[function];
            let name = self.side.name(function).split('.').next().unwrap_or_default();
            let code = self.side.bytes(function).get((atom.origin - atom.start) as usize..)?;
            let mut decoder = Decoder::with_ip(64, code, atom.origin, DecoderOptions::NONE);
            let inside = places.iter().filter(|(user, _)| *user == function);
            let mut offsets = inside.map(|(_, offset)| *offset).peekable();
            while let Some(offset) = offsets.peek().copied() {
                let instruction = decoder.can_decode().then(|| decoder.decode())?;
                if instruction.is_invalid() || offset < instruction.ip() {
                    return None;
                }
                if offset >= instruction.next_ip() {
                    continue;
                }
                offsets.next();
                let fields = decoder.get_constant_offsets(&instruction);
                let displacement = instruction.ip() + fields.displacement_offset() as u64;
                if !fields.has_displacement() || offset != displacement {
                    return None;
                }
                let operands = 0..instruction.op_count();
                let constants =
                    operands.filter_map(|o| instruction.try_immediate(o).ok()).collect();
                uses.push((name, instruction.mnemonic() as u32, constants));
            }
        }
        uses.sort();
        Some(uses)
    }

    /// The first use, for the order of variables: by function and place.
    pub fn first(&self, variable: AtomId) -> Option<(&'a str, u64)> {
        let places = self.places().get(&variable)?;
        let first = |(function, offset): &(AtomId, u64)| (self.side.name(*function), *offset);
        places.iter().map(first).min()
    }

    fn places(&self) -> &FxHashMap<AtomId, Vec<(AtomId, u64)>> {
        self.places.get_or_init(|| {
            let mut places: FxHashMap<AtomId, Vec<(AtomId, u64)>> = FxHashMap::default();
            for (user, _) in self.side.atoms.iter() {
                for reference in self.side.references(user) {
                    let Target::Atom(target) = reference.target else { continue };
                    if self.side.atoms[target].kind == AtomKind::Data && target != user {
                        places.entry(target).or_default().push((user, reference.offset));
                    }
                }
            }
            places
        })
    }
}

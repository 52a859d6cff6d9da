//! The code of a function as the patch holds it: with jumps behind it that take the place of branches
//! too short for a relocation, and with loads in the place of constants that only boot code writes.

use kpatch_elf::Relocation;
use kpatch_elf::RelocationKind;

use super::Emitter;
use super::PlaceOf;
use super::targets::Named;

use crate::emit::runtime_const;
use crate::normalize::atoms::AtomId;
use crate::normalize::references::Reference;
use crate::normalize::resolved;
use crate::normalize::resolved::JUMP;
use crate::normalize::side::Side;

/// The bytes of `atom`, rewritten, stubs behind them.
pub(super) fn bytes(side: &Side<'_>, atom: AtomId) -> Vec<u8> {
    let mut bytes = side.bytes(atom).to_vec();
    for stub in resolved::stubs(side, atom) {
        bytes.resize(stub.at as usize, 0);
        bytes.extend_from_slice(&JUMP);
        for field in &stub.fields {
            // What is out of reach was refused before.
            if let Some(displacement) = stub.displacement(*field) {
                bytes[*field as usize] = displacement;
            }
        }
    }
    for pointer in runtime_const::pointers(side, atom) {
        let load = pointer.load();
        bytes[pointer.at as usize..][..load.len()].copy_from_slice(&load);
    }
    bytes
}

/// The references of `atom` that need a relocation, those of its stubs in place of short branches.
pub(super) fn references(side: &Side<'_>, atom: AtomId) -> Vec<Reference> {
    let all = side.references(atom).iter();
    let mut references: Vec<Reference> =
        all.filter(|r| r.kind != RelocationKind::PC8).copied().collect();
    let start = side.atoms[atom].start;
    references.extend(resolved::stubs(side, atom).iter().map(|stub| Reference {
        offset: start + stub.at + 1,
        kind: RelocationKind::PLT32,
        bias: 1 - JUMP.len() as i64,
        ..*stub.reference
    }));
    references
}

impl Emitter<'_> {
    /// The relocations of the loads that take the place of constants that only boot code writes.
    pub(super) fn loads(&mut self, id: AtomId, place: PlaceOf) -> Vec<Relocation> {
        let side = &self.difference.patched;
        let mut relocations = Vec::new();
        for pointer in runtime_const::pointers(side, id) {
            let here = pointer.symbol.and_then(|s| Some((s, side.atoms.of_symbol(s)?)));
            let Named { name, local, at } = match here {
                Some((symbol, atom)) => self.kernel_name(atom, symbol),
                None => Named { name: pointer.variable.to_owned(), local: false, at: 0 },
            };
            let outside = self.outside(id, &name, here.is_some(), local);
            relocations.extend(outside.map(|outside| Relocation {
                offset: place.start + pointer.field(),
                kind: RelocationKind::PC32,
                symbol: outside.symbol,
                addend: (-4_i64).wrapping_sub(at),
            }));
        }
        relocations
    }
}

//! The code of a function as the patch holds it: with jumps behind it that take the place of branches
//! too short for a relocation.

use kpatch_elf::RelocationKind;

use crate::atoms::AtomId;
use crate::references::Reference;
use crate::resolved;
use crate::resolved::JUMP;
use crate::side::Side;

/// The bytes of `atom`, stubs behind them.
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

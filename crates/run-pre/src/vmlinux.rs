//! vmlinux as what runs: the image's bytes at link addresses, names from its kallsyms. Fields are read
//! from the image: it is linked, so each holds the address of its symbol.

use std::borrow::Cow;

use kpatch_elf::RelocationKind;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;

use crate::running::Place;
use crate::running::Running;

/// Below are per-CPU symbols, above is the kernel.
const KERNEL_HALF: u32 = 1 << 31;

/// A kernel image.
#[derive(Debug, Clone, Copy)]
pub struct Vmlinux<'a> {
    /// Its bytes.
    pub image: &'a Image,
    /// Its symbols.
    pub kallsyms: &'a Kallsyms,
}

/// The whole link address of a [`Place::Address`].
pub fn link_address(address: u32) -> u64 {
    let upper = if address < KERNEL_HALF { 0 } else { !0 << 32 };
    upper | u64::from(address)
}

impl Vmlinux<'_> {
    fn field(&self, slot: Place, width: usize) -> Option<u64> {
        let bytes = self.bytes(slot)?.get(..width)?;
        let mut value = [0; 8];
        value.get_mut(..width)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(value))
    }
}

impl Running for Vmlinux<'_> {
    fn named(&self, name: &str) -> Vec<Place> {
        let all = self.kallsyms.positions(name).iter();
        let all = all.filter_map(|index| self.kallsyms.get(*index));
        all.map(|symbol| Place::Address(symbol.address as u32)).collect()
    }

    fn bytes(&self, place: Place) -> Option<&[u8]> {
        let Place::Address(address) = place else { return None };
        self.image.bytes_from(link_address(address))
    }

    fn symbol_of_slot(&self, slot: Place, kind: RelocationKind, addend: i64) -> Option<Place> {
        let Place::Address(at) = slot else { return None };
        let value = self.field(slot, kind.width()?)?;
        let from = if kind.is_pc_relative() { at } else { 0 };
        // What does not fit is no address of the kernel.
        let is_address = match kind {
            RelocationKind::ABS64 => {
                matches!(value.wrapping_sub(addend as u64) >> 31, 0 | 0x1_ffff_ffff)
            }
            _ => true,
        };
        let symbol = (value as u32).wrapping_add(from).wrapping_sub(addend as u32);
        is_address.then_some(Place::Address(symbol))
    }

    fn branch_target(&self, _slot: Place, _end: Place, to: Place) -> Option<Place> {
        Some(to)
    }

    fn extent(&self, place: Place) -> Option<u64> {
        let Place::Address(address) = place else { return None };
        let address = link_address(address);
        let next = self.kallsyms.get(self.kallsyms.at(address).end)?;
        next.address.checked_sub(address)
    }

    fn name_of(&self, place: Place) -> Cow<'_, str> {
        let Place::Address(address) = place else { return Cow::Borrowed("?") };
        let address = link_address(address);
        let symbol = self.kallsyms.containing(address).and_then(|index| self.kallsyms.get(index));
        match symbol {
            Some(symbol) if symbol.address == address => Cow::Borrowed(symbol.name),
            Some(symbol) => format!("{}+{:#x}", symbol.name, address - symbol.address).into(),
            None => format!("{address:#x}").into(),
        }
    }
}

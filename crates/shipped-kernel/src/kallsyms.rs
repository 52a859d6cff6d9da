//! The kernel's own symbol table, decoded from its image.
//!
//! This is the very table by which the running kernel resolves `.klp.sym` names, so its order is
//! the kernel's order, and a name that is not in it does not exist for livepatch. Bias: the table
//! is taken only as a whole, with addresses that ascend, names that agree with the kernel's own
//! order by name, and `linux_banner` at the address of the banner.

mod layout;
mod tables;

pub use layout::Addressing;
pub use layout::Layout;

use std::ops::Range;

use kpatch_refusal::Refusals;

use crate::image::Image;
use crate::image::unreadable;
use tables::Tables;

/// All symbols of vmlinux, in the kernel's order: by address, aliases as the kernel's build sorted
/// them.
#[derive(Debug, Clone)]
pub struct Kallsyms {
    layout: Layout,
    addressing: Addressing,
    entries: Vec<Entry>,
    /// All names, one after the other.
    arena: String,
    /// Indices of `entries` by name, equal names in the order of the table.
    by_name: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
    name_start: u32,
    name_len: u16,
    kind: u8,
}

/// One symbol of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Address to which the kernel is linked (KASLR moves it); per-CPU symbols of kernels before
    /// 6.15 have an offset from 0.
    pub address: u64,
    /// As `nm` prints it: `T`/`t` code, `D`/`d` data, `A` per-CPU, `W` weak ... capitals are global.
    pub kind: char,
    /// The name.
    pub name: &'a str,
}

impl Symbol<'_> {
    /// Whether KASLR leaves the address alone: per-CPU symbols before 6.15 are offsets from 0, which
    /// the table holds as numbers of 31 bit (`kallsyms_sym_address` in kernel/kallsyms.c).
    pub fn is_absolute(&self) -> bool {
        self.address < 1 << 31
    }
}

impl Kallsyms {
    /// Finds and decodes the table of an image.
    ///
    /// # Errors
    /// [`ImageUnreadable`](kpatch_refusal::Code::ImageUnreadable) if there is none, if it is of an
    /// unknown layout, or if anything in it does not agree with the rest.
    pub fn read(image: &Image) -> Result<Self, Refusals> {
        let kallsyms = Self::decode(&image.elf, &|offset| image.address_of(offset))
            .map_err(|message| unreadable(&image.name, message))?;
        let banner = image.banner.text.as_bytes();
        let is_banner = |&index: &usize| {
            image.bytes_at(kallsyms.entries[index].address, banner.len()) == Some(banner)
        };
        if !matches!(kallsyms.positions("linux_banner"), [index] if is_banner(index)) {
            let message = "its symbol table (kallsyms) does not agree with its content: \
                           `linux_banner` is not where the banner is";
            return Err(unreadable(&image.name, message.to_string()));
        }
        Ok(kallsyms)
    }

    /// Decodes the table in the bytes of an uncompressed kernel; `address_of` says where a byte of the
    /// file is loaded.
    fn decode(data: &[u8], address_of: &dyn Fn(usize) -> Option<u64>) -> Result<Self, String> {
        let tables = tables::find(data)?;
        let (addressing, addresses) = addresses(&tables, address_of)?;
        // Names of the kernel are ASCII; tokens that are not are of characters that no name has.
        let tokens: Vec<Option<&str>> = tables
            .tokens
            .iter()
            .map(|token| std::str::from_utf8(token).ok().filter(|token| token.is_ascii()))
            .collect();
        let not_ascii = "its kallsyms has a name that is not ASCII";
        let mut entries = Vec::with_capacity(tables.count);
        let mut arena = String::with_capacity(tables.count * 24);
        let mut rest = tables.names;
        for address in addresses {
            let (codes, tail) = tables::split_name(rest).ok_or("its kallsyms is truncated")?;
            rest = tail;
            // The first character is the type, and may share its token with the name.
            let mut kind = None;
            let name_start = arena.len();
            for &code in codes {
                let mut token = tokens[usize::from(code)].ok_or(not_ascii)?;
                if kind.is_none() && !token.is_empty() {
                    kind = Some(token.as_bytes()[0]);
                    token = &token[1..];
                }
                arena.push_str(token);
            }
            let kind = kind.ok_or("its kallsyms has a symbol without a type")?;
            let too_long = "its kallsyms has names that are too long";
            entries.push(Entry {
                address,
                name_start: u32::try_from(name_start).map_err(|_| too_long)?,
                name_len: u16::try_from(arena.len() - name_start).map_err(|_| too_long)?,
                kind,
            });
        }
        let mut kallsyms =
            Self { layout: tables.layout, addressing, entries, arena, by_name: Vec::new() };
        kallsyms.by_name = kallsyms.order_by_name(tables.by_name)?;
        Ok(kallsyms)
    }

    /// The kernel's own order by name where it has one, which must then be one; else made here.
    fn order_by_name(&self, sequences: Option<&[u8]>) -> Result<Vec<usize>, String> {
        let key = |&index: &usize| (self.name(index), index);
        let Some(sequences) = sequences else {
            let mut order: Vec<usize> = (0..self.len()).collect();
            order.sort_unstable_by_key(key);
            return Ok(order);
        };
        let order: Vec<usize> = sequences.chunks_exact(3).map(tables::sequence).collect();
        if order.len() != self.len() || order.windows(2).any(|pair| key(&pair[0]) >= key(&pair[1]))
        {
            return Err("its kallsyms has an order by name that its names contradict".to_string());
        }
        Ok(order)
    }

    fn name(&self, index: usize) -> &str {
        let entry = self.entries[index];
        let start = entry.name_start as usize;
        &self.arena[start..start + usize::from(entry.name_len)]
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no symbols; a table that was read has some.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The order of the tables in the image.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How its addresses are written.
    pub fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// The symbol at an index of the table.
    pub fn get(&self, index: usize) -> Option<Symbol<'_>> {
        let entry = self.entries.get(index)?;
        let kind = char::from(entry.kind);
        Some(Symbol { address: entry.address, kind, name: self.name(index) })
    }

    /// All symbols in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Indices of all symbols of a name, in the order in which the kernel counts them
    /// (`kallsyms_on_each_match_symbol` in kernel/kallsyms.c).
    pub fn positions(&self, name: &str) -> &[usize] {
        let start = self.by_name.partition_point(|&index| self.name(index) < name);
        let len = self.by_name[start..].partition_point(|&index| self.name(index) == name);
        &self.by_name[start..start + len]
    }

    /// Indices of all symbols at exactly this address: aliases of each other.
    pub fn at(&self, address: u64) -> Range<usize> {
        let start = self.entries.partition_point(|entry| entry.address < address);
        let end = self.entries.partition_point(|entry| entry.address <= address);
        start..end
    }

    /// Index of the symbol that an address belongs to, of aliases the first, as the kernel finds it
    /// for a stack trace (`get_symbol_pos` in kernel/kallsyms.c). `None` in front of the first one and
    /// behind the last one, and between the per-CPU symbols that count from 0 and the others.
    pub fn containing(&self, address: u64) -> Option<usize> {
        let last = self.at(address).end.checked_sub(1)?;
        let first = self.at(self.entries[last].address).start;
        let next = self.get(last + 1).map(|next| next.is_absolute());
        let is_within = next == self.get(last).map(|last| last.is_absolute());
        (self.entries[last].address == address || is_within).then_some(first)
    }

    /// Bytes from a symbol to the next one at a higher address: the size by which the kernel finds
    /// a function on a stack (`get_symbol_pos` in kernel/kallsyms.c). `None` for the last one.
    pub fn size(&self, index: usize) -> Option<u64> {
        let address = self.entries.get(index)?.address;
        let next = self.entries.get(self.at(address).end)?;
        Some(next.address - address)
    }
}

/// The addresses, which must ascend. Before 7.0 they are written by one of two rules, of which the
/// configuration is not in the tables: it is the one that makes them ascend
/// (`kallsyms_sym_address` in kernel/kallsyms.c).
fn addresses(
    tables: &Tables<'_>,
    address_of: &dyn Fn(usize) -> Option<u64>,
) -> Result<(Addressing, Vec<u64>), String> {
    let offsets = || {
        tables
            .offsets
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    };
    let base = tables.relative_base;
    let ascending = |(_, addresses): &(Addressing, Vec<u64>)| addresses.is_sorted();
    let found = if tables.layout == Layout::PlaceRelative {
        let place =
            address_of(tables.offsets_at).ok_or("its kallsyms is at a place that is not loaded")?;
        // `offset_to_ptr`: signed, from the word's own address.
        let places = (0..).step_by(4).map(|offset| place.wrapping_add(offset));
        let addresses = offsets()
            .zip(places)
            .map(|(offset, place)| place.wrapping_add_signed(i64::from(offset as i32)));
        Some((Addressing::PlaceRelative, addresses.collect())).filter(ascending)
    } else {
        let relative = |offset: u32| base.wrapping_add(u64::from(offset));
        // CONFIG_KALLSYMS_ABSOLUTE_PERCPU: not negative is absolute, negative counts from -1
        // downwards.
        let absolute_percpu = |offset: u32| match u64::try_from(offset as i32) {
            Ok(address) => address,
            Err(_) => base.wrapping_add(u64::from(!offset)),
        };
        let rules: [(Addressing, &dyn Fn(u32) -> u64); 2] =
            [(Addressing::Relative, &relative), (Addressing::AbsolutePercpu, &absolute_percpu)];
        rules
            .into_iter()
            .map(|(addressing, rule)| (addressing, offsets().map(rule).collect()))
            .find(ascending)
    };
    found.ok_or_else(|| "its kallsyms has addresses that do not ascend".to_string())
}

#[cfg(test)]
pub(crate) mod tests;

//! A kernel of our own making: banner, code and tables in one segment, and the kallsyms for it.

use super::elf_image;
use super::table::Listed;
use super::table::Rule;
use super::table::encode;
use crate::kallsyms::Layout;

/// Where it is linked to.
pub const BASE: u64 = 0xffff_ffff_8100_0000;
/// What it says of itself.
pub const BANNER: &str = "Linux version 6.12.1-test (a@b) (gcc-12 (x) 12.2.0, GNU ld 2.40) #1 SMP";

/// An export: name, namespace, CRC.
pub type Exported<'a> = (&'a str, &'a str, u32);

/// A kernel that grows.
#[derive(Debug, Clone)]
pub struct Kernel {
    content: Vec<u8>,
    symbols: Vec<Listed>,
}

impl Default for Kernel {
    fn default() -> Self {
        let mut kernel = Self { content: vec![0x90; 16], symbols: Vec::new() };
        kernel.place("linux_banner", 'D', format!("{BANNER}\n\0").as_bytes());
        kernel
    }
}

impl Kernel {
    /// The address of what is placed next.
    pub fn here(&mut self) -> u64 {
        self.content.resize(self.content.len().next_multiple_of(16), 0xcc);
        BASE + self.content.len() as u64
    }

    /// A name for an address.
    pub fn symbol(&mut self, name: &str, kind: char, address: u64) {
        self.symbols.push((address, kind, name.to_owned()));
    }

    /// A name for the address of what is placed next.
    pub fn mark(&mut self, name: &str) -> u64 {
        let address = self.here();
        self.symbol(name, 'D', address);
        address
    }

    /// Bytes with a name; gives their address.
    pub fn place(&mut self, name: &str, kind: char, bytes: &[u8]) -> u64 {
        let address = self.here();
        self.symbol(name, kind, address);
        self.content.extend(bytes);
        address
    }

    /// A table between two markers; the end marker is right behind it.
    pub fn table(&mut self, (start, end): (&str, &str), bytes: &[u8]) -> u64 {
        let address = self.place(start, 'D', bytes);
        self.symbol(end, 'D', address + bytes.len() as u64);
        address
    }

    /// A table of 32-bit distances to `targets`, each from its own place.
    pub fn distances(&mut self, markers: (&str, &str), targets: &[u64]) -> u64 {
        let start = self.here();
        let places = (start..).step_by(4);
        let bytes: Vec<u8> = places
            .zip(targets)
            .flat_map(|(place, target)| (target.wrapping_sub(place) as u32).to_le_bytes())
            .collect();
        self.table(markers, &bytes)
    }

    /// A table of exports as a part of the kernel lists them (`__ksymtab` and `__kcrctab`, with
    /// `_gpl` at their ends), in the order given.
    pub fn exports(&mut self, (names, crcs): (&str, &str), listed: &[Exported<'_>]) {
        let mut targets = Vec::new();
        for (name, namespace, _) in listed {
            let at = self.place("string", 'r', format!("{name}\0{namespace}\0").as_bytes());
            targets.extend([at, at, at + name.len() as u64 + 1]);
        }
        let markers = |name: &str| (format!("__start_{name}"), format!("__stop_{name}"));
        let (start, end) = markers(names);
        self.distances((&start, &end), &targets);
        let bytes: Vec<u8> = listed.iter().flat_map(|listed| listed.2.to_le_bytes()).collect();
        let (start, end) = markers(crcs);
        self.table((&start, &end), &bytes);
    }

    /// Gives all symbols of a name another one.
    pub fn rename(&mut self, from: &str, to: &str) {
        for symbol in self.symbols.iter_mut().filter(|symbol| symbol.2 == from) {
            to.clone_into(&mut symbol.2);
        }
    }

    /// The finished image: an uncompressed ELF file.
    ///
    /// # Panics
    /// When a symbol is further away than kallsyms can say.
    pub fn finish(mut self) -> Vec<u8> {
        self.here();
        self.symbols.sort_by_key(|symbol| symbol.0);
        let table = encode(Layout::OffsetsBehindTokens, Rule::Relative, &self.symbols);
        self.content.extend(table.expect("all symbols are in the kernel"));
        self.content.extend([0x90; 600]);
        elf_image(BASE, &self.content, &[7; 20])
    }
}

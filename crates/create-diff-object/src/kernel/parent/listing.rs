//! Reads the text that `readelf -s --wide` prints of a linked kernel or module.
//!
//! A kernel has hundreds of thousands of symbols, an object needs a few hundred of them: the text is
//! read once, line by line in place, and only what is asked for is kept. Bias: a line that is none of
//! readelf's is an error, since a missing symbol would change the number of another.

use std::collections::HashMap;
use std::collections::HashSet;

use kpatch_elf::Binding;
use kpatch_elf::SymbolKind;

/// Why the text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingError {
    /// A line that readelf does not print, counted from 1.
    Line(usize),
    /// A name that readelf has cut off, in this line counted from 1.
    Truncated(usize),
    /// There is no symbol at all.
    Empty,
}

impl std::fmt::Display for ListingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line} is none of `readelf -s --wide`"),
            Self::Truncated(line) => {
                write!(f, "line {line} has a shortened name: `--wide` is missing")
            }
            Self::Empty => f.write_str("lists no symbols"),
        }
    }
}

impl std::error::Error for ListingError {}

/// Where a listed symbol is defined: the column `Ndx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `UND`.
    Undefined,
    /// `ABS`.
    Absolute,
    /// In the section of this index in the parent, or in one that has a name of its own (`COM`).
    Section(Option<u32>),
}

/// A symbol of the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The address, or the offset in the section for a file that is not linked to an address.
    pub value: u64,
    /// Whether other objects see it.
    pub binding: Binding,
    /// What it names.
    pub kind: SymbolKind,
    /// Where it is defined.
    pub place: Place,
    /// Which file's part it is in, counting `FILE` symbols; 0 in front of the first. Of no meaning for
    /// what is not local.
    pub file: u32,
    /// Which line of the listing it is in, from 1.
    pub line: u32,
}

/// The local functions and variables of one source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart<'t> {
    /// The file's name, without directories.
    pub name: &'t str,
    /// Its number, as in [`Listed::file`].
    pub file: u32,
    /// The names in the order of the table.
    pub locals: Vec<&'t str>,
}

/// What was asked for of a symbol table.
#[derive(Debug, Default)]
pub struct Listing<'t> {
    symbols: HashMap<&'t str, Vec<Listed>>,
    files: Vec<FilePart<'t>>,
    linked: bool,
}

/// Where the kernel's own code begins on x86-64 (`__START_KERNEL_map`).
const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

impl<'t> Listing<'t> {
    /// Reads `text`. Symbols are kept whose names are among `names`, and the local symbols of files
    /// whose names are among `files`.
    ///
    /// # Errors
    /// [`ListingError`]
    pub fn parse(
        text: &'t [u8],
        names: &HashSet<&str>,
        files: &HashSet<&str>,
    ) -> Result<Self, ListingError> {
        let mut reader = Reader { names, files, listing: Listing::default(), file: 0, part: None };
        let mut start = 0;
        let mut number = 0;
        let mut dynamic = false;
        let mut any = false;
        for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
            let line = &text[start..end];
            start = end + 1;
            number += 1;
            match line_of(line) {
                Line::Table { dynamic: is } => dynamic = is,
                Line::Nothing => {}
                // A linked file may have a second table, of what is dynamic.
                Line::Symbol(_) if dynamic => {}
                Line::Symbol(symbol) => {
                    any = true;
                    let utf8 = std::str::from_utf8(symbol.name);
                    let name = utf8.map_err(|_| ListingError::Line(number))?;
                    if name.ends_with("[...]") {
                        return Err(ListingError::Truncated(number));
                    }
                    reader.add(symbol, name, u32::try_from(number).unwrap_or(u32::MAX));
                }
                Line::Unknown => return Err(ListingError::Line(number)),
            }
        }
        if any { Ok(reader.listing) } else { Err(ListingError::Empty) }
    }

    /// All symbols of a name, in the order of the table.
    pub fn named(&self, name: &str) -> &[Listed] {
        self.symbols.get(name).map_or(&[], Vec::as_slice)
    }

    /// The parts of the files that were asked for, in the order of the table.
    pub fn files(&self) -> &[FilePart<'t>] {
        &self.files
    }

    /// Whether values are addresses of the running kernel, not offsets in sections.
    pub fn is_linked(&self) -> bool {
        self.linked
    }
}

struct Reader<'t, 'n> {
    names: &'n HashSet<&'n str>,
    files: &'n HashSet<&'n str>,
    listing: Listing<'t>,
    /// How many `FILE` symbols there have been.
    file: u32,
    /// The part that is being read, if it was asked for.
    part: Option<usize>,
}

impl<'t> Reader<'t, '_> {
    fn add(&mut self, symbol: Symbol<'t>, name: &'t str, line: u32) {
        let local = symbol.binding == Binding::Local;
        if symbol.kind == SymbolKind::File {
            self.file += 1;
            self.part = self.files.contains(name).then_some(self.listing.files.len());
            if self.part.is_some() {
                self.listing.files.push(FilePart { name, file: self.file, locals: Vec::new() });
            }
            return;
        }
        self.listing.linked |= symbol.value >= KERNEL_MAP;
        let is_named = matches!(symbol.kind, SymbolKind::Function | SymbolKind::Object);
        if let Some(part) = self.part.filter(|_| local && is_named) {
            self.listing.files[part].locals.push(name);
        }
        if symbol.kind != SymbolKind::Section && self.names.contains(name) {
            let Symbol { value, binding, kind, place, .. } = symbol;
            let listed = Listed { value, binding, kind, place, file: self.file, line };
            self.listing.symbols.entry(name).or_default().push(listed);
        }
    }
}

struct Symbol<'t> {
    value: u64,
    kind: SymbolKind,
    binding: Binding,
    place: Place,
    name: &'t [u8],
}

enum Line<'t> {
    /// The heading of a table.
    Table {
        dynamic: bool,
    },
    Nothing,
    Symbol(Symbol<'t>),
    Unknown,
}

/// Cuts words off the front of a line.
struct Words<'t>(&'t [u8]);

impl<'t> Iterator for Words<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let start = self.0.iter().position(|byte| *byte != b' ')?;
        let rest = &self.0[start..];
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        Some(word)
    }
}

fn line_of(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii_end();
    let mut words = Words(line);
    let Some(first) = words.next() else { return Line::Nothing };
    match first {
        b"Num:" | b"File:" => return Line::Nothing,
        b"Symbol" => {
            let dynamic = line.windows(9).any(|window| window == b"'.dynsym'");
            return Line::Table { dynamic };
        }
        _ => {}
    }
    let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    if !first.strip_suffix(b":").is_some_and(is_number) {
        return Line::Unknown;
    }
    symbol(words).map_or(Line::Unknown, Line::Symbol)
}

/// `Value Size Type Bind Vis [other] Ndx Name`.
fn symbol(mut words: Words<'_>) -> Option<Symbol<'_>> {
    let value = hexadecimal(words.next()?)?;
    let _size = words.next()?;
    let kind = match words.next()? {
        b"NOTYPE" => SymbolKind::None,
        b"OBJECT" => SymbolKind::Object,
        b"FUNC" => SymbolKind::Function,
        b"SECTION" => SymbolKind::Section,
        b"FILE" => SymbolKind::File,
        _ => SymbolKind::Other(0),
    };
    let binding = match words.next()? {
        b"LOCAL" => Binding::Local,
        b"WEAK" => Binding::Weak,
        b"GLOBAL" | b"UNIQUE" => Binding::Global,
        _ => return None,
    };
    let _visibility = words.next()?;
    let mut index = words.next()?;
    // What else `st_other` says: `[VARIANT]`, `[<other>: 88]`.
    if index.starts_with(b"[") {
        while !index.ends_with(b"]") {
            index = words.next()?;
        }
        index = words.next()?;
    }
    let place = match index {
        b"UND" => Place::Undefined,
        b"ABS" => Place::Absolute,
        _ => Place::Section(std::str::from_utf8(index).ok()?.parse().ok()),
    };
    let name = words.0.trim_ascii();
    Some(Symbol { value, kind, binding, place, name })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
Symbol table '.dynsym' contains 2 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     1: ffffffff81000000     1 FUNC    GLOBAL DEFAULT    1 show

Symbol table '.symtab' contains 9 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND 
     1: ffffffff81000000     0 SECTION LOCAL  DEFAULT    1 .text
     2: 0000000000000000     0 FILE    LOCAL  DEFAULT  ABS one.c
     3: ffffffff81000010    16 FUNC    LOCAL  DEFAULT    1 show
     4: ffffffff82000010     4 OBJECT  LOCAL  DEFAULT    2 count.1
     5: ffffffff82000014     0 NOTYPE  LOCAL  DEFAULT    2 label
     6: 0000000000000000     0 FILE    LOCAL  DEFAULT  ABS two.c
     7: ffffffff81000020    16 FUNC    LOCAL  DEFAULT [<other>: 88]     1 show
     8: 0000000000000000     0 FILE    LOCAL  DEFAULT  ABS 
     9: ffffffff81000030 0x10000000 FUNC    WEAK   DEFAULT    1 show
    10: 0000000000000000     0 NOTYPE  GLOBAL DEFAULT  UND needed
";

    fn parse(text: &str) -> Result<Listing<'_>, ListingError> {
        let names = HashSet::from(["show", "needed", "absent"]);
        Listing::parse(text.as_bytes(), &names, &HashSet::from(["one.c"]))
    }

    #[test]
    fn keeps_what_is_asked_for() {
        let listing = parse(TEXT).unwrap();
        let show = listing.named("show");
        let facts: Vec<_> = show.iter().map(|s| (s.value & 0xff, s.binding, s.file)).collect();
        let expected =
            [(0x10, Binding::Local, 1), (0x20, Binding::Local, 2), (0x30, Binding::Weak, 3)];
        assert_eq!(facts, expected);
        assert!(show.iter().all(|s| s.place == Place::Section(Some(1))));
        assert_eq!(listing.named("needed")[0].place, Place::Undefined);
        assert!(listing.named("absent").is_empty() && listing.named("label").is_empty());
        let part = FilePart { name: "one.c", file: 1, locals: vec!["show", "count.1"] };
        assert_eq!(listing.files(), [part]);
        assert!(listing.is_linked());
    }

    #[test]
    fn headings_need_not_be_there() {
        let listing = parse("  3: 0000000000000010 16 FUNC LOCAL DEFAULT 1 show").unwrap();
        assert_eq!(listing.named("show").len(), 1);
        assert!(!listing.is_linked());
    }

    #[test]
    fn other_text_is_an_error() {
        assert_eq!(parse("").unwrap_err(), ListingError::Empty);
        assert_eq!(parse("\nhello world\n").unwrap_err(), ListingError::Line(2));
        for line in [
            "  3: zz 16 FUNC LOCAL DEFAULT 1 show",
            "  3: 0000000000000010 16 FUNC MINE DEFAULT 1 show",
            "  3: 0000000000000010 16 FUNC LOCAL DEFAULT [<other>: 88 1 show",
            "  3: 0000000000000010 16 FUNC",
        ] {
            assert_eq!(parse(line).unwrap_err(), ListingError::Line(1), "{line}");
        }
        let cut = "  3: 0000000000000010 16 FUNC LOCAL DEFAULT 1 a_long_na[...]";
        assert_eq!(parse(cut).unwrap_err(), ListingError::Truncated(1));
    }

    #[test]
    fn damaged_text_never_panics() {
        for cut in 0..TEXT.len() {
            let mut damaged = TEXT.as_bytes().to_vec();
            damaged[cut] ^= 0x55;
            let names = HashSet::from(["show"]);
            if let Ok(listing) = Listing::parse(&damaged, &names, &HashSet::new()) {
                assert!(listing.named("show").len() <= 4);
            }
            let _ = Listing::parse(&TEXT.as_bytes()[..cut], &names, &HashSet::new());
        }
    }
}

//! `/proc/kallsyms`: the symbols of the kernel that runs, and whether they are those of an image.
//!
//! The text is `s_show` of the kernel's kernel/kallsyms.c: `ADDRESS TYPE NAME`, behind a tab
//! `[MODULE]` for what is not vmlinux's: symbols of modules, bpf programs, ftrace and kprobe
//! trampolines. Vmlinux's come first, in the order of its table. Bias: all of them must agree. A
//! kernel whose first symbols agree with an image may still be another build of the same source.

use std::fmt;
use std::fs;
use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

use crate::kallsyms::Kallsyms;
use crate::kallsyms::Symbol;

/// The smallest step of KASLR: `CONFIG_PHYSICAL_ALIGN` is at least this (arch/x86/Kconfig).
const KASLR_STEP: u64 = 0x20_0000;

/// KASLR stays within `KERNEL_IMAGE_SIZE` (arch/x86/include/asm/page_64_types.h).
const KASLR_LIMIT: u64 = 1 << 30;

/// The symbols of the running vmlinux, in the order of its table.
#[derive(Debug, Clone)]
pub struct Running {
    text: String,
    symbols: Vec<Line>,
    /// How many symbols follow that are not vmlinux's.
    pub others: usize,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    address: u64,
    kind: char,
    name_start: usize,
    name_len: usize,
}

impl Running {
    /// Reads `/proc/kallsyms`, or a copy of one.
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] if it cannot be read, is malformed, or does not tell addresses.
    pub fn read(path: &Path) -> Result<Self, Refusals> {
        let name = path.display().to_string();
        let data = fs::read(path)
            .map_err(|error| refuse(&name, format!("cannot be read: {error}"), GIVE_KALLSYMS))?;
        let text = String::from_utf8(data)
            .map_err(|_| refuse(&name, "is no text".to_owned(), GIVE_KALLSYMS))?;
        Self::parse(&name, text)
    }

    /// Takes the text apart; `name` is for messages.
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] as for [`Running::read`].
    pub fn parse(name: &str, text: String) -> Result<Self, Refusals> {
        let mut symbols: Vec<Line> = Vec::new();
        let mut others = 0;
        for (index, line) in text.lines().enumerate() {
            let malformed = |what: &str| {
                let message = format!("line {} {what}", index + 1);
                refuse(name, message, GIVE_KALLSYMS)
            };
            let (symbol, module) =
                parse_line(line).ok_or_else(|| malformed("is none of `/proc/kallsyms`"))?;
            if module.is_some() {
                others += 1;
                continue;
            }
            if others > 0 {
                return Err(malformed("is of vmlinux, behind those of modules"));
            }
            let name_start = symbol.name.as_ptr() as usize - text.as_ptr() as usize;
            symbols.push(Line {
                address: symbol.address,
                kind: symbol.kind,
                name_start,
                name_len: symbol.name.len(),
            });
        }
        if symbols.is_empty() {
            return Err(refuse(name, "has no symbols".to_owned(), GIVE_KALLSYMS));
        }
        // `kallsyms_show_value`: without the right to see them all addresses are shown as 0.
        if symbols.iter().all(|symbol| symbol.address == 0) {
            let hint = "read it as root, with `kernel.kptr_restrict` below 2";
            return Err(refuse(name, "does not tell the addresses".to_owned(), hint));
        }
        Ok(Self { text, symbols, others })
    }

    /// How many symbols vmlinux has.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there are none; what was read has some.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The symbols of vmlinux in order.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.symbols.iter().map(|line| Symbol {
            address: line.address,
            kind: line.kind,
            name: &self.text[line.name_start..line.name_start + line.name_len],
        })
    }

    /// Whether the kernel that runs is the one of this table: the same names and types in the same
    /// order, all moved by one offset. Returns the offset, which is 0 without KASLR.
    ///
    /// # Errors
    /// The first symbol that is not the same.
    pub fn compare(&self, shipped: &Kallsyms) -> Result<u64, Box<Difference>> {
        let mut offset = None;
        // `s_show` leaves out those without a name.
        let mut expected = shipped.iter().filter(|symbol| !symbol.name.is_empty());
        let mut found = self.iter();
        for index in 0.. {
            let pair = (expected.next(), found.next());
            let same = match pair {
                (None, None) => break,
                (Some(expected), Some(found)) => {
                    expected.name == found.name
                        && expected.kind == found.kind
                        && moved_alike(&expected, &found, &mut offset)
                }
                _ => false,
            };
            if !same {
                return Err(Box::new(Difference {
                    index,
                    shipped: pair.0.map(Shown::from),
                    running: pair.1.map(Shown::from),
                    offset,
                }));
            }
        }
        Ok(offset.unwrap_or(0))
    }
}

/// Whether a symbol moved like those before it; the first one that moves says by how much.
fn moved_alike(shipped: &Symbol<'_>, running: &Symbol<'_>, offset: &mut Option<u64>) -> bool {
    if shipped.is_absolute() {
        return shipped.address == running.address;
    }
    let delta = running.address.wrapping_sub(shipped.address);
    match *offset {
        Some(offset) => offset == delta,
        None if delta % KASLR_STEP == 0 && delta < KASLR_LIMIT => {
            *offset = Some(delta);
            true
        }
        None => false,
    }
}

/// The first symbol by which the running kernel is not the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which symbol of vmlinux it is, counted from 0.
    pub index: usize,
    /// What the image has there; `None` behind its last symbol.
    pub shipped: Option<Shown>,
    /// What runs.
    pub running: Option<Shown>,
    /// By how much the symbols before it are moved, if there are any that move.
    pub offset: Option<u64>,
}

/// A symbol as `/proc/kallsyms` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its address.
    pub address: u64,
    /// Its type.
    pub kind: char,
    /// Its name.
    pub name: String,
}

impl From<Symbol<'_>> for Shown {
    fn from(symbol: Symbol<'_>) -> Self {
        Shown { address: symbol.address, kind: symbol.kind, name: symbol.name.to_owned() }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{:016x} {} {}`", self.address, self.kind, self.name)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |symbol: &Option<Shown>| match symbol {
            Some(symbol) => symbol.to_string(),
            None => "no symbol any more".to_owned(),
        };
        let (shipped, running) = (side(&self.shipped), side(&self.running));
        write!(f, "symbol {}: the image has {shipped}, what runs has {running}", self.index)?;
        match self.offset {
            Some(offset) => write!(f, " (those before it are moved by {offset:#x})"),
            None => Ok(()),
        }
    }
}

const GIVE_KALLSYMS: &str = "give `/proc/kallsyms`, or a copy of it as root sees it";

fn refuse(name: &str, message: String, hint: &str) -> Refusals {
    Refusal::new(Code::TargetIncomplete, Place::file(name), message, hint).into()
}

/// A line and the module that its symbol is of.
fn parse_line(line: &str) -> Option<(Symbol<'_>, Option<&str>)> {
    let (address, rest) = line.split_at_checked(16)?;
    let digits = address.bytes().all(|byte| byte.is_ascii_hexdigit());
    let address = u64::from_str_radix(address, 16).ok().filter(|_| digits)?;
    let mut rest = rest.strip_prefix(' ')?.chars();
    let kind = rest.next().filter(char::is_ascii_graphic)?;
    let rest = rest.as_str().strip_prefix(' ')?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, Some(module.strip_prefix('[')?.strip_suffix(']')?)),
        None => (rest, None),
    };
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then_some((Symbol { address, kind, name }, module))
}

#[cfg(test)]
mod tests;

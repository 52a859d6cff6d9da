//! Where the tables of kallsyms are in a kernel without symbols.
//!
//! The anchor is `kallsyms_token_index`: 256 ascending offsets from 0, each of which agrees with a
//! NUL of the token table right before it. The other tables follow from scripts/kallsyms.c of the
//! kernel; all of them are 8-aligned. Nothing is taken on trust: every marker, every length and
//! all padding must agree, and two places that both agree are a failure too.

/// The longest name that the kernel takes (`KSYM_NAME_LEN`), with its type character.
const NAME_LIMIT: usize = 513;

/// One marker for this many names.
const MARKER_STEP: usize = 256;

/// More symbols than any kernel has; the order by name could count 16 million.
const COUNT_LIMIT: usize = 1 << 20;

const TOKEN_INDEX_LEN: usize = 256 * 2;

/// The order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 6.12: number, names, markers, tokens, token index, offsets, relative base, order by name.
    OffsetsBehindTokens,
    /// 6.1: offsets, relative base, number, names, markers, order by name (not in the first 6.1
    /// kernels), tokens, token index.
    OffsetsBeforeNames,
}

impl Layout {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::OffsetsBehindTokens => "offsets behind the tokens",
            Self::OffsetsBeforeNames => "offsets before the names",
        }
    }
}

/// How addresses are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// As offsets from the lowest address.
    Relative,
    /// As such, but per-CPU symbols as they are (CONFIG_KALLSYMS_ABSOLUTE_PERCPU, before 6.15).
    AbsolutePercpu,
}

impl Addressing {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relative => "all relative",
            Self::AbsolutePercpu => "per-CPU symbols absolute",
        }
    }
}

/// The tables, found and consistent with each other.
#[derive(Debug, Clone)]
pub(super) struct Tables<'a> {
    pub(super) layout: Layout,
    /// Number of symbols.
    pub(super) count: usize,
    /// `count` names: a length of one or two bytes, then one byte per token.
    pub(super) names: &'a [u8],
    pub(super) tokens: Vec<&'a [u8]>,
    /// `count` words of 32 bit.
    pub(super) offsets: &'a [u8],
    pub(super) relative_base: u64,
    /// `count` times 24 bit, big endian: indices of the symbols in order of their names.
    pub(super) by_name: Option<&'a [u8]>,
}

/// Finds the tables.
pub(super) fn find(data: &[u8]) -> Result<Tables<'_>, String> {
    let mut found = None;
    for at in (0..data.len().saturating_sub(TOKEN_INDEX_LEN - 1)).step_by(8) {
        // Nearly all places end here: the first offset is 0, the second small and not 0.
        if data[at] != 0 || data[at + 1] != 0 || data[at + 2] == 0 && data[at + 3] == 0 {
            continue;
        }
        let Some(tables) = tables_around(data, at) else { continue };
        if found.replace(tables).is_some() {
            return Err("holds two symbol tables (kallsyms)".to_string());
        }
    }
    found.ok_or_else(|| {
        "its symbol table (kallsyms) is not found: it is of an unknown layout or damaged"
            .to_string()
    })
}

fn tables_around(data: &[u8], token_index: usize) -> Option<Tables<'_>> {
    let (tokens_at, tokens) = token_table(data, token_index)?;
    let found = |layout, names: Names<'_>, offsets_at: usize, base_at: usize, by_name| {
        let base = data.get(base_at..base_at + 8)?;
        Some(Tables {
            layout,
            count: names.count,
            names: data.get(names.at..names.at + names.bytes.len())?,
            tokens,
            offsets: data.get(offsets_at..offsets_at.checked_add(names.count * 4)?)?,
            relative_base: u64::from_le_bytes(base.try_into().ok()?),
            by_name,
        })
    };

    // Markers that end right before the tokens: whether an order by name follows the offsets tells
    // the layouts apart.
    if let Some(names) = names_before(data, tokens_at) {
        let offsets_at = token_index + TOKEN_INDEX_LEN;
        let base_at = (offsets_at + names.count * 4).next_multiple_of(8);
        let by_name = data.get(base_at + 8..base_at + 8 + names.count * 3);
        if by_name.is_some_and(|by_name| is_permutation(by_name, names.count)) {
            return found(Layout::OffsetsBehindTokens, names, offsets_at, base_at, by_name);
        }
    }
    let (names, by_name) = names_before_tokens(data, tokens_at)?;
    let base_at = names.at.checked_sub(16)?;
    let offsets_at = base_at.checked_sub((names.count * 4).next_multiple_of(8))?;
    let tables = found(Layout::OffsetsBeforeNames, names, offsets_at, base_at, by_name)?;
    // The base is an address of the kernel's half.
    (tables.relative_base >> 47 == 0x1_ffff).then_some(tables)
}

/// Names and markers of the older layout, with the order by name that may be between the markers
/// and the tokens.
fn names_before_tokens(data: &[u8], tokens_at: usize) -> Option<(Names<'_>, Option<&[u8]>)> {
    if let Some(names) = names_before(data, tokens_at) {
        return Some((names, None));
    }
    (8..=COUNT_LIMIT * 3).step_by(8).find_map(|gap| {
        let by_name_at = tokens_at.checked_sub(gap)?;
        // Three bytes for each symbol: the number of markers must fit before anything is decoded.
        let fewest = (gap - 7).div_ceil(3);
        let (_, markers) = markers(data, by_name_at)?;
        let possible = fewest.div_ceil(MARKER_STEP)..=(gap / 3).div_ceil(MARKER_STEP);
        if !possible.contains(&markers.len()) {
            return None;
        }
        let names = names_before(data, by_name_at)?;
        let len = names.count * 3;
        let by_name = data.get(by_name_at..by_name_at + len)?;
        let fits = len.next_multiple_of(8) == gap
            && is_padding(data.get(by_name_at + len..tokens_at)?)
            && is_permutation(by_name, names.count);
        fits.then_some((names, Some(by_name)))
    })
}

/// Names with the markers that agree with them.
struct Names<'a> {
    at: usize,
    count: usize,
    bytes: &'a [u8],
}

/// The names whose markers end at `end`.
fn names_before(data: &[u8], end: usize) -> Option<Names<'_>> {
    let (markers_at, markers) = markers(data, end)?;
    names(data, markers_at, &markers)
}

/// The start of the token table and the 256 tokens, by the index at `at`.
fn token_table(data: &[u8], at: usize) -> Option<(usize, Vec<&[u8]>)> {
    let index: Vec<usize> = data
        .get(at..at + TOKEN_INDEX_LEN)?
        .chunks_exact(2)
        .map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])))
        .collect();
    if index[0] != 0 || index.windows(2).any(|pair| pair[0] >= pair[1]) {
        return None;
    }
    // The last token's length is not known: try every 8-aligned start that leaves room for one.
    let last = index[255];
    let shortest = (last + 1).next_multiple_of(8);
    let longest = (last + NAME_LIMIT).next_multiple_of(8);
    (shortest..=longest).step_by(8).find_map(|len| {
        let start = at.checked_sub(len)?;
        let table = &data[start..at];
        let last_len = table[last..].iter().position(|&byte| byte == 0)?;
        let end = last + last_len + 1;
        let ends = index[1..].iter().copied().chain([end]);
        let tokens: Option<Vec<&[u8]>> = index
            .iter()
            .zip(ends)
            .map(|(&start, end)| {
                let (&nul, token) = table[start..end].split_last()?;
                (nul == 0 && !token.contains(&0)).then_some(token)
            })
            .collect();
        (is_padding(&table[end..])).then_some((start, tokens?))
    })
}

/// The start of the markers that end at `end`, and the markers.
fn markers(data: &[u8], end: usize) -> Option<(usize, Vec<usize>)> {
    let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
    let mut at = end.checked_sub(4)?;
    if word(at)? == 0 {
        // An odd number of markers: padding.
        at = at.checked_sub(4)?;
    }
    let mut markers = Vec::new();
    loop {
        let marker = word(at)?;
        if markers.last().is_some_and(|&later| marker as usize >= later) {
            return None;
        }
        markers.push(marker as usize);
        if marker == 0 {
            break;
        }
        at = at.checked_sub(4)?;
    }
    markers.reverse();
    (at % 8 == 0).then_some((at, markers))
}

/// The names that end (but for padding) at `end`.
fn names<'a>(data: &'a [u8], end: usize, markers: &[usize]) -> Option<Names<'a>> {
    let last_marker = *markers.last()?;
    let counts = (markers.len() - 1) * MARKER_STEP + 1..=markers.len() * MARKER_STEP;
    let shortest = (last_marker + 2).next_multiple_of(8);
    let longest = last_marker + MARKER_STEP * (NAME_LIMIT + 2) + 8;
    (shortest..=longest).step_by(8).find_map(|len| {
        let start = end.checked_sub(len)?;
        // `kallsyms_num_syms`, padded to 8 bytes, is right before the names.
        let number = u64::from_le_bytes(data.get(start.checked_sub(8)?..start)?.try_into().ok()?);
        let count = usize::try_from(number).ok().filter(|count| counts.contains(count))?;
        let used = walk(&data[start..end], count, markers)?;
        let bytes = &data[start..start + used];
        is_padding(&data[start + used..end]).then_some(Names { at: start, count, bytes })
    })
}

/// Length of `count` names, if every marker is where the names say.
fn walk(names: &[u8], count: usize, markers: &[usize]) -> Option<usize> {
    let mut rest = names;
    for index in 0..count {
        let at = names.len() - rest.len();
        if index % MARKER_STEP == 0 && markers.get(index / MARKER_STEP) != Some(&at) {
            return None;
        }
        rest = split_name(rest)?.1;
    }
    Some(names.len() - rest.len())
}

/// The tokens of the first name and what follows it. A length of 0x80 and more takes a second byte
/// (ULEB128, since 6.1).
pub(super) fn split_name(names: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = names.split_first()?;
    let (len, rest) = if first & 0x80 == 0 {
        (usize::from(first), rest)
    } else {
        let (&second, rest) = rest.split_first()?;
        (usize::from(first & 0x7f) | (usize::from(second) << 7), rest)
    };
    if len == 0 { None } else { rest.split_at_checked(len) }
}

/// An index of 24 bit, big endian (`get_symbol_seq` in kernel/kallsyms.c).
pub(super) fn sequence(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, &byte| (value << 8) | usize::from(byte))
}

fn is_permutation(sequences: &[u8], count: usize) -> bool {
    let mut seen = vec![false; count];
    sequences.chunks_exact(3).all(|bytes| {
        seen.get_mut(sequence(bytes)).is_some_and(|seen| !std::mem::replace(seen, true))
    })
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes.len() < 8 && bytes.iter().all(|&byte| byte == 0)
}

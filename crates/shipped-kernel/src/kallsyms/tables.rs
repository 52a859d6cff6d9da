//! Where the tables of kallsyms are in a kernel without symbols.
//!
//! The anchor is `kallsyms_token_index`: 256 ascending offsets from 0, each of which agrees with a
//! NUL of the token table right before it. The other tables follow from scripts/kallsyms.c of the
//! kernel; all of them are 8-aligned, since 7.0 4-aligned. Nothing is taken on trust: every marker,
//! every length and all padding must agree, and two places that both agree are a failure too.

use super::layout::Layout;

/// The longest name that the kernel takes (`KSYM_NAME_LEN`), with its type character.
const NAME_LIMIT: usize = 513;

/// One marker for this many names.
const MARKER_STEP: usize = 256;

/// More symbols than any kernel has; the order by name could count 16 million.
const COUNT_LIMIT: usize = 1 << 20;

const TOKEN_INDEX_LEN: usize = 256 * 2;

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
    /// Where they are in the data.
    pub(super) offsets_at: usize,
    /// 0 in the layout that has none.
    pub(super) relative_base: u64,
    /// `count` times 24 bit, big endian: indices of the symbols in order of their names.
    pub(super) by_name: Option<&'a [u8]>,
}

/// Finds the tables.
pub(super) fn find(data: &[u8]) -> Result<Tables<'_>, String> {
    let mut found = None;
    for at in (0..data.len().saturating_sub(TOKEN_INDEX_LEN - 1)).step_by(4) {
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
    if token_index % 8 == 0 {
        if let Some(tables) = tables_with_base(data, token_index) {
            return Some(tables);
        }
    }
    let (tokens_at, tokens) = token_table(data, token_index, 4)?;
    let names = names_before(data, tokens_at, 4)?;
    let offsets_at = token_index + TOKEN_INDEX_LEN;
    let by_name_at = offsets_at + names.count * 4;
    let by_name = data.get(by_name_at..by_name_at + names.count * 3)?;
    is_permutation(by_name, names.count).then_some(Tables {
        layout: Layout::PlaceRelative,
        count: names.count,
        names: names.bytes,
        tokens,
        offsets: data.get(offsets_at..by_name_at)?,
        offsets_at,
        relative_base: 0,
        by_name: Some(by_name),
    })
}

/// The layouts with a relative base, in which all tables are 8-aligned.
fn tables_with_base(data: &[u8], token_index: usize) -> Option<Tables<'_>> {
    let (tokens_at, tokens) = token_table(data, token_index, 8)?;
    let found = |layout, names: Names<'_>, offsets_at: usize, base_at: usize, by_name| {
        let base = data.get(base_at..base_at + 8)?;
        Some(Tables {
            layout,
            count: names.count,
            names: data.get(names.at..names.at + names.bytes.len())?,
            tokens,
            offsets: data.get(offsets_at..offsets_at.checked_add(names.count * 4)?)?,
            offsets_at,
            relative_base: u64::from_le_bytes(base.try_into().ok()?),
            by_name,
        })
    };

    // Markers that end right before the tokens: whether an order by name follows the offsets tells
    // the layouts apart.
    if let Some(names) = names_before(data, tokens_at, 8) {
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
    if let Some(names) = names_before(data, tokens_at, 8) {
        return Some((names, None));
    }
    (8..=COUNT_LIMIT * 3).step_by(8).find_map(|gap| {
        let by_name_at = tokens_at.checked_sub(gap)?;
        // Three bytes for each symbol: the number of markers must fit before anything is decoded.
        let fewest = (gap - 7).div_ceil(3);
        let (_, markers) = markers(data, by_name_at, 8)?;
        let possible = fewest.div_ceil(MARKER_STEP)..=(gap / 3).div_ceil(MARKER_STEP);
        if !possible.contains(&markers.len()) {
            return None;
        }
        let names = names_before(data, by_name_at, 8)?;
        let len = names.count * 3;
        let by_name = data.get(by_name_at..by_name_at + len)?;
        let fits = len.next_multiple_of(8) == gap
            && is_padding(data.get(by_name_at + len..tokens_at)?, 8)
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
fn names_before(data: &[u8], end: usize, align: usize) -> Option<Names<'_>> {
    let (markers_at, markers) = markers(data, end, align)?;
    names(data, markers_at, &markers, align)
}

/// The start of the token table and the 256 tokens, by the index at `at`.
fn token_table(data: &[u8], at: usize, align: usize) -> Option<(usize, Vec<&[u8]>)> {
    let index = data.get(at..at + TOKEN_INDEX_LEN)?;
    let offsets = index.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    // Before anything is collected: nearly all places that come here end after a few numbers.
    if index[..2] != [0, 0] || !offsets.clone().is_sorted_by(|before, after| before < after) {
        return None;
    }
    let index: Vec<usize> = offsets.map(usize::from).collect();
    // The last token's length is not known: try every aligned start that leaves room for one.
    let last = index[255];
    let shortest = (last + 1).next_multiple_of(align);
    let longest = (last + NAME_LIMIT).next_multiple_of(align);
    (shortest..=longest).step_by(align).find_map(|len| {
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
        is_padding(&table[end..], align).then_some((start, tokens?))
    })
}

/// The start of the markers that end at `end`, and the markers.
fn markers(data: &[u8], end: usize, align: usize) -> Option<(usize, Vec<usize>)> {
    let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
    let mut at = end.checked_sub(4)?;
    if align == 8 && word(at)? == 0 {
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
    (at % align == 0).then_some((at, markers))
}

/// The names that end (but for padding) at `end`.
fn names<'a>(data: &'a [u8], end: usize, markers: &[usize], align: usize) -> Option<Names<'a>> {
    let last_marker = *markers.last()?;
    let counts = (markers.len() - 1) * MARKER_STEP + 1..=markers.len() * MARKER_STEP;
    let shortest = (last_marker + 2).next_multiple_of(align);
    let longest = last_marker + MARKER_STEP * (NAME_LIMIT + 2) + align;
    (shortest..=longest).step_by(align).find_map(|len| {
        let start = end.checked_sub(len)?;
        // `kallsyms_num_syms`, 4 bytes and padding, is right before the names.
        let number = data.get(start.checked_sub(align)?..start)?;
        let (number, padding) = number.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*number)).ok()?;
        if !counts.contains(&count) || !is_padding(padding, align) {
            return None;
        }
        let used = walk(&data[start..end], count, markers)?;
        let bytes = &data[start..start + used];
        is_padding(&data[start + used..end], align).then_some(Names { at: start, count, bytes })
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

fn is_padding(bytes: &[u8], align: usize) -> bool {
    bytes.len() < align && bytes.iter().all(|&byte| byte == 0)
}

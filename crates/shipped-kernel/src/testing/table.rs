//! An encoder of kallsyms that shares nothing with the decoder but the format.

use super::kernel::BASE;
use crate::kallsyms::Layout;

/// Address, type and name of a symbol.
pub type Listed = (u64, char, String);

/// How the kernel's build writes addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// CONFIG_KALLSYMS_BASE_RELATIVE alone.
    Relative,
    /// With CONFIG_KALLSYMS_ABSOLUTE_PERCPU.
    AbsolutePercpu,
}

/// Where a table whose offsets count from their own place is loaded: among the symbols, so that they are
/// on both sides of it.
pub const TABLE: u64 = BASE + 0x2000;

/// Codes above ASCII stand for strings; 0x80 is one that joins a type and a name.
const STRINGS: [(u8, &str); 5] =
    [(0x80, "Tsys_"), (0x81, "_init"), (0x82, "linux_"), (0xfe, "__"), (0xff, "banner")];

/// An encoder that shares nothing with the decoder but the format: greedy, longest string first.
///
/// # Errors
/// An address too far from the first one of the kernel.
pub fn encode(
    layout: Layout,
    rule: Rule,
    symbols: &[Listed],
) -> Result<Vec<u8>, std::num::TryFromIntError> {
    encode_with(layout, layout == Layout::OffsetsBehindTokens, rule, symbols)
}

/// `ordered`: with the order by name, which the older layout may lack.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(
    layout: Layout,
    ordered: bool,
    rule: Rule,
    symbols: &[Listed],
) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let newest = layout == Layout::PlaceRelative;
    let step = if newest { 4 } else { 8 };
    let align = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(step), 0);
    let base = symbols.iter().map(|symbol| symbol.0).find(|&address| address >= BASE).unwrap();
    let mut offsets = Vec::new();
    for &(address, _, _) in symbols.iter().filter(|_| !newest) {
        let offset = match rule {
            Rule::Relative => u32::try_from(address - base)?,
            Rule::AbsolutePercpu if address < BASE => u32::try_from(address)?,
            Rule::AbsolutePercpu => u32::MAX - u32::try_from(address - base)?,
        };
        offsets.extend(offset.to_le_bytes());
    }
    let mut out = Vec::new();
    if layout == Layout::OffsetsBeforeNames {
        out.extend(&offsets);
        align(&mut out);
        out.extend(base.to_le_bytes());
    }
    out.extend((symbols.len() as u32).to_le_bytes());
    align(&mut out);

    let (mut names, mut markers) = (Vec::new(), Vec::new());
    for (index, (_, kind, name)) in symbols.iter().enumerate() {
        if index % 256 == 0 {
            markers.extend((names.len() as u32).to_le_bytes());
        }
        let text = format!("{kind}{name}");
        let mut codes = Vec::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.bytes().next() {
            let token = STRINGS.iter().find(|(_, string)| rest.starts_with(string));
            let (code, len) = token.map_or((first, 1), |(code, string)| (*code, string.len()));
            codes.push(code);
            rest = &rest[len..];
        }
        if codes.len() > 0x7f {
            names.push(codes.len() as u8 | 0x80);
            names.push((codes.len() >> 7) as u8);
        } else {
            names.push(codes.len() as u8);
        }
        names.extend(codes);
    }
    out.extend(names);
    align(&mut out);
    out.extend(markers);
    align(&mut out);
    let mut order: Vec<usize> = (0..symbols.len()).collect();
    order.sort_by_key(|&index| &symbols[index].2);
    let by_name = order.iter().flat_map(|&index| (index as u32).to_be_bytes()[1..].to_vec());
    if ordered && layout == Layout::OffsetsBeforeNames {
        out.extend(by_name.clone());
        align(&mut out);
    }

    let (mut tokens, mut token_index) = (Vec::new(), Vec::new());
    for code in 0..=255_u8 {
        token_index.extend((tokens.len() as u16).to_le_bytes());
        match STRINGS.iter().find(|(known, _)| *known == code) {
            Some((_, string)) => tokens.extend(string.bytes()),
            None if (0x20..0x7f).contains(&code) => tokens.push(code),
            None => tokens.extend(b"unused"),
        }
        tokens.push(0);
    }
    out.extend(tokens);
    align(&mut out);
    out.extend(token_index);

    if newest {
        for (address, _, _) in symbols {
            let place = TABLE + out.len() as u64;
            let offset = i32::try_from(address.wrapping_sub(place) as i64)?;
            out.extend(offset.to_le_bytes());
        }
        out.extend(by_name.clone());
    }
    if layout == Layout::OffsetsBehindTokens {
        out.extend(offsets);
        align(&mut out);
        out.extend(base.to_le_bytes());
        out.extend(by_name);
    }
    Ok(out)
}

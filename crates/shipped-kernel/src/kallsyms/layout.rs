//! The forms of kallsyms, by which the kernel's versions differ (scripts/kallsyms.c).

/// The order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 6.12: number, names, markers, tokens, token index, offsets, relative base, order by name.
    OffsetsBehindTokens,
    /// 6.1: offsets, relative base, number, names, markers, order by name (not in the first 6.1
    /// kernels), tokens, token index.
    OffsetsBeforeNames,
    /// 7.0: as [`OffsetsBehindTokens`](Self::OffsetsBehindTokens), but without a relative base: each
    /// offset counts from its own place.
    PlaceRelative,
}

impl Layout {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::OffsetsBehindTokens => "offsets behind the tokens",
            Self::OffsetsBeforeNames => "offsets before the names",
            Self::PlaceRelative => "offsets behind the tokens, no relative base",
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
    /// As offsets from the place where the offset is (since 7.0).
    PlaceRelative,
}

impl Addressing {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relative => "all relative",
            Self::AbsolutePercpu => "per-CPU symbols absolute",
            Self::PlaceRelative => "each relative to its place",
        }
    }
}

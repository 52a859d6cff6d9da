//! What kind of code is at an address: the parts of the kernel's text that cannot be patched, by the
//! marker symbols of arch/x86/kernel/vmlinux.lds.S and include/asm-generic/vmlinux.lds.h.

use std::ops::Range;

use kpatch_refusal::Refusals;

use super::range;
use crate::image::Image;
use crate::image::unreadable;
use crate::kallsyms::Kallsyms;

/// What kind of code is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Ordinary code.
    Normal,
    /// Code that must not be instrumented, ftrace included.
    Noinstr,
    /// Entry points of interrupts and system calls, in assembly.
    Entry,
    /// Code or data that is freed once the kernel or module has initialised.
    Init,
    /// No code of the kernel.
    None,
}

impl Text {
    /// The kind of a section of a module, by its name (`module_init_layout_section` in
    /// kernel/module/main.c).
    pub fn of_section(name: &str) -> Self {
        match name {
            _ if name.starts_with(".init") => Self::Init,
            ".noinstr.text" | ".cpuidle.text" => Self::Noinstr,
            ".entry.text" => Self::Entry,
            _ => Self::Normal,
        }
    }
}

/// The parts of the image's text.
#[derive(Debug, Clone)]
pub struct TextRanges {
    /// What is in several, as entry text is in text, is of the first kind.
    ranges: Vec<(Range<u64>, Text)>,
}

impl TextRanges {
    /// Reads the markers.
    ///
    /// # Errors
    /// [`ImageUnreadable`](kpatch_refusal::Code::ImageUnreadable) if those of text or init are
    /// missing, or one is there without its other.
    pub fn of_image(image: &Image, kallsyms: &Kallsyms) -> Result<Self, Refusals> {
        let init = required(image, kallsyms, ("__init_begin", "__init_end"))?;
        let mut ranges = vec![(init, Text::Init)];
        for (markers, kind) in [
            (("__noinstr_text_start", "__noinstr_text_end"), Text::Noinstr),
            (("__entry_text_start", "__entry_text_end"), Text::Entry),
        ] {
            let found = range(image, kallsyms, markers)?;
            ranges.extend(found.map(|(start, end)| (start..end, kind)));
        }
        ranges.extend(core(image, kallsyms)?.map(|range| (range, Text::Normal)));
        Ok(Self { ranges })
    }

    /// What is at an address to which the kernel is linked.
    pub fn what_is(&self, address: u64) -> Text {
        let found = self.ranges.iter().find(|(range, _)| range.contains(&address));
        found.map_or(Text::None, |(_, kind)| *kind)
    }
}

/// All code that ftrace accepts (`is_kernel_text` and `is_kernel_inittext`).
pub(super) fn core(image: &Image, kallsyms: &Kallsyms) -> Result<[Range<u64>; 2], Refusals> {
    Ok([
        required(image, kallsyms, ("_stext", "_etext"))?,
        required(image, kallsyms, ("_sinittext", "_einittext"))?,
    ])
}

fn required(
    image: &Image,
    kallsyms: &Kallsyms,
    markers: (&str, &str),
) -> Result<Range<u64>, Refusals> {
    let found = range(image, kallsyms, markers)?;
    found
        .map(|(start, end)| start..end)
        .ok_or_else(|| unreadable(&image.name, format!("its symbol table lacks `{}`", markers.0)))
}

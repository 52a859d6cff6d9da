//! Which functions ftrace can redirect: `__mcount_loc`.
//!
//! Source: `ftrace_process_locs` and `ftrace_location` in kernel/trace/ftrace.c, by which
//! `klp_patch_func` finds the place (kernel/livepatch/patch.c). The kernel takes any entry between a
//! function's first byte and the next symbol, but asks for one at the first byte before. Bias: an entry
//! counts only where the compiler puts it, at the first instruction but ENDBR64, since the text of a
//! discarded weak function that follows a function without an entry seems to be a part of it.

use kpatch_refusal::Refusals;

use super::IMAGE;
use super::Site;
use super::table;
use super::text;
use super::u64s;
use crate::image::Image;
use crate::image::unreadable;
use crate::kallsyms::Kallsyms;
use crate::modules::Module;

/// Size of ENDBR64, behind which the call to `__fentry__` may be (`FTRACE_MCOUNT_MAX_OFFSET`).
const ENDBR_SIZE: u64 = 4;

/// All places where functions call `__fentry__`.
#[derive(Debug, Clone, Default)]
pub struct FtraceSites {
    /// In ascending order.
    sites: Vec<Site>,
}

impl FtraceSites {
    /// Reads the image's table.
    ///
    /// # Errors
    /// [`ImageUnreadable`](kpatch_refusal::Code::ImageUnreadable) if there is none, or its bounds
    /// are not clear: every kernel that can be livepatched has one.
    pub fn of_image(image: &Image, kallsyms: &Kallsyms) -> Result<Self, Refusals> {
        let refuse = |what: &str| unreadable(&image.name, what.to_string());
        let markers = ("__start_mcount_loc", "__stop_mcount_loc");
        let (_, bytes) = table(image, kallsyms, markers)?
            .ok_or_else(|| refuse("it has no table of ftrace's places (`__mcount_loc`)"))?;
        if bytes.len() % 8 != 0 {
            return Err(refuse("its table of ftrace's places is damaged"));
        }
        // Entries of discarded weak functions are 0 or lead nowhere; the kernel skips them, too.
        let core = text::core(image, kallsyms)?;
        let is_text = |address: &u64| core.iter().any(|range| range.contains(address));
        let mut sites: Vec<Site> =
            u64s(bytes).filter(is_text).map(|address| (IMAGE, address)).collect();
        sites.sort_unstable();
        if sites.is_empty() {
            return Err(refuse("its table of ftrace's places names no code"));
        }
        Ok(Self { sites })
    }

    /// Reads a module's table; a module of data or assembly only has none.
    ///
    /// # Errors
    /// [`TargetIncomplete`](kpatch_refusal::Code::TargetIncomplete) if it cannot be read.
    pub fn of_module(module: &Module) -> Result<Self, Refusals> {
        let mut sites = Vec::new();
        for section in module.sections_named("__mcount_loc") {
            let relocations = module.relocations(section)?;
            sites.extend(relocations.iter().filter_map(|relocation| module.target(relocation)));
        }
        sites.sort_unstable();
        Ok(Self { sites })
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether there are no places.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Whether the function of the image at this address (as the kernel is linked) can be redirected;
    /// `size` in bytes reaches to the next symbol ([`Kallsyms::size`]).
    pub fn has_entry(&self, address: u64, size: u64) -> bool {
        self.is_own((IMAGE, address), size)
    }

    /// Whether the function at that offset of a module's section can be redirected.
    pub fn has_entry_in(&self, section: usize, offset: u64, size: u64) -> bool {
        section != IMAGE && self.is_own((section, offset), size)
    }

    /// Whether the entry that the kernel finds is certain, and the function's own.
    fn is_own(&self, (section, start): Site, size: u64) -> bool {
        let end = start.saturating_add(size);
        let from = self.sites.partition_point(|site| *site < (section, start));
        let mut inside = self.sites[from..].iter().take_while(|site| **site < (section, end));
        match (inside.next(), inside.next()) {
            (Some((_, site)), _) if *site == start => true,
            (Some((_, site)), None) => site - start == ENDBR_SIZE,
            _ => false,
        }
    }
}

//! Which functions may be called through a pointer where indirect branches are tracked
//! (CONFIG_X86_KERNEL_IBT): `.ibt_endbr_seal`.
//!
//! Source: `apply_seal_endbr` in arch/x86/kernel/alternative.c: the kernel overwrites the ENDBR64 of
//! all functions in the table, in an image at boot, in a module when it is loaded. An indirect call
//! of one is a fault on hardware that has IBT.

use kpatch_refusal::Refusals;

use super::IMAGE;
use super::Site;
use super::i32s;
use super::table;
use crate::image::Image;
use crate::image::unreadable;
use crate::kallsyms::Kallsyms;
use crate::modules::Module;

/// The instruction that an indirect branch has to find.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// The table of what is sealed.
const SECTION: &str = ".ibt_endbr_seal";

/// All sealed functions.
#[derive(Debug, Clone, Default)]
pub struct EndbrSeals {
    /// In ascending order.
    sites: Vec<Site>,
}

impl EndbrSeals {
    /// Reads the image's table: 32-bit distances, each from its own place. A kernel without IBT has
    /// none.
    ///
    /// # Errors
    /// [`ImageUnreadable`](kpatch_refusal::Code::ImageUnreadable) if its bounds are not clear.
    pub fn of_image(image: &Image, kallsyms: &Kallsyms) -> Result<Self, Refusals> {
        let markers = ("__ibt_endbr_seal", "__ibt_endbr_seal_end");
        let Some((start, bytes)) = table(image, kallsyms, markers)? else {
            return Ok(Self::default());
        };
        if bytes.len() % 4 != 0 {
            let message = format!("its table `{SECTION}` is damaged");
            return Err(unreadable(&image.name, message));
        }
        let places = (0..).map(|index: u64| start.wrapping_add(4 * index));
        let targets = places
            .zip(i32s(bytes))
            .map(|(place, distance)| place.wrapping_add_signed(distance.into()));
        let mut sites: Vec<Site> = targets.map(|address| (IMAGE, address)).collect();
        sites.sort_unstable();
        Ok(Self { sites })
    }

    /// Reads a module's table.
    ///
    /// # Errors
    /// [`TargetIncomplete`](kpatch_refusal::Code::TargetIncomplete) if it cannot be read.
    pub fn of_module(module: &Module) -> Result<Self, Refusals> {
        let mut sites = Vec::new();
        for section in module.sections_named(SECTION) {
            let relocations = module.relocations(section)?;
            sites.extend(relocations.iter().filter_map(|relocation| module.target(relocation)));
        }
        sites.sort_unstable();
        Ok(Self { sites })
    }

    /// Whether nothing is sealed: the kernel is built without IBT (a kernel with it has thousands of
    /// functions that nothing calls indirectly).
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Number of sealed functions.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether code may branch indirectly to an address of the image: it starts with ENDBR64 and is
    /// not sealed.
    pub fn may_be_called(&self, image: &Image, address: u64) -> bool {
        image.bytes_at(address, ENDBR64.len()) == Some(&ENDBR64)
            && self.sites.binary_search(&(IMAGE, address)).is_err()
    }

    /// The same for a place in a module, whose seals these are.
    pub fn may_be_called_in(&self, module: &Module, section: usize, offset: u64) -> bool {
        let code = usize::try_from(offset)
            .ok()
            .and_then(|offset| module.section_data(section)?.get(offset..));
        code.is_some_and(|code| code.starts_with(&ENDBR64))
            && self.sites.binary_search(&(section, offset)).is_err()
    }
}

//! What a distribution ships of a kernel: image, kallsyms, modules, exports, configuration.

mod banner;
mod decompress;
mod image;
mod kallsyms;
#[cfg(test)]
mod testing;

pub use banner::Banner;
pub use image::Image;
pub use kallsyms::Kallsyms;
pub use kallsyms::Layout;
pub use kallsyms::Symbol;

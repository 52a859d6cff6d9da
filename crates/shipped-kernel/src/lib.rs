//! What a distribution ships of a kernel: image, kallsyms, modules, exports, configuration.

mod banner;
mod decompress;
mod image;
#[cfg(test)]
mod testing;

pub use banner::Banner;
pub use image::Image;

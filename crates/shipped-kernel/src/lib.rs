//! What a distribution ships of a kernel: image, kallsyms, modules, exports, configuration.
//!
//! Everything is read without external tools and from untouched files: nothing need be installed,
//! and no debug information is needed. The image is the truth about the running kernel; what does
//! not agree with it is refused. Errors are refusals, since they speak of the user's kernel.
//!
//! | What | Where | Used for |
//! |---|---|---|
//! | `vmlinuz` | [`Image`] | release, source version, compiler, build-id, code by address |
//! | kallsyms in it | [`Kallsyms`] | addresses and positions of vmlinux symbols |
//! | `/proc/kallsyms` | [`running`] | whether an image is the kernel that runs |
//! | `*.ko*` | [`modules`] | symbols of modules, dependencies |
//! | `Module.symvers` | [`symvers`] | which references may stay ordinary ones |
//! | `.config` | [`config`] | refusals before anything is compiled, drift |
//! | | [`symbols`] | how the kernel's livepatch core finds a name |
//! | | [`references`] | who may know an address |
//! | | [`tables`] | what image and modules say in their own tables: ftrace, IBT, exports, vermagic |

mod banner;
pub mod config;
mod decompress;
mod image;
mod kallsyms;
pub mod modules;
pub mod references;
pub mod running;
pub mod symbols;
pub mod symvers;
pub mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use banner::Banner;
pub use config::Config;
pub use config::Drift;
pub use image::Image;
pub use kallsyms::Addressing;
pub use kallsyms::Kallsyms;
pub use kallsyms::Layout;
pub use kallsyms::Symbol;
pub use modules::Module;
pub use modules::ModuleFiles;
pub use modules::ModuleRelocation;
pub use modules::ModuleSection;
pub use modules::ModuleSymbol;
pub use running::Running;
pub use symbols::Found;
pub use symbols::Position;
pub use symvers::Export;
pub use symvers::Exports;
pub use tables::EndbrSeals;
pub use tables::FtraceSites;
pub use tables::Text;
pub use tables::TextRanges;

//! Real kernels in QEMU: the harness that boots a stock kernel, loads what the tool built, and
//! proves the old behaviour before, the new one while it is loaded, and the old one again after.
//!
//! Bias: *when unsure, fail*. A case passes only if every step that it announced reported success
//! and the kernel log holds nothing that the case did not name. `README.md` beside this crate
//! describes the format of the cases.

pub mod build;
pub mod built;
pub mod case;
pub mod cpio;
pub mod initramfs;
pub mod kernel;
pub mod modules;
pub mod mutate;
pub mod programs;
pub mod qemu;
pub mod rebuild;
pub mod self_diff;
pub mod serial;
pub mod tree;

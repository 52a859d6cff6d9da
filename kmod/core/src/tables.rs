// SPDX-License-Identifier: GPL-2.0-only

//! What a module's other parts hand to the core: the tables of what is patched, which the toolchain or
//! [`livepatch!`](crate::livepatch) made, and storage for what the kernel wants to have.

pub(crate) mod build;
pub(crate) mod callbacks;
pub(crate) mod functions;
pub(crate) mod params;

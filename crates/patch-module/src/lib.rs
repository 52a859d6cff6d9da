//! Wraps diff objects, C glue and the Rust core into an intermediate kernel module.

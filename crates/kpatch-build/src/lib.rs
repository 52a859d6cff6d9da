//! From a source patch to a livepatch module.

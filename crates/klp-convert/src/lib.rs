//! Turns an intermediate module into a livepatch module, and verifies one.

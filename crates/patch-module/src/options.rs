//! What of the target kernel's configuration decides how the core is compiled and linked.

use anyhow::Context;
use anyhow::Result;

/// The options of a kernel that its Makefiles turn into compiler flags for Rust code
/// (`arch/x86/Makefile`, `scripts/generate_rust_target.rs`) or into objtool's schedule
/// (`scripts/Makefile.lib`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelOptions {
    /// Indirect branches go through thunks: `MITIGATION_RETPOLINE`, `RETPOLINE` before 6.9.
    pub retpoline: bool,
    /// Returns go through a thunk: `MITIGATION_RETHUNK`, `RETHUNK` before 6.9.
    pub rethunk: bool,
    /// Straight-line speculation is stopped behind returns: `MITIGATION_SLS`, `SLS` before 6.9.
    pub sls: bool,
    /// Indirect branches must land on ENDBR: `X86_KERNEL_IBT`.
    pub ibt: bool,
    /// Bytes of padding before each function: `FUNCTION_PADDING_BYTES`, if `CALL_PADDING` is set.
    pub call_padding: Option<u32>,
    /// Every function keeps a frame pointer: `FRAME_POINTER`.
    pub frame_pointer: bool,
    /// kbuild runs objtool on finished modules, not on their parts: with `X86_KERNEL_IBT`,
    /// `LTO_CLANG`, and with `KLP_BUILD`, which Linux 6.19 introduced.
    pub objtool_on_modules: bool,
    /// The compiler of a kernel with Rust support, as it calls itself: `RUSTC_VERSION_TEXT`, if `RUST`
    /// is set.
    pub rustc: Option<String>,
}

impl KernelOptions {
    /// The options by a look-up in a `.config`: the value of an option named without `CONFIG_`
    /// (`y`, `16`), `None` if it is not set.
    ///
    /// # Errors
    /// When functions are padded but `FUNCTION_PADDING_BYTES` is not a number.
    pub fn from_config(value: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let is_on = |name: &str| value(name).as_deref() == Some("y");
        // Linux 6.9 put the mitigations' options into a name space of their own.
        let mitigation = |name: &str| is_on(&format!("MITIGATION_{name}")) || is_on(name);
        let call_padding = if is_on("CALL_PADDING") {
            let bytes = value("FUNCTION_PADDING_BYTES").unwrap_or_default();
            let bytes = bytes.parse().with_context(|| {
                format!(
                    "CONFIG_CALL_PADDING is set, but CONFIG_FUNCTION_PADDING_BYTES is `{bytes}`"
                )
            })?;
            Some(bytes)
        } else {
            None
        };
        let rustc = value("RUSTC_VERSION_TEXT").filter(|_| is_on("RUST"));
        Ok(Self {
            rustc: rustc.map(|text| text.trim_matches('"').to_owned()),
            retpoline: mitigation("RETPOLINE"),
            rethunk: mitigation("RETHUNK"),
            sls: mitigation("SLS"),
            ibt: is_on("X86_KERNEL_IBT"),
            call_padding,
            frame_pointer: is_on("FRAME_POINTER"),
            objtool_on_modules: is_on("X86_KERNEL_IBT") || is_on("LTO_CLANG") || is_on("KLP_BUILD"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(config: &[(&str, &str)]) -> Result<KernelOptions> {
        KernelOptions::from_config(|name| {
            let found = config.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn debian_6_12() {
        let found = options(&[
            ("CALL_PADDING", "y"),
            ("FUNCTION_PADDING_BYTES", "16"),
            ("MITIGATION_RETPOLINE", "y"),
            ("MITIGATION_RETHUNK", "y"),
            ("MITIGATION_SLS", "y"),
            ("X86_KERNEL_IBT", "y"),
        ]);
        let expected = KernelOptions {
            retpoline: true,
            rethunk: true,
            sls: true,
            ibt: true,
            call_padding: Some(16),
            frame_pointer: false,
            objtool_on_modules: true,
            rustc: None,
        };
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn debian_6_1_has_the_old_names_and_no_ibt() {
        let found = options(&[("RETPOLINE", "y"), ("RETHUNK", "y"), ("SLS", "y")]).unwrap();
        let expected =
            KernelOptions { retpoline: true, rethunk: true, sls: true, ..KernelOptions::default() };
        assert_eq!(found, expected);
    }

    #[test]
    fn padding_without_a_size_is_an_error() {
        assert!(options(&[("CALL_PADDING", "y")]).is_err());
        assert!(options(&[("CALL_PADDING", "y"), ("FUNCTION_PADDING_BYTES", "x")]).is_err());
    }

    #[test]
    fn the_kernels_rustc_counts_where_it_was_used() {
        let text = ("RUSTC_VERSION_TEXT", "\"rustc 1.96.0 (ac68faa20 2026-05-25)\"");
        assert_eq!(options(&[text]).unwrap().rustc, None);
        let with_rust = options(&[text, ("RUST", "y")]).unwrap();
        assert_eq!(with_rust.rustc.as_deref(), Some("rustc 1.96.0 (ac68faa20 2026-05-25)"));
    }

    #[test]
    fn klp_build_delays_objtool() {
        assert!(options(&[("KLP_BUILD", "y")]).unwrap().objtool_on_modules);
    }
}

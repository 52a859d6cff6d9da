//! The kernel's configuration: what is on, what preparing a source tree changed, what is refused.
//!
//! Bias: every difference between the shipped and the prepared configuration that is not on a
//! list here is drift. A tool that is missing while the source is prepared drops options in
//! silence, and structures move.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// A configuration. Symbols are written without `CONFIG_`; one that is not set is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<String, String>,
}

impl Config {
    /// Reads a `.config` (or `/boot/config-RELEASE`).
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] if it cannot be read or a line is malformed.
    pub fn read(path: &Path) -> Result<Self, Refusals> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            refuse(Place::file(&name), format!("the configuration cannot be read: {error}"))
        })?;
        Self::parse(&name, &text)
    }

    /// Parses the text of a `.config`; `name` is for messages. As in Kconfig, a later line counts
    /// (scripts/kconfig/confdata.c, `conf_read_simple`).
    ///
    /// # Errors
    /// [`Code::TargetIncomplete`] for a malformed line, or a text that sets nothing.
    pub fn parse(name: &str, text: &str) -> Result<Self, Refusals> {
        let mut values = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let unset =
                line.strip_prefix("# CONFIG_").and_then(|rest| rest.strip_suffix(" is not set"));
            if let Some(symbol) = unset {
                values.remove(symbol);
            } else if !line.is_empty() && !line.starts_with('#') {
                let assignment = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('='));
                let Some((symbol, value)) = assignment.filter(|(symbol, _)| !symbol.is_empty())
                else {
                    let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
                    let message = "is not a line of a kernel configuration".to_string();
                    return Err(refuse(Place::file(name).line(line), message));
                };
                values.insert(symbol.to_string(), value.to_string());
            }
        }
        if values.is_empty() {
            return Err(refuse(Place::file(name), "sets nothing".to_string()));
        }
        Ok(Self { values })
    }

    /// Whether a symbol is `y`.
    pub fn is_enabled(&self, symbol: &str) -> bool {
        self.raw(symbol) == Some("y")
    }

    /// Whether a symbol is `m`.
    pub fn is_module(&self, symbol: &str) -> bool {
        self.raw(symbol) == Some("m")
    }

    /// The value of a symbol as it is written, a string with its quotes; `None` if it is not set.
    pub fn raw(&self, symbol: &str) -> Option<&str> {
        self.values.get(symbol).map(String::as_str)
    }

    /// The value of a symbol that is a string, without quotes and escapes; `None` if it is not set
    /// or no string.
    pub fn string(&self, symbol: &str) -> Option<String> {
        let quoted = self.raw(symbol)?.strip_prefix('"')?.strip_suffix('"')?;
        let mut value = String::with_capacity(quoted.len());
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            value.push(if c == '\\' { chars.next()? } else { c });
        }
        Some(value)
    }

    /// The configuration with its strings as [`Config::string`] gives them. So are those in
    /// `include/config/auto.conf`, which tells what a kernel was built with (scripts/kconfig/confdata.c,
    /// `print_symbol_for_autoconf`); before 6.1 they have quotes there, too.
    pub fn unquoted(&self) -> Self {
        let plain = |(symbol, value): (&String, &String)| {
            let value = self.string(symbol).unwrap_or_else(|| value.clone());
            (symbol.clone(), value)
        };
        Self { values: self.values.iter().map(plain).collect() }
    }

    /// All symbols that are set, with their values as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(symbol, value)| (symbol.as_str(), value.as_str()))
    }
}

fn refuse(place: Place, message: String) -> Refusals {
    let hint = "give the `.config` of the kernel's headers package";
    Refusal::new(Code::TargetIncomplete, place, message, hint).into()
}

/// A symbol that preparing the source changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// Without `CONFIG_`.
    pub symbol: String,
    /// As the kernel was built, `None` for not set.
    pub shipped: Option<String>,
    /// As the source was prepared, `None` for not set.
    pub prepared: Option<String>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or("not set".to_string());
        let Self { symbol, shipped, prepared } = self;
        write!(f, "CONFIG_{symbol}: {} was shipped, {} prepared", show(shipped), show(prepared))
    }
}

/// Versions of tools. They describe the tool and change no code; what does depend on them is a
/// symbol of its own. The compiler is compared by CC_VERSION_TEXT, elsewhere and strictly.
const TOOL_VERSIONS: &[&str] = &[
    "AS_VERSION",
    "BINDGEN_VERSION_TEXT",
    "CC_VERSION_TEXT",
    "CLANG_VERSION",
    "GCC_VERSION",
    "LD_VERSION",
    "LLD_VERSION",
    "PAHOLE_VERSION",
    "RUSTC_LLVM_VERSION",
    "RUSTC_VERSION",
    "RUSTC_VERSION_TEXT",
];

/// What names the build or its keys: it goes into notes and certificates, not into code. With
/// MODULE_SIG_ALL modules are signed when they are installed; Debian's `/boot/config-*` has it off
/// where the headers have it on.
const BUILD_IDENTITY: &[&str] = &[
    "BUILD_SALT",
    "MODULE_SIG_ALL",
    "MODULE_SIG_KEY",
    "SYSTEM_REVOCATION_KEYS",
    "SYSTEM_TRUSTED_KEYS",
];

/// Answers of rustc to Kconfig's probes: without Rust in the kernel nobody asks for them.
const RUST_PROBES: &[&str] = &["RUSTC_", "RUST_IS_AVAILABLE", "BINDGEN_"];

fn is_allowed(symbol: &str, rust: bool) -> bool {
    TOOL_VERSIONS.contains(&symbol)
        || BUILD_IDENTITY.contains(&symbol)
        || !rust && RUST_PROBES.iter().any(|probe| symbol.starts_with(probe))
}

/// What differs between the configuration that was shipped and the one that preparing the source
/// made of it, by symbol. Not counted: versions of tools, the build's salt and keys, and probes of
/// rustc where the kernel has no Rust. If anything does count, a tool that is gone altogether
/// (version 0) is listed too, as the likely reason.
pub fn drift(shipped: &Config, prepared: &Config) -> Vec<Drift> {
    let symbols: BTreeSet<&String> = shipped.values.keys().chain(prepared.values.keys()).collect();
    let rust = shipped.is_enabled("RUST") || prepared.is_enabled("RUST");
    let (mut explanations, mut drift): (Vec<Drift>, Vec<Drift>) = symbols
        .into_iter()
        .map(|symbol| Drift {
            symbol: symbol.clone(),
            shipped: shipped.values.get(symbol).cloned(),
            prepared: prepared.values.get(symbol).cloned(),
        })
        .filter(|change| change.shipped != change.prepared)
        .partition(|change| is_allowed(&change.symbol, rust));
    if !drift.is_empty() {
        explanations.retain(is_tool_gone);
        drift.append(&mut explanations);
        drift.sort();
    }
    drift
}

fn is_tool_gone(change: &Drift) -> bool {
    let is_version = TOOL_VERSIONS.contains(&change.symbol.as_str());
    is_version && matches!(change.prepared.as_deref(), None | Some("0" | "\"\""))
}

/// The Debian package whose absence explains a drift, if there is one.
pub fn missing_package(drift: &[Drift]) -> Option<&'static str> {
    let lost = |symbol: &str| {
        drift.iter().any(|change| {
            change.symbol == symbol && change.shipped.is_some() && change.prepared.is_none()
        })
    };
    let gone =
        |symbol: &str| drift.iter().any(|change| change.symbol == symbol && is_tool_gone(change));
    if lost("DEBUG_INFO_BTF") || lost("DEBUG_INFO_BTF_MODULES") || lost("PAHOLE_HAS_SPLIT_BTF") {
        Some("dwarves")
    } else if lost("RUST") && gone("RUSTC_VERSION") {
        Some("rustc")
    } else if lost("RUST") && gone("BINDGEN_VERSION_TEXT") {
        Some("bindgen")
    } else {
        None
    }
}

/// Features that change the code of a whole kernel in ways that are not tested yet: the symbols of
/// which one must not be set, and what they are.
const UNSUPPORTED: &[(&[&str], &str)] = &[
    (&["LTO", "LTO_CLANG", "LTO_GCC"], "link-time optimisation"),
    (&["RANDSTRUCT", "GCC_PLUGIN_RANDSTRUCT"], "randomised structure layout"),
    (&["GCC_PLUGIN_LATENT_ENTROPY"], "the latent entropy plugin"),
    (&["CFI", "CFI_CLANG"], "control-flow integrity (kCFI)"),
    (&["KASAN"], "the address sanitizer"),
    (&["KMSAN"], "the memory sanitizer"),
    (&["KCSAN"], "the concurrency sanitizer"),
    (&["GCOV_KERNEL"], "gcov profiling"),
    (&["KCOV"], "coverage for fuzzing"),
];

/// Why a kernel of this configuration is refused before anything is compiled; empty if it is not.
pub fn unsupported(config: &Config) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if !config.is_enabled("LIVEPATCH") {
        refusals.push(Refusal::new(
            Code::LivepatchOff,
            Place::default().symbol("CONFIG_LIVEPATCH"),
            "the kernel cannot be livepatched: CONFIG_LIVEPATCH is not set",
            "use a kernel with CONFIG_LIVEPATCH=y; Debian's amd64 kernels have it",
        ));
    }
    for (symbols, feature) in UNSUPPORTED {
        let Some(symbol) = symbols.iter().find(|symbol| config.is_enabled(symbol)) else {
            continue;
        };
        refusals.push(Refusal::new(
            Code::UnsupportedConfig,
            Place::default().symbol(format!("CONFIG_{symbol}")),
            format!("the kernel is built with {feature}, which is not supported yet"),
            format!("use a kernel without CONFIG_{symbol}"),
        ));
    }
    refusals
}

#[cfg(test)]
mod tests;

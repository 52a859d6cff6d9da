//! The form that programs read, as JSON; docs/image.md describes it. Addresses are text in
//! hexadecimal: not every reader of JSON keeps 64 bits.

use serde::Serialize;

/// The version of the schema; it grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The file, as named on the command line.
    pub file: String,
    /// How it is compressed; null if it is not.
    pub compression: Option<&'static str>,
    /// The GNU build-id in hexadecimal; null if there is none.
    pub build_id: Option<String>,
    /// Number of symbols.
    pub symbol_count: usize,
    /// What a kernel says of itself; null for a module.
    pub kernel: Option<KernelReport>,
    /// What a module says of itself; null for a kernel.
    pub module: Option<ModuleReport>,
    /// All symbols, in the order in which the kernel counts them; null if not asked for.
    pub symbols: Option<Vec<SymbolReport>>,
    /// The symbols that were asked for, by name, and those of one name in the order in which the kernel
    /// counts them; null if not asked for.
    pub functions: Option<Vec<FunctionReport>>,
}

/// What a kernel says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// Its banner, as in `/proc/version`.
    pub banner: String,
    /// What `uname -r` prints.
    pub release: String,
    /// The version of its source.
    pub source_version: String,
    /// The version of Debian's source package; null elsewhere.
    pub package_version: Option<String>,
    /// The compiler that built it.
    pub compiler: String,
    /// The order of the tables of its kallsyms.
    pub kallsyms_layout: &'static str,
    /// How addresses are written in its kallsyms.
    pub kallsyms_addresses: &'static str,
    /// By how much KASLR moved the kernel that runs, in hexadecimal; null if not asked for. If what
    /// runs is another kernel, there is no document.
    pub kaslr_offset: Option<String>,
}

/// What a module says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleReport {
    /// As the kernel names it.
    pub name: String,
    /// The kernel that it is for.
    pub vermagic: String,
    /// Modules that are loaded before.
    pub depends: Vec<String>,
}

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SymbolReport {
    /// Address to which vmlinux is linked, or offset in the module's section, in hexadecimal.
    pub address: String,
    /// The module's section; null for vmlinux, and for what no section defines.
    pub section: Option<String>,
    /// One letter, as `nm` has it.
    pub kind: char,
    /// Its name.
    pub name: String,
}

/// A function, or anything else that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionReport {
    /// Where it is.
    #[serde(flatten)]
    pub symbol: SymbolReport,
    /// The position by which livepatch names it: 0 if the name is unique, else from 1. Null if livepatch
    /// cannot name it.
    pub sympos: Option<usize>,
    /// How many symbols of the name there are.
    pub same_name: usize,
    /// Bytes to the next symbol (vmlinux), or as the module's symbol says. Null if nothing tells.
    pub size: Option<u64>,
    /// Its bytes in the file, in hexadecimal; empty if the file has none (zeroed data, per-CPU data).
    pub bytes: String,
    /// Its instructions; empty if it is no code.
    pub code: Vec<InstructionReport>,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstructionReport {
    /// Where, in bytes from the symbol.
    pub offset: u64,
    /// Its bytes in hexadecimal.
    pub bytes: String,
    /// AT&T syntax; what it refers to is shown by name.
    pub text: String,
}

impl ImageReport {
    /// The document, with a line end.
    ///
    /// # Errors
    /// Never in practice: there are no maps with keys that are no strings.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Bytes in hexadecimal, without spaces.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// An address as `nm` prints it.
pub fn address(value: u64) -> String {
    format!("{value:016x}")
}

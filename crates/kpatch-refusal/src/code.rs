//! The one table of refusal codes. A code, once released, keeps its meaning; new ones are added at
//! the end of their group: 01 the patch, 02 the target kernel, 03 compiling, 04 the difference,
//! 05 symbols, 06 the finished module.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $summary:literal;)*) => {
        /// A stable refusal code, printed as `KPBnnnn`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $summary] $name,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The number in `KPBnnnn`.
            pub fn number(self) -> u16 {
                match self { $(Code::$name => $number),* }
            }

            /// What the code means, in one line.
            pub fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary),* }
            }
        }
    };
}

codes! {
    PatchDoesNotApply = 101, "a hunk does not apply to the source tree";
    TouchesAssembly = 102, "the patch touches assembly code";
    TouchesBuildFile = 103, "the patch touches Kconfig, or more of a Makefile than lists of its new objects";
    FileNotBuilt = 104, "the patch touches a file that is not built into this kernel";
    PatchMalformed = 105, "the patch file cannot be understood";
    TouchesHeader = 106, "the patch touches a header that the build itself uses";
    AddsOrRemovesFile = 107, "the patch adds a file that no object can be made of, or removes, renames or changes the mode of one";
    NotKernelText = 108, "the patched code does not become kernel text (boot, vDSO, realmode, EFI stub)";
    TouchesRust = 109, "the patch touches Rust code";
    TooManyObjects = 110, "a header is used by more objects than one patch should hold";
    GeneratedChanged = 111, "a file that the build generates would change";

    VersionMismatch = 201, "source, headers and image are not of the same version";
    CompilerMismatch = 202, "the compiler is not the one that built the kernel";
    ConfigDrift = 203, "preparing the source changed the kernel's configuration";
    LivepatchOff = 204, "the kernel is built without CONFIG_LIVEPATCH";
    UnsupportedConfig = 205, "the kernel uses a feature that livepatching does not support yet";
    ImageUnreadable = 206, "the kernel image cannot be read";
    TargetIncomplete = 207, "a part of the target kernel is missing";
    PrepareFailed = 208, "the source tree cannot be prepared for building";
    NoBuildId = 209, "the kernel or a module has no build-id to be known by";
    ExportsMismatch = 210, "the kernel's exports are not those of Module.symvers";
    NotWhatRuns = 211, "the unpatched source does not compile to the code that the kernel runs";

    DoesNotCompile = 301, "the patched source does not compile";
    OriginalDoesNotCompile = 302, "the unpatched source does not compile";
    NotMachineCode = 303, "the compiler's output is not x86-64 machine code";

    InitChanged = 401, "code or data that is gone after boot or module load is changed";
    DataChanged = 402, "initialised data is changed";
    NoFtraceEntry = 403, "a changed function cannot be redirected: it has no ftrace entry";
    UnrelocatedBranch = 404, "a changed function refers into its section where no relocation can be put";
    RuntimeConst = 405, "a changed function holds constants that only boot code fixes";
    UnknownSection = 406, "an unknown section refers to a changed function";
    WeakChanged = 407, "a changed function is weak: another definition may be the one that runs";
    AmbiguousMatch = 408, "symbols of the original and the patched object cannot be matched with certainty";
    DataLayoutChanged = 409, "the size or section of existing data is changed";
    UnsupportedSection = 410, "a section's content cannot be carried into a livepatch module";
    ModuleOwnedKey = 411, "a changed function uses a static key or static call that a module owns";
    UnsupportedObject = 413, "the object file has a form that is not supported";
    SeveralCallbacks = 414, "an object of the kernel has several callbacks of one kind";
    AuthorMacro = 415, "a macro of the patch's author asks for what cannot be done";
    TypeLayoutChanged = 416, "the layout of a structure is changed";
    ExportAdded = 417, "the patch exports a symbol that the kernel does not";

    SymbolNotUnique = 501, "a symbol's name is not unique in the kernel";
    SymbolNotFound = 502, "a symbol is not in the kernel";
    NameTooLong = 503, "a name is longer than the kernel's livepatch core can take";
    ModuleDependency = 504, "a reference to a module that the patched object does not depend on";
    NotReachable = 505, "an address is taken of a function that the kernel has sealed against indirect calls";

    WeakUndefinedLeft = 601, "a weak undefined symbol is left: it would resolve to address 0";
    ObjtoolDidNotRun = 602, "objtool did not run on the module";
    IndirectTargetSealed = 603, "a function that is reached indirectly is sealed by IBT";
    ModuleMalformed = 604, "the module breaks the kernel's contract for livepatch modules";
    UnsupportedRelocation = 605, "a relocation that the kernel's module loader does not know";
    CoreNotSelfContained = 606, "the Rust core needs symbols that the kernel does not offer";
    ObjtoolWarned = 607, "objtool found fault with the code of the module";
    NotForKernel = 608, "the module does not fit the kernel's image";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KPB{:04}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascending() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }
}

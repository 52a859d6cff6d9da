//! How Rust code for the inside of a given kernel is compiled by a given rustc: the target
//! description and the flags that kbuild would use (Linux 6.12 to 7.x: `Makefile`,
//! `arch/x86/Makefile`, `scripts/generate_rust_target.rs`).

use crate::options::KernelOptions;

/// A version of rustc: major, minor. Patch releases change no interface.
pub(crate) type Version = (u32, u32);

/// The target description (JSON) that suits a compiler of `version`.
pub(crate) fn description(version: Version, options: &KernelOptions) -> String {
    let mut features = String::from("-mmx,+soft-float");
    if options.retpoline {
        features.push_str(",+retpoline-external-thunk");
        features.push_str(",+retpoline-indirect-branches,+retpoline-indirect-calls");
    }
    if options.sls {
        features.push_str(",+harden-sls-ijmp,+harden-sls-ret");
    }
    // Names and types that rustc changed over time.
    let abi = match version {
        (1, ..=85) => "",
        (1, ..=97) => "\n  \"rustc-abi\": \"x86-softfloat\",",
        _ => "\n  \"rustc-abi\": \"softfloat\",",
    };
    let pointer_width = if version < (1, 91) { "\"64\"" } else { "64" };
    format!(
        r#"{{
  "arch": "x86_64",{abi}
  "data-layout": "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128",
  "emit-debug-gdb-scripts": false,
  "features": "{features}",
  "frame-pointer": "may-omit",
  "llvm-target": "x86_64-linux-gnu",
  "stack-probes": {{"kind": "none"}},
  "target-pointer-width": {pointer_width}
}}
"#
    )
}

/// The flags that every crate of the module is compiled with, `core` included. The target
/// description and the sources are not among them.
pub(crate) fn flags(version: Version, options: &KernelOptions) -> Vec<String> {
    let mut flags: Vec<String> = [
        // Custom target descriptions are unstable.
        "-Zunstable-options",
        // No standard library but the one that we name.
        "--sysroot=/dev/null",
        "-Cpanic=abort",
        "-Cembed-bitcode=n",
        "-Clto=n",
        "-Cforce-unwind-tables=n",
        "-Ccodegen-units=1",
        "-Csymbol-mangling-version=v0",
        // The module loader knows no GOT.
        "-Crelocation-model=static",
        "-Ccode-model=kernel",
        "-Cno-redzone=y",
        "-Ctarget-feature=-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,-avx2",
        "-Zfunction-sections=n",
        "-Copt-level=2",
        "-Cdebuginfo=0",
        "-Cdebug-assertions=n",
        "-Coverflow-checks=n",
        // An indirect jump per table would need a retpoline or ENDBR.
        if version < (1, 93) { "-Zno-jump-tables" } else { "-Cjump-tables=n" },
    ]
    .map(String::from)
    .to_vec();
    if options.rethunk {
        flags.push("-Zfunction-return=thunk-extern".into());
    }
    if options.ibt {
        flags.push("-Zcf-protection=branch".into());
    }
    if let Some(bytes) = options.call_padding {
        flags.push(format!("-Zpatchable-function-entry={bytes},{bytes}"));
    }
    if options.frame_pointer {
        flags.push("-Cforce-frame-pointers=y".into());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mitigated() -> KernelOptions {
        KernelOptions {
            retpoline: true,
            rethunk: true,
            sls: true,
            ibt: true,
            call_padding: Some(16),
            ..KernelOptions::default()
        }
    }

    #[test]
    fn description_follows_the_compiler() {
        let at = |version| description(version, &KernelOptions::default());
        assert!(!at((1, 85)).contains("rustc-abi"));
        assert!(at((1, 85)).contains(r#""target-pointer-width": "64""#));
        assert!(at((1, 90)).contains(r#""rustc-abi": "x86-softfloat""#));
        assert!(at((1, 90)).contains(r#""target-pointer-width": "64""#));
        assert!(at((1, 91)).contains(r#""target-pointer-width": 64"#));
        assert!(at((1, 98)).contains(r#""rustc-abi": "softfloat""#));
    }

    #[test]
    fn mitigations_reach_the_compiler() {
        let plain = KernelOptions::default();
        let retpolines = "retpoline-external-thunk";
        assert!(description((1, 96), &mitigated()).contains(retpolines));
        assert!(description((1, 96), &mitigated()).contains("+harden-sls-ret"));
        assert!(!description((1, 96), &plain).contains("retpoline"));

        let new: Vec<String> = flags((1, 96), &mitigated())
            .into_iter()
            .filter(|flag| !flags((1, 96), &plain).contains(flag))
            .collect();
        assert_eq!(
            new,
            [
                "-Zfunction-return=thunk-extern",
                "-Zcf-protection=branch",
                "-Zpatchable-function-entry=16,16",
            ]
        );
    }

    #[test]
    fn there_are_never_jump_tables() {
        let plain = KernelOptions::default();
        assert!(flags((1, 92), &plain).contains(&"-Zno-jump-tables".to_owned()));
        assert!(flags((1, 93), &plain).contains(&"-Cjump-tables=n".to_owned()));
    }
}

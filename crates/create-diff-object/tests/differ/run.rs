//! Runs emitted code: linked with the original object in the place of the kernel, the livepatch core
//! played by the linker. What the emitted object does then does not depend on how the tests read it.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::livepatch;

use crate::case::Case;
use crate::case::WantedRun;
use crate::compile;
use crate::compile::Pair;
use crate::compilers;

/// The parts of the kernel that every function needs, and the search for the new function.
const PRELUDE: &str = r#"
#include <stdio.h>
#include <string.h>
asm(".globl __fentry__, __x86_return_thunk\n__fentry__: __x86_return_thunk: ret\n"
    ".irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15\n"
    ".globl __x86_indirect_thunk_\\r\n__x86_indirect_thunk_\\r: jmp *%\\r\n.endr\n");
int outside(int x) { return x + 1000; }
struct record { int (*new)(); const char *name, *object; unsigned long position; };
extern const struct record __start_patched_functions[], __stop_patched_functions[];
static int (*find(const char *name))()
{
    const struct record *r;
    for (r = __start_patched_functions; r < __stop_patched_functions; r++)
        if (!strcmp(r->name, name))
            return r->new;
    printf("no function %s\n", name);
    return 0;
}
"#;

/// Makes the calls that a case asks for, in order, in one process.
pub(crate) fn calls(case: &Case, pair: &Pair, emitted: &ObjectFile) -> Result<(), String> {
    if case.runs.is_empty() {
        return Ok(());
    }
    let directory = pair.directory.path();
    let mut source = format!("{PRELUDE}int main(void)\n{{\n");
    for WantedRun { function, arguments, .. } in &case.runs {
        let _ = writeln!(source, "printf(\"%d\\n\", find(\"{function}\")({arguments}));");
    }
    source.push_str("return 0;\n}\n");
    let main = directory.join("main.c");
    fs::write(&main, source).map_err(|e| e.to_string())?;

    // Local symbols of the original become visible, as they are to the livepatch core.
    let kernel = directory.join("kernel.o");
    let mut objcopy = Command::new("objcopy");
    for symbol in &pair.original.symbols {
        if symbol.section().is_some() && symbol.binding == Binding::Local && !symbol.name.is_empty()
        {
            objcopy.arg(format!("--globalize-symbol={}", symbol.name));
        }
    }
    compile::run(objcopy.arg(pair.original_path()).arg(&kernel))?;
    let patch = directory.join("patch.o");
    let mut objcopy = Command::new("objcopy");
    objcopy.arg(format!("--rename-section={}=patched_functions", livepatch::FUNCTIONS));
    compile::run(objcopy.arg(directory.join("emitted.o")).arg(&patch))?;

    let program = directory.join("program");
    let mut link = Command::new(compilers::gcc());
    link.args(["-w", "-O1", "-fno-pie", "-no-pie", "-static", "-Wl,-z,noexecstack", "-o"]);
    link.arg(&program).arg(&main).arg(&kernel).arg(&patch);
    for symbol in emitted.symbols.iter().filter(|s| s.definition == Definition::Undefined) {
        if symbol.binding == Binding::Weak {
            link.arg(format!("-Wl,--defsym={}={}", symbol.name, meant(&symbol.name)));
        }
    }
    compile::run(&mut link)?;
    let output = Command::new(&program).output().map_err(|e| e.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let wanted: String = case.runs.iter().map(|run| format!("{}\n", run.result)).collect();
    if printed != wanted || !output.status.success() {
        return Err(format!("{}: printed\n{printed}expected\n{wanted}", output.status));
    }
    Ok(())
}

/// The symbol behind a placeholder's unique name, which ends in `.<object>.<name>.<position>`.
fn meant(placeholder: &str) -> &str {
    let start = placeholder.match_indices('.').nth(4).map_or(0, |(at, _)| at + 1);
    let end = placeholder.rfind('.').unwrap_or(placeholder.len());
    &placeholder[start..end]
}

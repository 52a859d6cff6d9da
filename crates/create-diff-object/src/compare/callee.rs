//! Tells a line number from what it is an argument of, where no debug information says it: a function
//! that is known to take a line there, or the name of the source file in the argument before.

use iced_x86::FlowControl;
use iced_x86::InstructionInfoFactory;
use iced_x86::Mnemonic;
use iced_x86::OpAccess;
use iced_x86::OpKind;
use iced_x86::Register;

use super::code::Step;
use super::code::Steps;

use crate::normalize::atoms::AtomKind;
use crate::normalize::references;
use crate::normalize::references::Reference;
use crate::normalize::references::Target;
use crate::normalize::side::Side;

/// Registers of the first integer arguments (System V ABI for x86-64).
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// How many instructions lie at most between an argument and its call.
const FARTHEST_CALL: usize = 24;

/// Functions of the kernel that take `__LINE__`, and in which argument, from 0.
///
/// Sources (Linux 6.12): `include/linux/{kernel,lockdep,jbd2}.h`, `include/asm-generic/bug.h`,
/// `include/acpi/acpixf.h`, `drivers/acpi/acpica/{acdebug,acutils}.h`, `include/acpi/acoutput.h`,
/// `fs/btrfs/{messages,transaction}.h`, `fs/ext4/{ext4,ext4_jbd2,xattr}.h`,
/// `fs/xfs/xfs_{message,error}.h`; `___might_sleep` is that of kernels before 5.17.
const TAKES_LINE: &[(&str, usize)] = &[
    ("__might_sleep", 1),
    ("___might_sleep", 1),
    ("__might_resched", 1),
    ("__might_fault", 1),
    ("__cant_sleep", 1),
    ("__cant_migrate", 1),
    ("lockdep_rcu_suspicious", 1),
    ("warn_slowpath_fmt", 1),
    ("warn_slowpath_null", 1),
    ("warn_slowpath_fmt_taint", 1),
    ("__jbd2_debug", 3),
    ("acpi_error", 1),
    ("acpi_warning", 1),
    ("acpi_info", 1),
    ("acpi_exception", 1),
    ("acpi_bios_error", 1),
    ("acpi_bios_warning", 1),
    ("acpi_bios_exception", 1),
    ("acpi_debug_print", 1),
    ("acpi_debug_print_raw", 1),
    ("acpi_ut_allocate_object_desc_dbg", 1),
    ("acpi_ut_method_error", 1),
    ("acpi_ut_predefined_bios_error", 1),
    ("acpi_ut_predefined_info", 1),
    ("acpi_ut_predefined_warning", 1),
    ("acpi_ut_prefixed_namespace_error", 1),
    ("acpi_ut_create_internal_object_dbg", 1),
    ("__btrfs_abort_transaction", 2),
    ("__btrfs_handle_fs_error", 2),
    ("__btrfs_std_error", 2),
    ("__btrfs_panic", 2),
    ("__ext4_error", 2),
    ("__ext4_error_inode", 2),
    ("__ext4_error_file", 2),
    ("__ext4_std_error", 2),
    ("__ext4_warning", 2),
    ("__ext4_warning_inode", 2),
    ("__ext4_grp_locked_error", 1),
    ("__ext4_journal_start_sb", 2),
    ("__ext4_journal_stop", 1),
    ("__ext4_journal_get_write_access", 1),
    ("__ext4_journal_get_create_access", 1),
    ("__ext4_forget", 1),
    ("__ext4_handle_dirty_metadata", 1),
    ("ext4_check_blockref", 1),
    ("__ext4_check_dir_entry", 1),
    ("__ext4_ext_check", 1),
    ("__ext4_ext_dirty", 1),
    ("__ext4_iget", 4),
    ("__ext4_journal_start_reserved", 1),
    ("__ext4_mark_inode_dirty", 3),
    ("__ext4_read_dirblock", 4),
    ("__read_extent_tree_block", 1),
    ("__warn_no_space_for_csum", 2),
    ("__xattr_check_inode", 4),
    ("__dump_mmp_msg", 3),
    ("assfail", 3),
    ("asswarn", 3),
];

/// What the use of a number says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Nothing.
    Unknown,
    /// It stands behind the name of its function, as a line may.
    BesideFunction,
    /// It is a line: what is called takes one there, or it stands behind the name of its file.
    Line,
}

/// What is done with the immediate of the instruction of that index.
pub(super) fn use_of(steps: &Steps<'_>, index: usize) -> Use {
    let argument = steps.list.get(index).and_then(argument);
    let Some(argument) = argument else { return Use::Unknown };
    let Some(path) = way_to_call(steps, index, ARGUMENTS[argument]) else { return Use::Unknown };
    let callee = path.last().and_then(|call| symbol(steps, &steps.list[*call]));
    if callee.is_some_and(|name| TAKES_LINE.contains(&(name, argument))) {
        return Use::Line;
    }
    let before = argument.checked_sub(1).map(|before| ARGUMENTS[before]);
    let load = before.and_then(|register| load(steps, index, &path, register));
    match load.map(|step| named(steps, step)) {
        Some(Some(text)) if is_source_file(text) => Use::Line,
        Some(Some(text))
            if text
                == steps.side.name(steps.atom).split('.').next().unwrap_or_default().as_bytes() =>
        {
            Use::BesideFunction
        }
        _ => Use::Unknown,
    }
}

/// The number of the argument that an instruction loads with an immediate.
fn argument(step: &Step<'_>) -> Option<usize> {
    let instruction = &step.instruction;
    let loads =
        instruction.mnemonic() == Mnemonic::Mov && instruction.op0_kind() == OpKind::Register;
    let register = loads.then(|| instruction.op0_register().full_register())?;
    ARGUMENTS.iter().position(|argument| *argument == register)
}

/// The instructions from behind that of `index` to the next call, if they are run through one after the
/// other and leave `register` alone.
fn way_to_call(steps: &Steps<'_>, index: usize, register: Register) -> Option<Vec<usize>> {
    let mut info = InstructionInfoFactory::new();
    let mut path = Vec::new();
    let mut at = index + 1;
    while path.len() < FARTHEST_CALL {
        let step = steps.list.get(at)?;
        path.push(at);
        let is_direct = references::is_near_branch(&step.instruction);
        match step.instruction.flow_control() {
            FlowControl::Call => return is_direct.then_some(path),
            FlowControl::UnconditionalBranch if is_direct => {
                if symbol(steps, step).is_some() {
                    return Some(path);
                }
                let target = step.instruction.near_branch_target();
                at = steps.list.binary_search_by_key(&target, |step| step.start).ok()?;
                continue;
            }
            FlowControl::Next => {}
            _ => return None,
        }
        if writes(&mut info, step, register) {
            return None;
        }
        at += 1;
    }
    None
}

fn writes(info: &mut InstructionInfoFactory, step: &Step<'_>, register: Register) -> bool {
    info.info(&step.instruction).used_registers().iter().any(|used| {
        used.register().full_register() == register
            && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None)
    })
}

/// The name of the function that a branch with relocation goes to.
fn symbol<'a>(steps: &Steps<'a>, step: &Step<'_>) -> Option<&'a str> {
    let section = steps.side.atoms[steps.atom].section;
    let reference = steps.side.references_in(section, step.start..step.end).first()?;
    match reference.target {
        Target::Extern(symbol) => Some(steps.side.object[symbol].name.as_str()),
        Target::Atom(atom) if atom != steps.atom => Some(steps.side.name(atom)),
        _ => None,
    }
}

/// What loads `register` for the call at the end of `path`.
fn load<'s, 'a>(
    steps: &'s Steps<'a>,
    index: usize,
    path: &[usize],
    register: Register,
) -> Option<&'s Step<'a>> {
    let mut info = InstructionInfoFactory::new();
    let before = (0..index)
        .rev()
        .take(FARTHEST_CALL)
        .take_while(|at| steps.list[*at].instruction.flow_control() == FlowControl::Next);
    let on_the_way = path.split_last().map_or(&[][..], |(_, way)| way);
    let loads = on_the_way.iter().rev().copied().chain(before);
    loads.map(|at| &steps.list[at]).find(|step| writes(&mut info, step, register))
}

/// The text whose address an instruction loads: a string, or the name of a function.
fn named<'a>(steps: &Steps<'a>, step: &Step<'_>) -> Option<&'a [u8]> {
    let loads = matches!(step.instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Lea);
    let is_address = step.instruction.mnemonic() == Mnemonic::Lea
        || step.instruction.op1_kind() != OpKind::Memory;
    if !loads || !is_address {
        return None;
    }
    let section = steps.side.atoms[steps.atom].section;
    text(steps.side, steps.side.references_in(section, step.start..step.end).first()?)
}

/// The string or the function's name (`__func__`) that a reference leads to, without the NUL at its end.
pub(super) fn text<'a>(side: &'a Side<'_>, reference: &Reference) -> Option<&'a [u8]> {
    let Target::Atom(atom) = reference.target else { return None };
    let is_text = match side.atoms[atom].kind {
        AtomKind::String => true,
        _ => side.name(atom).starts_with("__func__") || side.name(atom).starts_with("__FUNCTION__"),
    };
    if !is_text {
        return None;
    }
    let text = side.bytes(atom).get(usize::try_from(reference.delta).ok()?..)?;
    text.split(|byte| *byte == 0).next()
}

/// Whether a string is the name of a source file, as `__FILE__` is.
pub(super) fn is_source_file(text: &[u8]) -> bool {
    text.ends_with(b".c") || text.ends_with(b".h")
}

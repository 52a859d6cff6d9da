//! A kernel's image. Addresses are those to which it is linked; each is named by the symbol that the
//! kernel itself would name in a stack trace.

use anyhow::Result;
use create_diff_object::explain::syntax::Operands;
use create_diff_object::explain::syntax::with_offset;
use create_diff_object::normalize::references::is_near_branch;
use iced_x86::Instruction;
use iced_x86::OpKind;
use iced_x86::Register;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Running;

use super::arguments::ImageArguments;
use super::code::disassemble;
use super::report::FunctionReport;
use super::report::ImageReport;
use super::report::KernelReport;
use super::report::SCHEMA_VERSION;
use super::report::SymbolReport;
use super::report::address;
use super::report::hex;

/// What is in the image and was asked for.
///
/// # Errors
/// [`Refusals`]: it cannot be read, has no such symbol, or is not the kernel that runs.
pub(super) fn report(arguments: &ImageArguments, data: Vec<u8>) -> Result<ImageReport> {
    let file = arguments.file.display().to_string();
    let image = Image::parse(&file, data)?;
    let kallsyms = Kallsyms::read(&image)?;
    let kaslr_offset = match &arguments.running {
        Some(running) => Some(compare(&file, &kallsyms, &Running::read(running)?)?),
        None => None,
    };
    let mut functions = Vec::new();
    for name in &arguments.functions {
        functions.extend(find(&image, &kallsyms, name)?);
    }
    let banner = &image.banner;
    Ok(ImageReport {
        schema_version: SCHEMA_VERSION,
        file,
        compression: image.compression(),
        build_id: image.build_id.as_deref().map(hex),
        symbol_count: kallsyms.len(),
        kernel: Some(KernelReport {
            banner: banner.text.clone(),
            release: banner.release.clone(),
            source_version: banner.source_version.clone(),
            package_version: banner.package_version.clone(),
            compiler: banner.compiler.clone(),
            kallsyms_layout: kallsyms.layout().name(),
            kallsyms_addresses: kallsyms.addressing().name(),
            kaslr_offset: kaslr_offset.map(|offset| format!("{offset:x}")),
        }),
        module: None,
        symbols: arguments
            .symbols
            .then(|| (0..kallsyms.len()).filter_map(|index| symbol(&kallsyms, index)).collect()),
        functions: (!arguments.functions.is_empty()).then_some(functions),
    })
}

fn compare(file: &str, kallsyms: &Kallsyms, running: &Running) -> Result<u64, Refusals> {
    running.compare(kallsyms).map_err(|difference| {
        Refusal::new(
            Code::VersionMismatch,
            Place::object(file),
            format!("is not the kernel that runs: {difference}"),
            "give the image of the kernel that runs (`uname -rv` says which one that is)",
        )
        .into()
    })
}

fn symbol(kallsyms: &Kallsyms, index: usize) -> Option<SymbolReport> {
    let symbol = kallsyms.get(index)?;
    let (kind, name) = (symbol.kind, symbol.name.to_owned());
    Some(SymbolReport { address: address(symbol.address), section: None, kind, name })
}

/// All symbols of a name, in the order of their positions.
fn find(image: &Image, kallsyms: &Kallsyms, name: &str) -> Result<Vec<FunctionReport>, Refusals> {
    let all = kallsyms.positions(name);
    if all.is_empty() {
        let place = Place::object(&image.name).symbol(name);
        let hint = "`--symbols` lists all; the compiler may have inlined it or given it a suffix";
        return Err(Refusal::new(Code::SymbolNotFound, place, "is not in this kernel", hint).into());
    }
    Ok(all
        .iter()
        .enumerate()
        .filter_map(|(nth, &index)| {
            let found = kallsyms.get(index)?;
            let size = kallsyms.size(index).filter(|_| !found.is_absolute());
            let bytes =
                size.and_then(|size| image.bytes_at(found.address, usize::try_from(size).ok()?));
            let bytes = bytes.unwrap_or_default();
            let names = Names { kallsyms, own: index };
            let is_code = matches!(found.kind.to_ascii_lowercase(), 't' | 'w');
            let code = if is_code { bytes } else { &[] };
            Some(FunctionReport {
                symbol: symbol(kallsyms, index)?,
                // Livepatch takes address 0 for none (`klp_find_object_symbol`).
                sympos: (found.address != 0).then_some(if all.len() == 1 { 0 } else { nth + 1 }),
                same_name: all.len(),
                size,
                bytes: hex(bytes),
                code: disassemble(code, found.address, |instruction, _| {
                    names.operands(instruction)
                }),
            })
        })
        .collect())
}

/// Names addresses in the code of one symbol.
struct Names<'a> {
    kallsyms: &'a Kallsyms,
    own: usize,
}

impl Names<'_> {
    fn operands(&self, instruction: &Instruction) -> Operands {
        if is_near_branch(instruction) {
            let target = self.at(instruction.near_branch_target());
            return Operands { displacement: None, immediate: target };
        }
        let mut operands = Operands::default();
        for kind in instruction.op_kinds() {
            match kind {
                OpKind::Memory => operands.displacement = self.memory(instruction),
                OpKind::Immediate32to64 | OpKind::Immediate64 => {
                    let value = match kind {
                        OpKind::Immediate64 => instruction.immediate64(),
                        _ => instruction.immediate32to64() as u64,
                    };
                    operands.immediate = self.at(value).filter(|_| value >> 31 == 0x1_ffff_ffff);
                }
                _ => {}
            }
        }
        operands
    }

    /// Per-CPU variables are reached through %gs, before 6.15 by their offset from 0; without %gs a
    /// small number is an offset into something else.
    fn memory(&self, instruction: &Instruction) -> Option<String> {
        let target = instruction.memory_displacement64();
        let per_cpu = instruction.segment_prefix() == Register::GS;
        self.at(target).filter(|_| per_cpu || target >> 31 == 0x1_ffff_ffff)
    }

    fn at(&self, target: u64) -> Option<String> {
        let own = self.kallsyms.get(self.own)?;
        let within_own = target
            .checked_sub(own.address)
            .is_some_and(|offset| self.kallsyms.size(self.own).is_some_and(|size| offset < size));
        let found =
            if within_own { own } else { self.kallsyms.get(self.kallsyms.containing(target)?)? };
        Some(with_offset(found.name, target.wrapping_sub(found.address) as i64))
    }
}

//! A module. Its addresses are offsets in its sections; what code refers to is what its relocations
//! say.

use anyhow::Result;
use create_diff_object::explain::syntax::Operands;
use create_diff_object::explain::syntax::with_offset;
use create_diff_object::normalize::references::is_near_branch;
use iced_x86::ConstantOffsets;
use iced_x86::Instruction;
use kpatch_elf::Binding;
use kpatch_elf::Definition;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::SectionKind;
use kpatch_elf::Symbol;
use kpatch_elf::SymbolId;
use kpatch_elf::SymbolKind;
use kpatch_elf::SymbolsBySection;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use object::elf::SHF_ALLOC;
use object::elf::SHF_EXECINSTR;
use object::elf::SHF_WRITE;
use shipped_kernel::Module;
use shipped_kernel::symbols;

use super::arguments::ImageArguments;
use super::code::disassemble;
use super::report::FunctionReport;
use super::report::ImageReport;
use super::report::ModuleReport;
use super::report::SCHEMA_VERSION;
use super::report::SymbolReport;
use super::report::address;
use super::report::hex;
use crate::outcome::Usage;

/// What is in the module and was asked for.
///
/// # Errors
/// Refusals: it cannot be read or has no such symbol. [`Usage`] for what only a kernel has.
pub(super) fn report(arguments: &ImageArguments, data: Vec<u8>) -> Result<ImageReport> {
    let file = arguments.file.display().to_string();
    if arguments.running.is_some() {
        return Err(Usage(format!("`{file}` is a module: --running is about a kernel")).into());
    }
    let module = Module::parse(&file, data)?;
    let object = kpatch_elf::read(&module.elf)
        .map_err(|error| unreadable(Place::object(&file), &error.to_string()))?;
    // Positions are those of the other reader's table.
    if object.symbols.len() != module.symbols.len() {
        return Err(unreadable(Place::object(&file), "it has several symbol tables").into());
    }
    let by_section = object.symbols_by_section();
    let view = View { module: &module, object: &object, by_section: &by_section };
    let mut functions = Vec::new();
    for name in &arguments.functions {
        functions.extend(view.find(&file, name)?);
    }
    Ok(ImageReport {
        schema_version: SCHEMA_VERSION,
        compression: module.compression,
        build_id: module.build_id.as_deref().map(hex),
        symbol_count: object.symbols.len() - 1,
        kernel: None,
        module: Some(ModuleReport {
            name: module.name.clone(),
            vermagic: module.vermagic.trim_end().to_owned(),
            depends: module.depends.clone(),
        }),
        symbols: arguments
            .symbols
            .then(|| object.symbols_with_ids().map(|(_, symbol)| view.symbol(symbol)).collect()),
        functions: (!arguments.functions.is_empty()).then_some(functions),
        file,
    })
}

fn unreadable(place: Place, message: &str) -> Refusal {
    let hint = "give a module of the linux-image package";
    Refusal::new(
        Code::TargetIncomplete,
        place,
        format!("is not a readable module: {message}"),
        hint,
    )
}

struct View<'a> {
    module: &'a Module,
    object: &'a ObjectFile,
    by_section: &'a SymbolsBySection,
}

impl View<'_> {
    fn symbol(&self, symbol: &Symbol) -> SymbolReport {
        SymbolReport {
            address: address(symbol.value),
            section: symbol.section().map(|section| self.object[section].name.clone()),
            kind: kind(self.object, symbol),
            name: self.name(symbol).to_owned(),
        }
    }

    /// Section symbols have the name of their section.
    fn name<'b>(&'b self, symbol: &'b Symbol) -> &'b str {
        match symbol.section() {
            Some(section) if symbol.kind == SymbolKind::Section => &self.object[section].name,
            _ => &symbol.name,
        }
    }

    fn find(&self, file: &str, name: &str) -> Result<Vec<FunctionReport>> {
        let named = |(_, symbol): &(SymbolId, &Symbol)| {
            symbol.name == name && symbol.definition != Definition::Undefined
        };
        let all: Vec<(SymbolId, &Symbol)> = self.object.symbols_with_ids().filter(named).collect();
        if all.is_empty() {
            let place = Place::object(file).symbol(name);
            let hint =
                "`--symbols` lists all; the compiler may have inlined it or given it a suffix";
            let message = "is not defined in this module";
            return Err(Refusal::new(Code::SymbolNotFound, place, message, hint).into());
        }
        all.iter().map(|(id, symbol)| self.function(file, *id, symbol, all.len())).collect()
    }

    fn function(
        &self,
        file: &str,
        id: SymbolId,
        symbol: &Symbol,
        same_name: usize,
    ) -> Result<FunctionReport> {
        let mut report = FunctionReport {
            symbol: self.symbol(symbol),
            sympos: symbols::module_position(self.module, id.0 as usize).map(|found| found.0),
            same_name,
            size: (symbol.size != 0).then_some(symbol.size),
            bytes: String::new(),
            code: Vec::new(),
        };
        let (Some(section), Some(size)) = (symbol.section(), report.size) else {
            return Ok(report);
        };
        if self.object[section].kind == SectionKind::Nobits {
            return Ok(report);
        }
        let start = usize::try_from(symbol.value).ok();
        let end = symbol.value.checked_add(size).and_then(|end| usize::try_from(end).ok());
        let range = start.zip(end).map(|(start, end)| start..end);
        let bytes =
            range.and_then(|range| self.object[section].data.get(range)).ok_or_else(|| {
                let place = Place::object(file).symbol(&symbol.name);
                unreadable(place, "the symbol is longer than its section")
            })?;
        report.bytes = hex(bytes);
        if self.object[section].has(SHF_EXECINSTR.0) {
            report.code = disassemble(bytes, symbol.value, |instruction, constants| {
                self.operands(section, symbol, instruction, constants)
            });
        }
        Ok(report)
    }

    /// What relocations say of an instruction of `own`; of branches without one, where they go.
    fn operands(
        &self,
        section: SectionId,
        own: &Symbol,
        instruction: &Instruction,
        constants: &ConstantOffsets,
    ) -> Operands {
        let mut operands = Operands::default();
        let (start, end) = (instruction.ip(), instruction.next_ip());
        for relocation in self.object[section].relocations_in(start..end) {
            let field = relocation.offset.wrapping_sub(start) as usize;
            let text = Some(self.target(relocation, end));
            if constants.has_displacement() && constants.displacement_offset() == field {
                operands.displacement = text;
            } else if constants.has_immediate() && constants.immediate_offset() == field {
                operands.immediate = text;
            }
        }
        if is_near_branch(instruction) && operands.immediate.is_none() {
            let target = instruction.near_branch_target();
            let offset = target.wrapping_sub(own.value);
            operands.immediate = if offset < own.size {
                Some(with_offset(&own.name, offset as i64))
            } else {
                Some(self.place(section, target as i64))
            };
        }
        operands
    }

    /// A relocation's symbol with the offset that the instruction ending at `end` sees.
    fn target(&self, relocation: &Relocation, end: u64) -> String {
        let bias = if relocation.kind.is_pc_relative() {
            end.wrapping_sub(relocation.offset) as i64
        } else {
            0
        };
        let delta = relocation.addend.wrapping_add(bias);
        let symbol = &self.object[relocation.symbol];
        match symbol.section() {
            Some(section) if symbol.kind == SymbolKind::Section => self.place(section, delta),
            _ => with_offset(&symbol.name, delta),
        }
    }

    /// A place in a section, by the symbol before it, else by the section.
    fn place(&self, section: SectionId, at: i64) -> String {
        let before = |id: &&SymbolId| {
            let symbol = &self.object[**id];
            i64::try_from(symbol.value).is_ok_and(|value| value <= at)
                && !matches!(symbol.kind, SymbolKind::Section | SymbolKind::File)
                && !symbol.name.is_empty()
        };
        match self.by_section.of(section).iter().rfind(before) {
            Some(id) => {
                let symbol = &self.object[*id];
                with_offset(&symbol.name, at.wrapping_sub(symbol.value as i64))
            }
            None => with_offset(&self.object[section].name, at),
        }
    }
}

/// The letter that the kernel gives a module's symbol, in capitals for global ones (`elf_type` in
/// kernel/module/kallsyms.c).
fn kind(object: &ObjectFile, symbol: &Symbol) -> char {
    let letter = match symbol.definition {
        Definition::Undefined => return 'U',
        Definition::Section(section) => {
            let section = &object[section];
            match () {
                () if section.has(SHF_EXECINSTR.0) => 't',
                () if !section.has(SHF_ALLOC.0) => 'n',
                () if section.kind == SectionKind::Nobits => 'b',
                () if section.has(SHF_WRITE.0) => 'd',
                () => 'r',
            }
        }
        _ => 'a',
    };
    match symbol.binding {
        Binding::Weak if letter == 't' => 'W',
        Binding::Weak => 'V',
        Binding::Global => letter.to_ascii_uppercase(),
        _ => letter,
    }
}

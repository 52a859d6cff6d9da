//! The form for people.

use std::io;
use std::io::Write;

use super::report::FunctionReport;
use super::report::ImageReport;

/// How many bytes of data a line shows.
const BYTES: usize = 16;

/// The column behind an instruction's bytes: most have at most eight.
const BYTES_WIDTH: usize = 8 * 3;

impl ImageReport {
    /// Writes what was asked for: symbols, functions, or else what the file says of itself.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.symbols.is_none() && self.functions.is_none() {
            self.write_summary(out)?;
        }
        for symbol in self.symbols.iter().flatten() {
            write!(out, "{} {} {}", symbol.address, symbol.kind, symbol.name)?;
            match &symbol.section {
                Some(section) => writeln!(out, "\t{section}")?,
                None => writeln!(out)?,
            }
        }
        for (index, function) in self.functions.iter().flatten().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write_function(out, function)?;
        }
        Ok(())
    }

    fn write_summary(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "{name:<12} {value}");
        if let Some(kernel) = &self.kernel {
            line("banner", &kernel.banner)?;
            line("release", &kernel.release)?;
            line("source", &kernel.source_version)?;
            if let Some(package) = &kernel.package_version {
                line("package", package)?;
            }
            line("compiler", &kernel.compiler)?;
        }
        if let Some(module) = &self.module {
            line("module", &module.name)?;
            line("vermagic", &module.vermagic)?;
            let depends = module.depends.join(" ");
            line("depends", if depends.is_empty() { "none" } else { &depends })?;
        }
        line("build-id", self.build_id.as_deref().unwrap_or("none"))?;
        line("compression", self.compression.unwrap_or("none"))?;
        if let Some(kernel) = &self.kernel {
            let kallsyms = (kernel.kallsyms_layout, kernel.kallsyms_addresses);
            line("kallsyms", &format!("{}; {}", kallsyms.0, kallsyms.1))?;
        }
        line("symbols", &self.symbol_count.to_string())?;
        if let Some(offset) = self.kernel.as_ref().and_then(|kernel| kernel.kaslr_offset.as_ref()) {
            line("running", &format!("yes, moved by KASLR by 0x{offset}"))?;
        }
        Ok(())
    }
}

fn write_function(out: &mut impl Write, function: &FunctionReport) -> io::Result<()> {
    let symbol = &function.symbol;
    let section = symbol.section.as_ref().map_or(String::new(), |name| format!(" in {name}"));
    let size = match function.size {
        Some(size) => format!("{size} bytes"),
        None => "size unknown".to_owned(),
    };
    let position = match (function.sympos, function.same_name) {
        (None, _) => "livepatch cannot name it".to_owned(),
        (Some(_), 1) => "position 0 (unique)".to_owned(),
        (Some(position), all) => format!("position {position} of {all}"),
    };
    writeln!(
        out,
        "{} {} {}{section}: {size}, {position}",
        symbol.address, symbol.kind, symbol.name
    )?;
    let spaced = |bytes: &str| -> String {
        bytes
            .as_bytes()
            .chunks(2)
            .flat_map(|pair| [pair, b" "])
            .flatten()
            .map(|&byte| char::from(byte))
            .collect()
    };
    for instruction in &function.code {
        let offset = format!("+{:#x}", instruction.offset);
        let bytes = spaced(&instruction.bytes);
        writeln!(out, "  {offset:>7}  {bytes:<BYTES_WIDTH$} {}", instruction.text)?;
    }
    if function.code.is_empty() {
        for (index, line) in function.bytes.as_bytes().chunks(2 * BYTES).enumerate() {
            let offset = format!("+{:#x}", index * BYTES);
            let line: String = line.iter().map(|&byte| char::from(byte)).collect();
            writeln!(out, "  {offset:>7}  {}", spaced(&line).trim_end())?;
        }
        if function.bytes.is_empty() {
            writeln!(out, "           not in the file")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::report::InstructionReport;
    use super::super::report::KernelReport;
    use super::super::report::ModuleReport;
    use super::super::report::SymbolReport;
    use super::*;

    fn text(report: &ImageReport) -> String {
        let mut out = Vec::new();
        report.write_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn kernel() -> ImageReport {
        ImageReport {
            schema_version: 1,
            file: "vmlinuz".to_owned(),
            compression: Some("zstd"),
            build_id: Some("ab01".to_owned()),
            symbol_count: 2,
            kernel: Some(KernelReport {
                banner: "Linux version 6.12.1-x (a@b) (gcc, ld) #1 SMP".to_owned(),
                release: "6.12.1-x".to_owned(),
                source_version: "6.12.1".to_owned(),
                package_version: None,
                compiler: "gcc".to_owned(),
                kallsyms_layout: "offsets behind the tokens",
                kallsyms_addresses: "all relative",
                kaslr_offset: None,
            }),
            module: None,
            symbols: None,
            functions: None,
        }
    }

    fn symbol(kind: char, section: Option<&str>) -> SymbolReport {
        SymbolReport {
            address: "ffffffff81000000".to_owned(),
            section: section.map(str::to_owned),
            kind,
            name: "show".to_owned(),
        }
    }

    fn function(kind: char, bytes: &str, code: &[(u64, &str, &str)]) -> FunctionReport {
        let instruction = |&(offset, bytes, text): &(u64, &str, &str)| InstructionReport {
            offset,
            bytes: bytes.to_owned(),
            text: text.to_owned(),
        };
        FunctionReport {
            symbol: symbol(kind, None),
            sympos: Some(2),
            same_name: 3,
            size: Some(bytes.len() as u64 / 2),
            bytes: bytes.to_owned(),
            code: code.iter().map(instruction).collect(),
        }
    }

    #[test]
    fn says_what_a_kernel_says_of_itself() {
        let expected = "\
banner       Linux version 6.12.1-x (a@b) (gcc, ld) #1 SMP
release      6.12.1-x
source       6.12.1
compiler     gcc
build-id     ab01
compression  zstd
kallsyms     offsets behind the tokens; all relative
symbols      2
";
        let mut report = kernel();
        assert_eq!(text(&report), expected);
        report.kernel.as_mut().unwrap().kaslr_offset = Some("1e200000".to_owned());
        let running = "running      yes, moved by KASLR by 0x1e200000\n";
        assert_eq!(text(&report), format!("{expected}{running}"));
    }

    #[test]
    fn says_what_a_module_says_of_itself() {
        let mut report = ImageReport { kernel: None, build_id: None, ..kernel() };
        report.compression = None;
        report.module = Some(ModuleReport {
            name: "ip_vs".to_owned(),
            vermagic: "6.12.1-x SMP".to_owned(),
            depends: vec!["nf_conntrack".to_owned(), "libcrc32c".to_owned()],
        });
        let expected = "\
module       ip_vs
vermagic     6.12.1-x SMP
depends      nf_conntrack libcrc32c
build-id     none
compression  none
symbols      2
";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn lists_symbols_as_nm_does() {
        let symbols = Some(vec![symbol('T', None), symbol('t', Some(".text"))]);
        let report = ImageReport { symbols, ..kernel() };
        let expected = "ffffffff81000000 T show\nffffffff81000000 t show\t.text\n";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn shows_code_data_and_what_the_file_does_not_have() {
        let code = [(0, "f30f1efa", "endbr64"), (4, "e800000000", "call   __fentry__")];
        let mut unnameable = function('A', "", &[]);
        (unnameable.sympos, unnameable.size) = (None, None);
        unnameable.symbol.section = Some(".bss".to_owned());
        let mut unique = function('d', &"ab".repeat(17), &[]);
        (unique.sympos, unique.same_name) = (Some(0), 1);
        let functions = vec![function('t', "f30f1efae800000000", &code), unique, unnameable];
        let report = ImageReport { functions: Some(functions), ..kernel() };
        let expected = "\
ffffffff81000000 t show: 9 bytes, position 2 of 3
     +0x0  f3 0f 1e fa              endbr64
     +0x4  e8 00 00 00 00           call   __fentry__

ffffffff81000000 d show: 17 bytes, position 0 (unique)
     +0x0  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab
    +0x10  ab

ffffffff81000000 A show in .bss: size unknown, livepatch cannot name it
           not in the file
";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn documents_name_all_fields() {
        let code = [(0, "c3", "ret")];
        let functions = Some(vec![function('t', "c3", &code)]);
        let report = ImageReport { functions, ..kernel() };
        let document: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["module"], serde_json::Value::Null);
        assert_eq!(document["kernel"]["release"], "6.12.1-x");
        let function = &document["functions"][0];
        assert_eq!(function["name"], "show");
        assert_eq!(function["address"], "ffffffff81000000");
        assert_eq!(function["sympos"], 2);
        assert_eq!(function["code"][0]["text"], "ret");
        // docs/image.md describes each of them, in code quotes.
        let described = include_str!("../../../../docs/image.md");
        let mut names = Vec::new();
        keys(&document, &mut names);
        for name in names {
            assert!(described.contains(&format!("`{name}`")), "docs/image.md lacks `{name}`");
        }
    }

    fn keys(value: &serde_json::Value, names: &mut Vec<String>) {
        if let Some(object) = value.as_object() {
            for (name, value) in object {
                names.push(name.clone());
                keys(value, names);
            }
        }
        value.as_array().into_iter().flatten().for_each(|value| keys(value, names));
    }
}

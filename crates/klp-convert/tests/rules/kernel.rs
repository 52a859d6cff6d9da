//! The kernel that the hand-written module is for: image, module `nf_tables`, list of exports.

use std::collections::BTreeMap;

use klp_convert::Report;
use klp_convert::Target;
use klp_convert::verify_for;
use kpatch_refusal::Refusals;
use object::SectionKind;
use object::elf;
use object::write;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::testing::kernel::Exported;
use shipped_kernel::testing::kernel::Kernel;

const ENDBR: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// Of the fixture.
const STRUCT_MODULE: usize = 720;

/// What tests change.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) vermagic: &'static str,
    /// What the symbol table has instead of a name.
    pub(crate) renamed: (&'static str, &'static str),
    /// The kind of text that has `cmdline_proc_show`.
    pub(crate) show: &'static str,
    /// Whether `cmdline_proc_show` and `nft_old` have ftrace entries.
    pub(crate) traced: bool,
    /// Sealed functions of the image and of `nf_tables`.
    pub(crate) sealed: &'static [&'static str],
    /// Whether the kernel has IBT at all.
    pub(crate) ibt: bool,
    pub(crate) exports: Vec<Exported<'static>>,
    pub(crate) struct_module: usize,
    /// Whether modules are given.
    pub(crate) modules: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            vermagic: "6.12.1-test SMP preempt mod_unload modversions ",
            renamed: ("", ""),
            show: "text",
            traced: true,
            sealed: &["lonely", "make_task_dead"],
            ibt: true,
            exports: vec![
                ("module_layout", "", 0x1111_1111),
                ("seq_puts", "", 0x2222_2222),
                ("__fentry__", "", 0x3333_3333),
                ("__x86_return_thunk", "", 0x4444_4444),
            ],
            struct_module: STRUCT_MODULE,
            modules: true,
        }
    }
}

fn code() -> Vec<u8> {
    [&ENDBR[..], &[0xe8, 0, 0, 0, 0, 0xc3], &[0x90; 22]].concat()
}

impl Spec {
    fn image(&self) -> Vec<u8> {
        let mut kernel = Kernel::default();
        let mut all = BTreeMap::new();
        let ranges = [
            ("text", "_stext", "_etext"),
            ("noinstr", "__noinstr_text_start", "__noinstr_text_end"),
            ("entry", "__entry_text_start", "__entry_text_end"),
            ("init", "_sinittext", "_einittext"),
        ];
        let functions: &[&str] = &["seq_puts", "__fentry__", "__x86_return_thunk", "lonely"];
        kernel.mark("_stext");
        for (text, start, end) in ranges {
            if text == "init" {
                kernel.mark("_etext");
                kernel.mark("__init_begin");
            }
            if text != "text" {
                kernel.mark(start);
            }
            if text == self.show {
                all.insert("cmdline_proc_show", kernel.place("cmdline_proc_show", 't', &code()));
            }
            if text == "text" {
                for name in functions.iter().chain(&["make_task_dead", "module_layout"]) {
                    all.insert(*name, kernel.place(name, 'T', &code()));
                }
            } else {
                kernel.mark(end);
            }
        }
        kernel.mark("__init_end");
        for name in ["saved_command_line", "sched_schedstats", "sched_schedstats"] {
            kernel.place(name, 'd', &[0; 16]);
        }
        let mut sites: Vec<u8> = (all["make_task_dead"] + 4).to_le_bytes().to_vec();
        if self.traced {
            sites.extend((all["cmdline_proc_show"] + 4).to_le_bytes());
        }
        kernel.table(("__start_mcount_loc", "__stop_mcount_loc"), &sites);
        if self.ibt {
            let sealed: Vec<u64> =
                self.sealed.iter().filter_map(|name| all.get(name).copied()).collect();
            kernel.distances(("__ibt_endbr_seal", "__ibt_endbr_seal_end"), &sealed);
        }
        kernel.place("vermagic", 'd', format!("{}\0", self.vermagic).as_bytes());
        kernel.exports(("__ksymtab", "__kcrctab"), &self.exports);
        kernel.rename(self.renamed.0, self.renamed.1);
        kernel.finish()
    }

    fn module(&self) -> Vec<u8> {
        let mut file = write::Object::new(
            object::BinaryFormat::Elf,
            object::Architecture::X86_64,
            object::Endianness::Little,
        );
        let mut section = |name: &str, kind, data: &[u8]| {
            let id = file.add_section(Vec::new(), name.into(), kind);
            file.append_section_data(id, data, 8);
            id
        };
        let info = format!("license=GPL\0depends=\0name=nf_tables\0vermagic={}\0", self.vermagic);
        section(".modinfo", SectionKind::ReadOnlyData, info.as_bytes());
        let this = ".gnu.linkonce.this_module";
        section(this, SectionKind::Data, &vec![0; self.struct_module]);
        let text = section(".text", SectionKind::Text, &code().repeat(4));
        let mcount = section("__mcount_loc", SectionKind::ReadOnlyData, &[0; 8]);
        let seal = section(".ibt_endbr_seal", SectionKind::ReadOnlyData, &[0; 4]);
        let names = ["nft_hook.isra.0", "nft_hook.isra.0", "nft_hook.isra.0", "nft_old"];
        for (index, name) in names.into_iter().enumerate() {
            let name = if name == self.renamed.0 { self.renamed.1 } else { name };
            file.add_symbol(write::Symbol {
                name: name.into(),
                value: 32 * index as u64,
                size: 32,
                kind: object::SymbolKind::Text,
                scope: object::SymbolScope::Compilation,
                weak: false,
                section: write::SymbolSection::Section(text),
                flags: object::SymbolFlags::None,
            });
        }
        let mut relocate = |section, r_type, addend| {
            let symbol = file.section_symbol(text);
            let flags = object::RelocationFlags::Elf { r_type };
            let relocation = write::Relocation { offset: 0, symbol, addend, flags };
            file.add_relocation(section, relocation).unwrap();
        };
        if self.traced {
            relocate(mcount, elf::R_X86_64_64, 3 * 32 + 4);
        }
        if self.sealed.contains(&"nft_hook") {
            relocate(seal, elf::R_X86_64_PC32, 2 * 32);
        }
        file.write().unwrap()
    }

    /// The bytes of image and module.
    pub(crate) fn files(&self) -> (Vec<u8>, Vec<u8>) {
        (self.image(), self.module())
    }

    /// Verifies a module against this kernel.
    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<Report, Refusals> {
        let image = Image::parse("vmlinuz", self.image()).unwrap();
        let kallsyms = Kallsyms::read(&image).unwrap();
        let module = Module::parse("nf_tables.ko", self.module()).unwrap();
        let modules = BTreeMap::from([("nf_tables".to_owned(), module)]);
        let modules = self.modules.then_some(&modules);
        verify_for(bytes, &Target { kernel: Some((&image, &kallsyms)), modules, exports: None })
    }
}

use kpatch_refusal::Code;
use object::write;

use super::*;
use crate::modules::Module;
use crate::symvers;
use crate::symvers::Exports;
use crate::testing::Mutations;
use crate::testing::kernel::Exported;
use crate::testing::kernel::Kernel;

const ENDBR: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// The addresses of the kernel's functions.
#[derive(Debug, Clone, Copy)]
struct Functions {
    traced: u64,
    plain: u64,
    notrace: u64,
    noinstr: u64,
    entry: u64,
    init: u64,
}

const PLAIN: &[Exported<'_>] = &[("alpha", "", 0x1234_5678), ("beta", "SPACE", 0xffff_0001)];
const GPL: &[Exported<'_>] = &[("gamma", "", 3)];
const SYMVERS: &str = "0x12345678\talpha\tvmlinux\tEXPORT_SYMBOL\t\n\
    0xffff0001\tbeta\tvmlinux\tEXPORT_SYMBOL\tSPACE\n\
    0x00000003\tgamma\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
    0x00000004\tother\tsome_module\tEXPORT_SYMBOL\t\n";

fn code(endbr: bool) -> Vec<u8> {
    let start: &[u8] = if endbr { &ENDBR } else { &[] };
    [start, &[0xe8, 0, 0, 0, 0, 0xc3], &[0x90; 22]].concat()
}

/// A kernel with all tables; `flags`: as 7.x lays the exports out.
fn kernel(flags: bool) -> (Kernel, Functions) {
    let mut kernel = Kernel::default();
    kernel.mark("_stext");
    let traced = kernel.place("traced", 'T', &code(true));
    let plain = kernel.place("plain", 't', &code(false));
    let notrace = kernel.place("notrace", 't', &[0x90; 32]);
    // A weak function that another one overrides: its entry seems to be that of `notrace`.
    let weak = notrace + 16;
    kernel.mark("__noinstr_text_start");
    let noinstr = kernel.place("noinstr", 't', &code(true));
    kernel.mark("__noinstr_text_end");
    kernel.mark("__entry_text_start");
    let entry = kernel.place("entry", 'T', &ENDBR);
    kernel.mark("__entry_text_end");
    kernel.mark("_etext");
    kernel.place("vermagic", 'd', b"6.12.1-test SMP mod_unload \0");
    let sites = [0, 0, traced + 4, plain, weak, 0xffff_ffff_9000_0000];
    let sites: Vec<u8> = sites.iter().flat_map(|site| site.to_le_bytes()).collect();
    kernel.table(("__start_mcount_loc", "__stop_mcount_loc"), &sites);
    kernel.distances(("__ibt_endbr_seal", "__ibt_endbr_seal_end"), &[traced]);
    if flags {
        kernel.exports(("__ksymtab", "__kcrctab"), &[PLAIN, GPL].concat());
        kernel.table(("__start___kflagstab", "__stop___kflagstab"), &[0, 0, 1]);
    } else {
        kernel.exports(("__ksymtab", "__kcrctab"), PLAIN);
        kernel.exports(("__ksymtab_gpl", "__kcrctab_gpl"), GPL);
    }
    kernel.mark("__init_begin");
    kernel.mark("_sinittext");
    let init = kernel.place("init", 't', &code(true));
    kernel.mark("_einittext");
    kernel.mark("__init_end");
    (kernel, Functions { traced, plain, notrace, noinstr, entry, init })
}

fn read(kernel: Kernel) -> (Image, Kallsyms) {
    let image = Image::parse("vmlinux", kernel.finish()).unwrap();
    let kallsyms = Kallsyms::read(&image).unwrap();
    (image, kallsyms)
}

fn listed() -> Exports {
    symvers::parse("Module.symvers", SYMVERS).unwrap()
}

#[test]
fn ftrace_entries_are_a_functions_own() {
    let (kernel, functions) = kernel(false);
    let (image, kallsyms) = read(kernel);
    let sites = FtraceSites::of_image(&image, &kallsyms).unwrap();
    assert_eq!(sites.len(), 3, "neither 0 nor what is outside the text");
    assert!(sites.has_entry(functions.traced, 32), "behind ENDBR64");
    assert!(sites.has_entry(functions.plain, 32));
    assert!(!sites.has_entry(functions.notrace, 32), "what a weak function left");
    assert!(!sites.has_entry(functions.traced, 64), "which of two is not clear");
    assert!(sites.has_entry(functions.plain, 64), "the kernel asks for the first byte first");
    assert!(!sites.has_entry(functions.traced, 4) && !sites.has_entry(functions.noinstr, 32));
    assert!(!sites.has_entry(u64::MAX, u64::MAX) && !sites.has_entry_in(0, functions.plain, 32));
}

#[test]
fn text_is_told_by_its_markers() {
    let (kernel, functions) = kernel(false);
    let (image, kallsyms) = read(kernel);
    let text = TextRanges::of_image(&image, &kallsyms).unwrap();
    let Functions { traced, plain, noinstr, entry, init, .. } = functions;
    let kinds = [traced, plain, noinstr, entry, init, 0].map(|address| text.what_is(address));
    let normal = Text::Normal;
    assert_eq!(kinds, [normal, normal, Text::Noinstr, Text::Entry, Text::Init, Text::None]);
    assert_eq!(Text::of_section(".init.text"), Text::Init);
    assert_eq!(Text::of_section(".noinstr.text"), Text::Noinstr);
    assert_eq!(Text::of_section(".text.unlikely"), Text::Normal);
}

#[test]
fn sealed_functions_cannot_be_called_indirectly() {
    let (kernel, functions) = kernel(false);
    let (image, kallsyms) = read(kernel);
    let seals = EndbrSeals::of_image(&image, &kallsyms).unwrap();
    assert_eq!(seals.len(), 1);
    assert!(!seals.may_be_called(&image, functions.traced), "sealed");
    assert!(!seals.may_be_called(&image, functions.plain), "without ENDBR64");
    assert!(seals.may_be_called(&image, functions.noinstr));
    assert!(!seals.may_be_called(&image, 0));
    let (image, kallsyms) = read(Kernel::default());
    assert!(EndbrSeals::of_image(&image, &kallsyms).unwrap().is_empty(), "no IBT");
}

#[test]
fn exports_of_both_layouts_agree_with_the_list() {
    for flags in [false, true] {
        let (image, kallsyms) = read(kernel(flags).0);
        let shipped = exports::of_image(&image, &kallsyms).unwrap();
        assert_eq!(shipped.len(), 3);
        exports::compare("vmlinux", &shipped, &listed()).unwrap();
        assert_eq!(vermagic(&image, &kallsyms).unwrap().unwrap(), "6.12.1-test SMP mod_unload ");
    }
}

#[test]
fn every_difference_of_exports_is_told() {
    let (image, kallsyms) = read(kernel(false).0);
    let shipped = exports::of_image(&image, &kallsyms).unwrap();
    let cases = [
        ("0x12345678", "0x12345679", "`alpha` has CRC 0x12345678, listed is 0x12345679"),
        ("vmlinux\tEXPORT_SYMBOL\t\n", "vmlinux\tEXPORT_SYMBOL_GPL\t\n", "`alpha` is not for GPL"),
        ("EXPORT_SYMBOL_GPL", "EXPORT_SYMBOL", "`gamma` is for GPL"),
        ("SPACE", "", "`beta` is in namespace `SPACE`, listed is ``"),
        ("alpha", "omega", "`alpha` is exported, but not listed, `omega` is listed, but not"),
        ("some_module", "vmlinux", "`other` is listed, but not exported"),
        ("gamma\tvmlinux", "gamma\tkvm", "`gamma` is listed for `kvm`"),
    ];
    for (from, to, fragment) in cases {
        assert_eq!(SYMVERS.matches(from).count(), 1, "{from}");
        let listed = symvers::parse("Module.symvers", &SYMVERS.replace(from, to)).unwrap();
        let refusals = exports::compare("vmlinux", &shipped, &listed).unwrap_err();
        assert_eq!(refusals.0[0].code, Code::ExportsMismatch);
        assert!(refusals.0[0].message.contains(fragment), "{refusals}");
    }
    let many: String = (0..9).map(|i| format!("0x1\tx{i}\tvmlinux\tEXPORT_SYMBOL\t\n")).collect();
    let many = symvers::parse("Module.symvers", &(many + SYMVERS)).unwrap();
    let refusals = exports::compare("vmlinux", &shipped, &many).unwrap_err();
    assert!(refusals.0[0].message.ends_with("and 4 more"), "{refusals}");
}

#[test]
fn tables_that_are_there_in_part_are_refused() {
    let all = |image: &Image, kallsyms: &Kallsyms| {
        FtraceSites::of_image(image, kallsyms)?;
        EndbrSeals::of_image(image, kallsyms)?;
        TextRanges::of_image(image, kallsyms)?;
        exports::of_image(image, kallsyms)?;
        vermagic(image, kallsyms)
    };
    let message = |change: &dyn Fn(&mut Kernel)| {
        let mut kernel = kernel(false).0;
        change(&mut kernel);
        let (image, kallsyms) = read(kernel);
        let refusals = all(&image, &kallsyms).unwrap_err();
        assert_eq!(refusals.0[0].code, Code::ImageUnreadable);
        refusals.0[0].message.clone()
    };
    let (image, kallsyms) = read(kernel(false).0);
    all(&image, &kallsyms).unwrap();
    for name in ["__stop_mcount_loc", "_etext", "__ibt_endbr_seal", "__start___kcrctab", "vermagic"]
    {
        let told =
            message(&|kernel| kernel.symbol(name, 'D', u64::from(u32::MAX) << 32 | 0x8100_0000));
        assert!(told.contains("more than once"), "{told}");
    }
    for name in ["__start_mcount_loc", "_etext", "__ibt_endbr_seal_end", "__stop___kcrctab"] {
        let told = message(&|kernel| kernel.rename(name, "renamed"));
        assert!(told.contains("belong together"), "{name}: {told}");
    }
    let told = message(&|kernel| {
        kernel.rename("__start_mcount_loc", "a");
        kernel.rename("__stop_mcount_loc", "b");
    });
    assert!(told.contains("ftrace's places"), "{told}");
    let told = message(&|kernel| kernel.rename("__stop___kcrctab", "__stop___kcrctab2"));
    assert!(told.contains("belong together"), "{told}");
    let told = message(&|kernel| {
        kernel.rename("vermagic", "v");
        kernel.place("vermagic", 'd', b"6.1.0 SMP \0");
    });
    assert!(told.contains("`vermagic`"), "{told}");
}

/// A module with all tables: `traced` in `.text` at 16, sealed; `noinstr` without an entry.
fn module_file(crc_relocation: bool) -> Vec<u8> {
    use object::SectionKind::ReadOnlyData;
    use object::elf::*;
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
    let info = b"license=GPL\0depends=\0name=some_module\0vermagic=6.12.1-test SMP \0";
    section(".modinfo", ReadOnlyData, info);
    let code: Vec<u8> = [[0x90; 16].to_vec(), code(true), ENDBR.to_vec()].concat();
    let text = section(".text", object::SectionKind::Text, &code);
    let strings = section("__ksymtab_strings", ReadOnlyData, b"\0delta\0SPACE\0epsilon\0");
    let mcount = section("__mcount_loc", ReadOnlyData, &[0; 8]);
    let seal = section(".ibt_endbr_seal", ReadOnlyData, &[0; 4]);
    let plain = section("__ksymtab", ReadOnlyData, &[0; 12]);
    let crc = section("__kcrctab", ReadOnlyData, &0x77_u32.to_le_bytes());
    let gpl = section("__ksymtab_gpl", ReadOnlyData, &[0; 12]);
    section("__kcrctab_gpl", ReadOnlyData, &0x78_u32.to_le_bytes());
    let mut relocate = |section, offset, kind, target, addend| {
        let symbol = file.section_symbol(target);
        let flags = object::RelocationFlags::Elf { r_type: kind };
        let relocation = write::Relocation { offset, symbol, addend, flags };
        file.add_relocation(section, relocation).unwrap();
    };
    relocate(mcount, 0, R_X86_64_64, text, 20);
    relocate(seal, 0, R_X86_64_PC32, text, 16);
    for (table, name, namespace) in [(plain, 1, 7), (gpl, 13, 0)] {
        relocate(table, 0, R_X86_64_PC32, text, 16);
        relocate(table, 4, R_X86_64_PC32, strings, name);
        relocate(table, 8, R_X86_64_PC32, strings, namespace);
    }
    if crc_relocation {
        relocate(crc, 0, R_X86_64_32, text, 0);
    }
    file.write().unwrap()
}

#[test]
fn tables_of_a_module_are_its_relocations() {
    let module = Module::parse("some_module.ko", module_file(false)).unwrap();
    let text = module.sections_named(".text").next().unwrap();
    let sites = FtraceSites::of_module(&module).unwrap();
    assert!(sites.has_entry_in(text, 16, 32));
    assert!(!sites.has_entry_in(text, 0, 16) && !sites.has_entry_in(text + 1, 16, 32));
    let seals = EndbrSeals::of_module(&module).unwrap();
    assert!(!seals.may_be_called_in(&module, text, 16), "sealed");
    assert!(!seals.may_be_called_in(&module, text, 0), "without ENDBR64");
    assert!(seals.may_be_called_in(&module, text, 48));
    assert!(!seals.may_be_called_in(&module, text, u64::MAX));
    let shipped = exports::of_module(&module).unwrap();
    let listed = "0x00000077\tdelta\tdrivers/some-module\tEXPORT_SYMBOL\tSPACE\n\
        0x00000078\tepsilon\tdrivers/some-module\tEXPORT_SYMBOL_GPL\t\n";
    let parse = |text: &str| symvers::parse("Module.symvers", text).unwrap();
    exports::compare("some_module", &shipped, &parse(listed)).unwrap();
    let other = parse(&listed.replace("78", "79"));
    assert!(exports::compare("some_module", &shipped, &other).is_err());
    let module = Module::parse("some_module.ko", module_file(true)).unwrap();
    assert!(exports::of_module(&module).is_err(), "CRCs that are not in the file");
}

#[test]
fn damaged_tables_never_panic() {
    let elf = kernel(false).0.finish();
    for data in Mutations::of(&elf, 400) {
        let Ok(image) = Image::parse("vmlinux", data) else { continue };
        let Ok(kallsyms) = Kallsyms::read(&image) else { continue };
        drop(FtraceSites::of_image(&image, &kallsyms).map(|sites| sites.has_entry(0, u64::MAX)));
        drop(EndbrSeals::of_image(&image, &kallsyms));
        drop(TextRanges::of_image(&image, &kallsyms));
        drop(exports::of_image(&image, &kallsyms));
        drop(vermagic(&image, &kallsyms));
    }
    let file = module_file(false);
    let mut refused = 0;
    for data in Mutations::of(&file, 600) {
        let Ok(module) = Module::parse("x.ko", data) else { continue };
        drop(FtraceSites::of_module(&module));
        drop(EndbrSeals::of_module(&module).map(|seals| seals.may_be_called_in(&module, 2, 16)));
        refused += usize::from(exports::of_module(&module).is_err());
    }
    assert!(refused > 10, "the exports of {refused} damaged modules were refused");
}

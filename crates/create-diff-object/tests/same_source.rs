//! Objects of one source, compiled with and without a section for each function and variable: nameless
//! data, as the tables of `switch` statements, is cut and padded otherwise in them.

use std::fs;
use std::process::Command;

use create_diff_object::same_source;
use kpatch_elf::ObjectFile;

/// Tables of three functions, one behind the other, and constants behind them. One function refers to these
/// by the place before their start: in the last table, or in the padding behind it.
const SOURCE: &str = "
extern int sink(int);
extern int others(void);
static const unsigned char bytes[5] __attribute__((aligned(ALIGNED))) = { 1, 2, 3, 4, 5 };

const unsigned char *before(void)
{
	return bytes - 1;
}

int first(int n)
{
	switch (n) {
	case 0: return sink(10);
	case 1: return sink(11) * 2;
	case 2: case 7: return sink(12) * 3;
	case 3: return sink(13) * 4;
	case MOVED: return sink(14) * 5;
	case 5: return sink(15) * 6;
	}
	return others();
}

int second(int n)
{
	switch (n) {
	case 0: return sink(20) * 7;
	case 1: return sink(21) * 8;
	case 2: return sink(22) * 9;
	case 3: return sink(23) * 10;
	case 4: return sink(24) * 11;
	}
	return others();
}

int third(int n)
{
	switch (n) {
	case 0: return sink(30) * 12;
	case 1: return sink(31) * 13;
	case 2: return sink(32) * 14;
	case 3: return sink(33) * 15;
	case 5: return sink(35) * 16;
	}
	return others();
}
";

fn compile(options: &[&str]) -> ObjectFile {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("source.c"), SOURCE).unwrap();
    let status = Command::new("gcc")
        .args(["-O2", "-fno-pic", "-mcmodel=kernel", "-mno-red-zone", "-fcf-protection=none"])
        .args(["-fno-asynchronous-unwind-tables", "-c", "source.c", "-o", "out.o"])
        .args(options)
        .current_dir(directory.path())
        .status();
    assert!(status.unwrap().success(), "{options:?}");
    kpatch_elf::read(&fs::read(directory.path().join("out.o")).unwrap()).unwrap()
}

/// As kbuild compiles it.
fn exact(defines: &[&str]) -> ObjectFile {
    compile(defines)
}

/// As the patch is cut from it.
fn sectioned(defines: &[&str]) -> ObjectFile {
    compile(&[defines, &["-ffunction-sections", "-fdata-sections"]].concat())
}

fn different(one: &ObjectFile, other: &ObjectFile) -> Vec<String> {
    let different = same_source::different_functions("source.o", one, other).unwrap();
    different.into_iter().map(|other| other.function).collect()
}

/// How many bytes the section of this name has.
fn size(object: &ObjectFile, name: &str) -> u64 {
    object.sections.iter().find(|section| section.name == name).unwrap().size
}

/// The bytes of the tables of `first`, `second` and `third`.
const TABLES: [u64; 3] = [8 * 8, 5 * 8, 6 * 8];

#[test]
fn tables_beside_each_other_are_the_tables_by_themselves() {
    for (alignment, padding) in [("-DALIGNED=1", 0), ("-DALIGNED=32", 8)] {
        let defines = ["-DMOVED=4", alignment];
        let (one, other) = (exact(&defines), sectioned(&defines));
        let tables = ["first", "second", "third"].map(|name| format!(".rodata.{name}"));
        assert_eq!(tables.map(|name| size(&other, &name)), TABLES);
        // Or the test would show less than it says.
        let constants = 5;
        assert_eq!(size(&one, ".rodata"), TABLES.iter().sum::<u64>() + padding + constants);
        assert_eq!(different(&one, &other), Vec::<String>::new(), "{alignment}");
    }
}

#[test]
fn a_table_that_is_another_is_seen() {
    let other = sectioned(&["-DMOVED=6", "-DALIGNED=32"]);
    let same = sectioned(&["-DMOVED=4", "-DALIGNED=32"]);
    assert_eq!(size(&other, ".text.first"), size(&same, ".text.first"));
    assert_eq!(different(&exact(&["-DMOVED=4", "-DALIGNED=32"]), &other), ["first"]);
}

#[test]
fn what_only_begins_like_a_table_is_not_it() {
    let defines = ["-DMOVED=4", "-DALIGNED=32"];
    let (mut one, other) = (exact(&defines), sectioned(&defines));
    // The section ends within the last table.
    let kept = TABLES.iter().sum::<u64>() - 8;
    let section = one.sections.iter_mut().find(|section| section.name == ".rodata").unwrap();
    section.data.truncate(kept as usize);
    section.size = kept;
    section.relocations.retain(|relocation| relocation.offset < kept);
    let bytes = one.symbols.iter_mut().find(|symbol| symbol.name == "bytes").unwrap();
    (bytes.value, bytes.size) = (kept, 0);
    assert!(different(&one, &other).contains(&"third".to_owned()));
}

//! Programs for the tests: compiled by gcc and linked by ld at test time, as a kernel is.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use kpatch_elf::ObjectFile;
use kpatch_elf::RelocationKind;
use object::Object;
use object::ObjectSection;
use object::ObjectSymbol;
use run_pre::Place;
use run_pre::Running;

/// As for kernel code: absolute 32-bit addresses in the highest 2 GiB, no tables of jumps.
const FLAGS: &[&str] = &[
    "-c",
    "-O2",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-fno-jump-tables",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
];

/// A directory of objects.
pub(crate) struct Workshop(tempfile::TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Compiles `source` to `name.o` with the usual flags and `more`.
    pub(crate) fn compile(&self, name: &str, source: &str, more: &[&str]) -> PathBuf {
        let (file, object) = (self.path(&format!("{name}.c")), self.path(&format!("{name}.o")));
        fs::write(&file, source).unwrap();
        run(Command::new("gcc").args(FLAGS).args(more).arg("-o").arg(&object).arg(&file));
        object
    }

    /// Links objects at the kernel's usual address.
    pub(crate) fn link(&self, objects: &[&Path]) -> Linked {
        let file = self.path("linked");
        run(Command::new("ld")
            .args(["-static", "-Ttext=0xffffffff81000000", "-e", "0", "-z", "noexecstack"])
            .args(["-z", "max-page-size=4096", "--no-warn-rwx-segments", "-o"])
            .arg(&file)
            .args(objects));
        Linked { elf: fs::read(file).unwrap() }
    }

    /// Links objects as a module is.
    pub(crate) fn module(&self, objects: &[&Path]) -> ObjectFile {
        let file = self.path("module.ko");
        run(Command::new("ld").args(["-r", "-o"]).arg(&file).args(objects));
        read(&file)
    }
}

pub(crate) fn read(path: &Path) -> ObjectFile {
    kpatch_elf::read(&fs::read(path).unwrap()).unwrap()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}:\n{text}");
}

/// A linked program as what runs, known by its own symbol table. Another reader than the one under
/// test.
pub(crate) struct Linked {
    elf: Vec<u8>,
}

impl Linked {
    fn file(&self) -> object::File<'_> {
        object::File::parse(self.elf.as_slice()).unwrap()
    }

    /// Changes bytes that run.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        let at = {
            let file = self.file();
            let holds = |s: &object::Section<'_, '_>| {
                (s.address()..s.address() + s.size()).contains(&address) && s.address() != 0
            };
            let section = file.sections().find(holds).unwrap();
            section.file_range().unwrap().0 + address - section.address()
        };
        self.elf[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn addresses(&self, name: &str) -> Vec<u64> {
        let file = self.file();
        let named = file.symbols().filter(|symbol| symbol.name() == Ok(name));
        let mut all: Vec<u64> = named.map(|symbol| symbol.address()).collect();
        all.sort_unstable();
        all
    }
}

pub(crate) fn place(address: u64) -> Place {
    Place::Address(address as u32)
}

impl Running for Linked {
    fn named(&self, name: &str) -> Vec<Place> {
        self.addresses(name).into_iter().map(place).collect()
    }

    fn bytes(&self, at: Place) -> Option<&[u8]> {
        let Place::Address(at) = at else { return None };
        let address = run_pre::vmlinux::link_address(at);
        let range = {
            let file = self.file();
            let holds = |s: &object::Section<'_, '_>| {
                s.address() != 0 && (s.address()..s.address() + s.size()).contains(&address)
            };
            let section = file.sections().find(holds)?;
            let (start, len) = section.file_range()?;
            let from = start + address - section.address();
            from as usize..(start + len) as usize
        };
        self.elf.get(range)
    }

    fn symbol_of_slot(&self, slot: Place, kind: RelocationKind, addend: i64) -> Option<Place> {
        let Place::Address(at) = slot else { return None };
        let field = self.bytes(slot)?.first_chunk::<4>()?;
        let from = if kind.is_pc_relative() { at } else { 0 };
        let symbol = u32::from_le_bytes(*field).wrapping_add(from).wrapping_sub(addend as u32);
        Some(Place::Address(symbol))
    }

    fn branch_target(&self, _slot: Place, _end: Place, to: Place) -> Option<Place> {
        Some(to)
    }

    fn extent(&self, place: Place) -> Option<u64> {
        let Place::Address(at) = place else { return None };
        let address = run_pre::vmlinux::link_address(at);
        let file = self.file();
        let next = file.symbols().map(|symbol| symbol.address()).filter(|next| *next > address);
        Some(next.min()? - address)
    }

    fn name_of(&self, place: Place) -> Cow<'_, str> {
        format!("{place:?}").into()
    }
}

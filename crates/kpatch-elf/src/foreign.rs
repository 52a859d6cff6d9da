//! Says by name what a file is that cannot be patched from: an archive, an executable, code for another
//! machine, or the intermediate code of a compiler. Bias: a file with intermediate code beside machine
//! code is refused as well, for what is linked in the end is made of the former.
//!
//! Sources: ELF gABI (header), `gcc/lto-section-names.h` of gcc, `llvm/docs/{BitCodeFormat,FatLTO}.rst`.

use crate::read::ReadError;

/// Checks the first bytes, before anything of the file is understood.
///
/// # Errors
/// [`ReadError::Bitcode`], [`ReadError::Foreign`]; [`ReadError::Malformed`] for what is nothing known.
pub(crate) fn check_header(data: &[u8]) -> Result<(), ReadError> {
    const MAGICS: [(&[u8], &str); 2] =
        [(b"!<arch>\n", "an archive"), (b"!<thin>\n", "a thin archive")];
    // As such, and in the wrapper of some systems.
    if data.starts_with(b"BC\xc0\xde") || data.starts_with(b"\xde\xc0\x17\x0b") {
        return Err(ReadError::Bitcode);
    }
    if let Some((_, what)) = MAGICS.iter().find(|(magic, _)| data.starts_with(magic)) {
        return Err(ReadError::Foreign((*what).into()));
    }
    if !data.starts_with(b"\x7fELF") {
        return Err(ReadError::Malformed("it does not begin as an ELF file does".into()));
    }
    let Some(header) = data.get(..20) else {
        return Err(ReadError::Malformed("it ends within the header".into()));
    };
    let (class, order) = (header[4], header[5]);
    let number = |at: usize| match order {
        2 => u16::from_be_bytes([header[at], header[at + 1]]),
        _ => u16::from_le_bytes([header[at], header[at + 1]]),
    };
    let mut said = Vec::new();
    let machine = number(18);
    if machine != 62 {
        said.push(machine_name(machine));
    }
    if class == 1 {
        said.push("32-bit".to_owned());
    }
    if order == 2 {
        said.push("big-endian".to_owned());
    }
    match number(16) {
        1 => {}
        2 => said.push("an executable".to_owned()),
        3 => said.push("a shared object or position-independent executable".to_owned()),
        4 => said.push("a core dump".to_owned()),
        other => said.push(format!("of file type {other}")),
    }
    if said.is_empty() { Ok(()) } else { Err(ReadError::Foreign(said.join(", "))) }
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "i386",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "PowerPC64",
        22 => "s390",
        40 => "ARM",
        183 => "AArch64",
        243 => "RISC-V",
        247 => "BPF",
        258 => "LoongArch",
        other => return format!("machine {other}"),
    };
    format!("for {name}")
}

/// Checks the name of a section.
///
/// # Errors
/// [`ReadError::Intermediate`].
pub(crate) fn check_section(name: &str) -> Result<(), ReadError> {
    let compiler = match name {
        ".llvm.lto" | ".llvmbc" | ".llvmcmd" => "LLVM bitcode",
        _ if name.starts_with(".gnu.lto_") || name.starts_with(".gnu.debuglto_") => "gcc's GIMPLE",
        _ => return Ok(()),
    };
    Err(ReadError::Intermediate { compiler, section: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: u8, order: u8, kind: u8, machine: u8) -> Vec<u8> {
        let mut bytes = [b"\x7fELF".as_slice(), &[class, order, 1], &[0; 9]].concat();
        match order {
            2 => bytes.extend([0, kind, 0, machine]),
            _ => bytes.extend([kind, 0, machine, 0]),
        }
        bytes
    }

    #[test]
    fn says_what_it_is() {
        let said = |bytes: &[u8]| check_header(bytes).unwrap_err().to_string();
        assert!(check_header(&header(2, 1, 1, 62)).is_ok());
        assert!(said(&header(1, 1, 1, 3)).ends_with("for i386, 32-bit"));
        assert!(said(&header(1, 1, 1, 62)).ends_with("32-bit"));
        assert!(said(&header(2, 2, 1, 22)).ends_with("for s390, big-endian"));
        assert!(said(&header(2, 1, 2, 62)).ends_with("an executable"));
        assert!(said(b"!<thin>\n").ends_with("a thin archive"));
        assert!(said(b"BC\xc0\xde").starts_with("LLVM bitcode"));
        assert!(said(b"\x7fELF\x02").contains("ends within"));
        assert!(said(b"").contains("does not begin"));
    }

    #[test]
    fn knows_intermediate_code_by_its_sections() {
        assert!(check_section(".gnu.lto_.decls.3a5f").is_err());
        assert!(check_section(".llvm.lto").is_err());
        assert!(check_section(".llvm_addrsig").is_ok());
        assert!(check_section(".text.lto_priv").is_ok());
    }
}

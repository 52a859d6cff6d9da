//! Programs of this machine for the guest, with the libraries that they are linked with: for scripts that
//! need more than busybox.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::cpio::Archive;

/// Where programs are that the `PATH` of a user may lack.
const SYSTEM: &[&str] = &["/usr/sbin", "/sbin"];

/// Adds programs to `/bin`, in the place of what busybox has of their names, and their libraries where the
/// dynamic linker looks for them.
///
/// # Errors
/// When this machine does not have one.
pub fn add(archive: &mut Archive, names: &[String]) -> Result<()> {
    let mut all = BTreeSet::new();
    for name in names {
        let program = find(name)?;
        archive.file(&format!("bin/{name}"), 0o755, &read(&program)?);
        all.extend(libraries(&program)?);
    }
    for library in all {
        let place = library.trim_start_matches('/');
        archive.file(place, 0o755, &read(Path::new(&library))?);
    }
    Ok(())
}

fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("no `{name}` on this machine (scripts/setup.sh installs it)"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}

/// The libraries of a program, the dynamic linker among them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run `ldd`")?;
    let name = program.display();
    anyhow::ensure!(output.status.success(), "`ldd {name}` fails: it must be a dynamic program");
    Ok(paths(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in what `ldd` prints: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, or a path alone.
fn paths(listing: &str) -> Vec<String> {
    let words = listing.split_whitespace();
    words.filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_prints() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x0000)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x0001)\n";
        assert_eq!(paths(listing), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = add(&mut Archive::new(), &["no-such-program".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
    }
}

//! Writes the archive that the kernel unpacks as its first root: `newc` cpio, as described in the
//! kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.
//!
//! Own writer: no root is needed for device nodes, and the archive depends on its input alone (no
//! times, no owners), so equal guests are equal bytes.

use std::collections::BTreeSet;

const TYPE_DIR: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_CHAR: u32 = 0o020_000;

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    next_inode: u32,
    dirs: BTreeSet<String>,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory `path` (relative, without leading slash), with its parents. Repeating one is
    /// fine.
    pub fn dir(&mut self, path: &str) {
        self.parents(path);
        if self.dirs.insert(path.to_owned()) {
            self.entry(path, TYPE_DIR | 0o755, (0, 0), b"");
        }
    }

    /// A regular file; `mode` are its permission bits.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path, TYPE_FILE | mode, (0, 0), content);
    }

    /// A symbolic link from `path` to `target`.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, TYPE_LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// A character device node.
    pub fn char_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, TYPE_CHAR | 0o600, (major, minor), b"");
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.dir(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.next_inode += 1;
        let fields = [
            self.next_inode,
            mode,
            0, // owner
            0, // group
            1, // links
            0, // time
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0, // device that holds the file
            0,
            device.0,
            device.1,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0, // checksum, unused in this variant
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        while self.bytes.len() % 4 != 0 {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn writes_headers_names_and_padding_as_newc_wants_them() {
        let mut archive = Archive::new();
        archive.file("a/b", 0o644, b"12345");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        // Header of 110 bytes, name of 2, no padding; then the next entry.
        assert!(text.starts_with("070701000000010000 41ED".replace(' ', "").as_str()), "{text}");
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..118], b"070701");
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn cpio_lists_what_was_written() {
        let mut archive = Archive::new();
        archive.file("bin/tool", 0o755, b"x");
        archive.file("bin/other", 0o755, b"yy");
        archive.symlink("bin/sh", "tool");
        archive.char_device("dev/console", 5, 1);
        let child = Command::new("cpio")
            .args(["-t", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        // The tool is only a second opinion; the kernel reads the archive in every boot.
        let Ok(mut child) = child else { return };
        child.stdin.take().unwrap().write_all(&archive.finish()).unwrap();
        let output = child.wait_with_output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = list.lines().collect();
        assert_eq!(names, ["bin", "bin/tool", "bin/other", "bin/sh", "dev", "dev/console"]);
    }
}

//! The banner of a kernel image: which release, of which source, by which compiler.
//!
//! Its form is `linux_banner` in the kernel's init/version-timestamp.c: `Linux version RELEASE
//! (WHO@WHERE) (COMPILER, LINKER) NUMBER ... [Debian VERSION] (DATE)`.

use std::fmt;

use memchr::memmem;

const START: &[u8] = b"Linux version ";

/// The longest banner that is believed; the kernel's own limit for its parts is 64 bytes each, the
/// compiler's name has none.
const LONGEST: usize = 1024;

/// What a kernel says of itself, as in `/proc/version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// All of it, without the line end.
    pub text: String,
    /// What `uname -r` prints: `6.12.117+deb12-cloud-amd64`. On Debian this need not contain the
    /// version of the source (`6.1.0-56-cloud-amd64`).
    pub release: String,
    /// The version of the source: `6.12.117`. From the package's version where there is one, else
    /// from the release.
    pub source_version: String,
    /// The version of the Debian source package, `6.12.117-1~deb12u1`, if there is one.
    pub package_version: Option<String>,
    /// The compiler as in `CONFIG_CC_VERSION_TEXT`.
    pub compiler: String,
    /// The linker, as it calls itself.
    pub linker: String,
}

impl Banner {
    /// Finds the banner in the bytes of an uncompressed kernel.
    pub fn find(data: &[u8]) -> Option<Self> {
        // `linux_proc_banner` starts alike, but goes on with `%s`.
        memmem::find_iter(data, START).find_map(|at| {
            let window = &data[at..data.len().min(at + LONGEST)];
            let end = memmem::find(window, b"\n\0")?;
            Self::parse(std::str::from_utf8(&window[..end]).ok()?)
        })
    }

    /// Takes a banner apart; `None` if it is not of the form of this module's description.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('\n');
        let rest = text.strip_prefix("Linux version ")?;
        let (release, rest) = rest.split_once(" (")?;
        if !release.starts_with(|c: char| c.is_ascii_digit()) || release.contains(' ') {
            return None;
        }
        let (_, rest) = rest.split_once(") (")?;
        // The toolchain ends where its own parenthesis closes: names contain pairs of them.
        let (toolchain, rest) = rest.split_at_checked(closing_parenthesis(rest)?)?;
        let (compiler, linker) = split_linker(toolchain)?;
        // The placeholder that init/version.c leaves in the image has a `#` without a number.
        if !rest.strip_prefix(") #")?.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let package_version = rest
            .split_once(" Debian ")
            .and_then(|(_, version)| version.split_whitespace().next())
            .map(str::to_string);
        let source_version =
            source_version(package_version.as_deref().map_or(release, upstream_version))?;
        Some(Self {
            text: text.to_string(),
            release: release.to_string(),
            source_version,
            package_version,
            compiler: compiler.to_string(),
            linker: linker.to_string(),
        })
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Index of the parenthesis that closes the one before `text`.
fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// `COMPILER, LINKER` (scripts/mkcompile_h): the linker is the last part; a comma inside of
/// parentheses belongs to a name.
fn split_linker(toolchain: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let mut split = None;
    for (at, c) in toolchain.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => split = Some(at),
            _ => {}
        }
    }
    let (compiler, linker) = toolchain.split_at(split?);
    Some((compiler, linker.trim_start_matches(',').trim_start()))
}

/// A Debian version without its revision, written as the kernel does: `6.12~rc6-1~exp1` is
/// `6.12-rc6`.
fn upstream_version(package: &str) -> &str {
    package.rsplit_once('-').map_or(package, |(upstream, _)| upstream)
}

/// `6.12.117` of `6.12.117+deb12-cloud-amd64`, `6.12-rc6` of `6.12~rc6` and of `6.12-rc6-foo`.
fn source_version(text: &str) -> Option<String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.split('.').count() < 2 || number.split('.').any(str::is_empty) {
        return None;
    }
    let candidate = rest.strip_prefix(['~', '-']).and_then(|rest| rest.strip_prefix("rc"));
    let candidate: String =
        candidate.into_iter().flat_map(str::chars).take_while(char::is_ascii_digit).collect();
    match candidate.as_str() {
        "" => Some(number.to_string()),
        candidate => Some(format!("{number}-rc{candidate}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "Linux version 6.12.117+deb12-cloud-amd64 \
        (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-12 (Debian 12.2.0-14+deb12u1) \
        12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian \
        6.12.117-1~deb12u1 (2026-11-14)";

    #[test]
    fn takes_a_debian_banner_apart() {
        let banner = Banner::parse(DEBIAN).unwrap();
        assert_eq!(banner.release, "6.12.117+deb12-cloud-amd64");
        assert_eq!(banner.source_version, "6.12.117");
        assert_eq!(banner.package_version.as_deref(), Some("6.12.117-1~deb12u1"));
        assert_eq!(banner.compiler, "x86_64-linux-gnu-gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0");
        assert_eq!(banner.linker, "GNU ld (GNU Binutils for Debian) 2.40");
    }

    #[test]
    fn the_package_tells_the_source_where_the_release_does_not() {
        let banner = |release: &str, end: &str| {
            let text = format!("Linux version {release} (a@b) (gcc 12, GNU ld 2.40) #1 SMP {end}");
            let banner = Banner::parse(&text).unwrap();
            (banner.source_version, banner.package_version)
        };
        let package = |version: &str| Some(version.to_string());
        assert_eq!(
            banner("6.1.0-54-cloud-amd64", "Debian 6.1.190-1 (2026-01-01)"),
            ("6.1.190".to_string(), package("6.1.190-1"))
        );
        assert_eq!(
            banner("7.3-rc2-amd64", "Debian 7.3~rc2-1~exp1 (2026-01-01)"),
            ("7.3-rc2".to_string(), package("7.3~rc2-1~exp1"))
        );
        assert_eq!(banner("6.12.117", "Thu Jan 1"), ("6.12.117".to_string(), None));
        assert_eq!(banner("6.12.0-rc6-dirty", "Thu Jan 1"), ("6.12.0-rc6".to_string(), None));
    }

    #[test]
    fn finds_the_banner_behind_what_only_looks_like_it() {
        let placeholder = DEBIAN.replace("#1", "#");
        let format = b"..Linux version %s (x) (%s) %s\n\0".as_slice();
        let image = [format, placeholder.as_bytes(), b"\n\0", DEBIAN.as_bytes(), b"\n\0"];
        assert_eq!(Banner::find(&image.concat()).unwrap().text, DEBIAN);
        assert_eq!(Banner::find(b"Linux version 6.12 without an end"), None);
    }

    #[test]
    fn refuses_what_is_no_banner() {
        for text in [
            "",
            "Linux version ",
            "Linux version 6 (a@b) (gcc, ld) #1",
            "Linux version 6.12 (a@b) (gcc",
            "Linux version 6.12 (a@b) (gcc) #1",
            "Linux version %s (a@b) (gcc, ld) #1",
        ] {
            assert_eq!(Banner::parse(text), None, "{text}");
        }
    }
}

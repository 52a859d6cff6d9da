//! What the toolchain says when it will not go on: a stable code, the place, what is wrong there,
//! and what the user can do.
//!
//! A refusal is an answer about the user's patch, kernel or tree (exit code 3), not a failure of
//! the tool (exit code 1). Bias: *when unsure, refuse*. A refused good patch costs time, a bad one
//! costs a machine.

mod code;

pub use code::Code;

use std::fmt;

/// Where the reason for a refusal was found. Every part is optional; what is known is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Object file, module or other artefact, as the user knows it (`fs/proc/cmdline.o`).
    pub object: Option<String>,
    /// Function or data symbol.
    pub symbol: Option<String>,
    /// Source file relative to the kernel tree, or a patch file.
    pub file: Option<String>,
    /// Line in `file`, counted from 1.
    pub line: Option<u32>,
}

impl Place {
    /// A place that is an object file.
    pub fn object(name: impl Into<String>) -> Self {
        Self { object: Some(name.into()), ..Self::default() }
    }

    /// A place that is a file of the source tree or a patch.
    pub fn file(name: impl Into<String>) -> Self {
        Self { file: Some(name.into()), ..Self::default() }
    }

    /// The same place, narrowed to a symbol.
    #[must_use]
    pub fn symbol(mut self, name: impl Into<String>) -> Self {
        self.symbol = Some(name.into());
        self
    }

    /// The same place, narrowed to a line of its file.
    #[must_use]
    pub fn line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(object) = &self.object {
            parts.push(format!("object `{object}`"));
        }
        if let Some(symbol) = &self.symbol {
            parts.push(format!("symbol `{symbol}`"));
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => parts.push(format!("{file}:{line}")),
            (Some(file), None) => parts.push(file.clone()),
            (None, _) => {}
        }
        f.write_str(&parts.join(", "))
    }
}

/// One reason why the patch cannot be built, in the user's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code: scripts and documentation refer to it.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// What is wrong, a lower-case fragment; may have several lines (a compiler's own message).
    pub message: String,
    /// What the user can do about it.
    pub hint: String,
}

impl Refusal {
    /// A refusal with all its parts.
    pub fn new(
        code: Code,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { code, place, message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if self.place != Place::default() {
            write!(f, "\n  at: {}", self.place)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// All refusals of one phase: the user should see every reason at once, not one per attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

impl Refusals {
    /// `Ok(value)` if nothing was refused.
    ///
    /// # Errors
    /// The refusals, sorted by place and without repetitions.
    pub fn none_or<T>(mut refusals: Vec<Refusal>, value: T) -> Result<T, Refusals> {
        if refusals.is_empty() {
            return Ok(value);
        }
        refusals.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
        refusals.dedup();
        Err(Refusals(refusals))
    }
}

impl From<Refusal> for Refusals {
    fn from(refusal: Refusal) -> Self {
        Refusals(vec![refusal])
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, refusal) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            refusal.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_code_place_and_hint() {
        let place = Place::object("fs/proc/cmdline.o").symbol("cmdline_proc_show");
        let refusal =
            Refusal::new(Code::NoFtraceEntry, place, "cannot be patched", "patch callers");
        assert_eq!(
            refusal.to_string(),
            "KPB0403: cannot be patched\n  at: object `fs/proc/cmdline.o`, symbol \
             `cmdline_proc_show`\n  hint: patch callers"
        );
    }
}

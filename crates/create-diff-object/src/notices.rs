//! What the user should know of a patch that can be built all the same: things that were left out of it,
//! and why. Bias: whatever is left out of what the source says, without being refused, is said here.

use std::fmt;

use kpatch_refusal::Place;

/// A warning. Printed as `warning: …`, it refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Where.
    pub place: Place,
    /// What, a lower-case fragment.
    pub text: String,
}

impl Notice {
    /// A notice with its parts.
    pub fn new(place: Place, text: impl Into<String>) -> Self {
        Notice { place, text: text.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.place != Place::default() {
            write!(f, " ({})", self.place)?;
        }
        Ok(())
    }
}

/// Notices as users read them: by place, each once.
pub(crate) fn sorted(mut notices: Vec<Notice>) -> Vec<Notice> {
    notices.sort();
    notices.dedup();
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_where() {
        let place = Place::object("fs/smb.o").symbol("f");
        let notice = Notice::new(place, "the tracepoint stays off");
        assert_eq!(notice.to_string(), "the tracepoint stays off (object `fs/smb.o`, symbol `f`)");
        assert_eq!(Notice::new(Place::default(), "x").to_string(), "x");
        let twice = vec![notice.clone(), Notice::new(Place::default(), "x"), notice.clone()];
        assert_eq!(sorted(twice), [Notice::new(Place::default(), "x"), notice]);
    }
}

//! What a patch adds to the lists of objects in a Makefile. Bias: both texts must be equal but for the added
//! words, line by line; what would need make to be understood (a condition, a function) is not guessed.

use std::collections::BTreeSet;

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// The object: `new.o`.
    pub(super) object: String,
    /// The list, as it is written: `obj-y`, `proc-$(CONFIG_MMU)`.
    pub(super) list: String,
}

/// A logical line, without comment.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Assignment { variable: String, operator: &'static str, words: Vec<String> },
    Other(String),
}

/// The objects among `new` that `patched` lists and `original` does not.
///
/// # Errors
/// What else is changed, or why a list cannot be understood, as a fragment of a sentence.
pub(super) fn added(
    original: &str,
    patched: &str,
    new: &BTreeSet<String>,
) -> Result<Vec<Listed>, String> {
    let mut found = Vec::new();
    let mut left = Vec::new();
    let mut depth = 0_usize;
    let patched = lines(patched);
    for (index, line) in patched.iter().enumerate() {
        depth = depth_after(depth, line);
        let Line::Assignment { variable, operator, words } = line else {
            left.push(line.clone());
            continue;
        };
        let (objects, others): (Vec<String>, Vec<String>) =
            words.iter().cloned().partition(|word| new.contains(word));
        if objects.is_empty() {
            left.push(line.clone());
            continue;
        }
        let shown = format!("`{variable} {operator} {}`", words.join(" "));
        if depth > 0 {
            return Err(format!("{shown} is within a condition or a definition"));
        }
        if words.iter().any(|word| word.contains('$')) {
            return Err(format!("{shown} is a list that make computes"));
        }
        if patched[index + 1..].iter().any(|line| sets(line, variable)) {
            return Err(format!("{shown} is set to something else further below"));
        }
        found.extend(objects.into_iter().map(|object| Listed { object, list: variable.clone() }));
        if !(others.is_empty() && *operator == "+=") {
            left.push(Line::Assignment { variable: variable.clone(), operator, words: others });
        }
    }
    let original = lines(original);
    if left != original {
        let other = left.iter().zip(&original).find(|(new, old)| new != old);
        let shown = other.map_or("its end".to_owned(), |(line, _)| format!("`{}`", text(line)));
        return Err(format!("more is changed than lists of new objects, at {shown}"));
    }
    let mut seen = BTreeSet::new();
    match found.iter().find(|listed| !seen.insert(&listed.object)) {
        Some(listed) => Err(format!("`{}` is listed more than once", listed.object)),
        None => Ok(found),
    }
}

/// Whether a Makefile says something of the object `stem`.o alone: flags (`CFLAGS_x.o`, `KASAN_SANITIZE_x.o`), a
/// rule (`$(obj)/x.o:`), or what it is made of (`x-y`).
pub(super) fn is_named_apart(makefile: &str, stem: &str) -> bool {
    let named = |word: &str| {
        let head = word.strip_suffix(".o").and_then(|word| word.strip_suffix(stem));
        head.is_some_and(|head| {
            let is_upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            head.ends_with('/') || head.ends_with('_') && head.chars().all(is_upper)
        })
    };
    let parts = |variable: &str| {
        let suffix = variable.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
        suffix.is_some_and(|suffix| {
            matches!(suffix, "y" | "m" | "objs" | "") || suffix.starts_with('$')
        })
    };
    lines(makefile).iter().any(|line| {
        let is_made = matches!(line, Line::Assignment { variable, .. } if parts(variable));
        is_made || text(line).split([' ', '\t', ':', '=', ',']).any(named)
    })
}

/// Whether a Makefile computes for which objects flags are (`CFLAGS_$(x)`).
pub(super) fn names_objects_by_computing(makefile: &str) -> bool {
    lines(makefile).iter().any(|line| {
        let text = text(line);
        let mut places = text.match_indices("_$(").map(|(at, _)| &text[..at]);
        places.any(|before| before.ends_with(|c: char| c.is_ascii_uppercase()))
    })
}

fn sets(line: &Line, name: &str) -> bool {
    let Line::Assignment { variable, operator, .. } = line else { return false };
    variable == name && *operator != "+="
}

fn depth_after(depth: usize, line: &Line) -> usize {
    let Line::Other(text) = line else { return depth };
    match text.split(|c: char| !c.is_ascii_alphanumeric()).next() {
        Some("ifeq" | "ifneq" | "ifdef" | "ifndef" | "define") => depth + 1,
        Some("endif" | "endef") => depth.saturating_sub(1),
        _ => depth,
    }
}

fn text(line: &Line) -> String {
    match line {
        Line::Assignment { variable, operator, words } => {
            format!("{variable} {operator} {}", words.join(" "))
        }
        Line::Other(text) => text.clone(),
    }
}

/// The logical lines; those of comments and empty ones are left out.
fn lines(makefile: &str) -> Vec<Line> {
    let joined = makefile.replace("\\\n", " ");
    let line = |line: &str| {
        // In a recipe, which is the shell's, `#` can be anything.
        let is_recipe = line.starts_with('\t');
        let line = if is_recipe { line } else { line.split('#').next().unwrap_or_default() };
        let line = line.trim();
        (!line.is_empty()).then(|| assignment(line).unwrap_or_else(|| Line::Other(line.to_owned())))
    };
    joined.lines().filter_map(line).collect()
}

fn assignment(line: &str) -> Option<Line> {
    let at = line.find('=')?;
    let (left, value) = (&line[..at], &line[at + 1..]);
    let (left, operator) = ["+", ":", "?"]
        .iter()
        .zip(["+=", ":=", "?="])
        .find_map(|(sign, operator)| Some((left.strip_suffix(sign)?, operator)))
        .unwrap_or((left, "="));
    let variable = left.trim();
    let plain = !variable.is_empty() && !variable.contains([' ', '\t', ':', ',', '"', '\'']);
    plain.then(|| Line::Assignment {
        variable: variable.to_owned(),
        operator,
        words: value.split_whitespace().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# x\nobj-y := a.o b.o # c\nobj-$(CONFIG_M) += m.o\nm-y := c.o \\\n\td.o\n\n\
                       ifeq ($(CONFIG_X),y)\nobj-y += x.o\nendif\nCFLAGS_a.o += -DA\n\
                       $(obj)/b.o: $(obj)/gen.h\n";

    fn run(new: &str) -> Result<Vec<(String, String)>, String> {
        let objects = ["new.o", "other.o"].map(str::to_owned).into();
        let all = added(OLD, new, &objects)?;
        Ok(all.into_iter().map(|one| (one.object, one.list)).collect())
    }

    #[test]
    fn finds_objects_in_lists_new_and_old() {
        let list = |object: &str, list: &str| (object.to_owned(), list.to_owned());
        assert_eq!(run(OLD).unwrap(), []);
        let appended = OLD.to_owned() + "# more\nobj-y\t+= new.o\n";
        assert_eq!(run(&appended).unwrap(), [list("new.o", "obj-y")]);
        let within = OLD.replace("c.o \\\n", "c.o \\\n\tnew.o other.o \\\n");
        assert_eq!(run(&within).unwrap(), [list("new.o", "m-y"), list("other.o", "m-y")]);
        let both =
            OLD.replace("m.o\n", "m.o\nm-$(CONFIG_M) += other.o\n").replace("b.o #", "b.o new.o #");
        assert_eq!(run(&both).unwrap(), [list("new.o", "obj-y"), list("other.o", "m-$(CONFIG_M)")]);
    }

    #[test]
    fn everything_else_is_named() {
        for (from, to, reason) in [
            ("obj-y := a.o", "obj-y := c.o", "more is changed"),
            ("obj-y := a.o b.o", "obj-y := b.o new.o", "more is changed"),
            ("-DA", "-DB", "`CFLAGS_a.o += -DB`"),
            ("CFLAGS_a.o", "CFLAGS_new.o += -DN\nCFLAGS_a.o", "more is changed"),
            ("$(obj)/gen.h\n", "$(obj)/gen.h\nccflags-y += -DX\n", "at its end"),
            ("x.o\n", "x.o new.o\n", "within a condition"),
            ("a.o b.o", "a.o new.o new.o", "more is changed"),
            ("a.o b.o", "a.o b.o new.o new.o", "more than once"),
            ("$(obj)/b.o", "m-y += new.o\nobj-y += new.o\n$(obj)/b.o", "more than once"),
            ("$(obj)/b.o", "m-y := new.o\n$(obj)/b.o", "more is changed"),
            ("obj-$(CONFIG_M)", "m-y += new.o\nobj-$(CONFIG_M)", "further below"),
            ("$(obj)/b.o", "m-y += $(y) new.o\n$(obj)/b.o", "make computes"),
        ] {
            let text = OLD.replacen(from, to, 1);
            assert_ne!(text, OLD);
            let error = run(&text).unwrap_err();
            assert!(error.contains(reason), "{to}: {error}");
        }
    }

    #[test]
    fn knows_what_is_said_of_one_object() {
        for stem in ["a", "b", "m"] {
            assert!(is_named_apart(OLD, stem), "{stem}");
        }
        for stem in ["c", "d", "x", "obj"] {
            assert!(!is_named_apart(OLD, stem) || stem == "obj", "{stem}");
        }
        assert!(is_named_apart("KASAN_SANITIZE_kc.o := n\n", "kc"));
        assert!(!is_named_apart("obj-y := not_a.o\n", "a"));
        assert!(!names_objects_by_computing(OLD));
        assert!(names_objects_by_computing("$(foreach f, $(l), $(eval CFLAGS_$(f) = -I x))\n"));
    }
}

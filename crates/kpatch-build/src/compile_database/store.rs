//! The database as a file: a version line, the table of all distinct arguments, one line per unit
//! with numbers into the table, one line per included C file. Units are decoded when asked for:
//! loading costs little more than reading the file.

use std::collections::BTreeMap;
use std::collections::HashMap;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

use super::Owner;
use super::TranslationUnit;

const VERSION: &str = "kpatch compile database 2";

/// A loaded database.
#[derive(Debug)]
pub(super) struct Store {
    arguments: Vec<String>,
    /// The lines of the units, by main source file.
    units: BTreeMap<String, Vec<String>>,
    includers: BTreeMap<String, Vec<String>>,
}

/// The database's file for `units` and the includers of C files.
pub(super) fn write(units: &[TranslationUnit], included: &BTreeMap<String, Vec<String>>) -> String {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut table: Vec<&str> = Vec::new();
    let mut lines = String::new();
    for unit in units {
        let owners: Vec<&str> = unit.owners.iter().map(owner_text).collect();
        let module = if unit.module { "m" } else { "y" };
        let fields = [&*unit.source, &*unit.object, &*unit.modname, module, &*owners.join(",")];
        lines.push_str(&fields.map(escape).join("\t"));
        lines.push('\t');
        for (index, argument) in unit.arguments.iter().enumerate() {
            let number = *numbers.entry(argument).or_insert_with(|| {
                table.push(argument);
                table.len() - 1
            });
            if index > 0 {
                lines.push(' ');
            }
            lines.push_str(&number.to_string());
        }
        lines.push('\n');
    }
    let mut text = format!("{VERSION}\n{} {} {}\n", table.len(), units.len(), included.len());
    for argument in table {
        text.push_str(&escape(argument));
        text.push('\n');
    }
    text.push_str(&lines);
    for (file, mains) in included {
        let fields: Vec<String> =
            std::iter::once(file).chain(mains).map(|field| escape(field)).collect();
        text.push_str(&fields.join("\t"));
        text.push('\n');
    }
    text
}

impl Store {
    pub(super) fn parse(text: String) -> Result<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            bail!("the compile database is of another version");
        }
        let counts = lines.next().unwrap_or_default().split(' ').map(str::parse);
        let counts: Vec<usize> = counts.collect::<Result<_, _>>()?;
        let [arguments, units, included] = counts[..] else {
            bail!("the compile database is damaged");
        };
        let arguments: Vec<String> = lines.by_ref().take(arguments).map(unescape).collect();
        let mut by_source: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in lines.by_ref().take(units) {
            let source = unescape(line.split('\t').next().unwrap_or_default());
            by_source.entry(source).or_default().push(line.to_owned());
        }
        let mut includers = BTreeMap::new();
        for line in lines.by_ref().take(included) {
            let mut fields = line.split('\t').map(unescape);
            includers.insert(fields.next().unwrap_or_default(), fields.collect());
        }
        if by_source.values().map(Vec::len).sum::<usize>() != units || includers.len() != included {
            bail!("the compile database is cut off");
        }
        Ok(Self { arguments, units: by_source, includers })
    }

    pub(super) fn len(&self) -> usize {
        self.units.values().map(Vec::len).sum()
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.units.keys().map(String::as_str)
    }

    pub(super) fn has(&self, source: &str) -> bool {
        self.units.contains_key(source)
    }

    pub(super) fn includers(&self, source: &str) -> &[String] {
        self.includers.get(source).map_or(&[], Vec::as_slice)
    }

    pub(super) fn units(&self, source: &str) -> Result<Vec<TranslationUnit>> {
        let lines = self.units.get(source).map_or(&[][..], Vec::as_slice);
        lines.iter().map(|line| self.unit(line)).collect()
    }

    fn unit(&self, line: &str) -> Result<TranslationUnit> {
        let damaged = || format!("the compile database is damaged: {line:.80}");
        let fields: Vec<&str> = line.split('\t').collect();
        let [source, object, modname, module, owners, numbers] = fields[..] else {
            bail!(damaged());
        };
        let argument = |number: &str| self.arguments.get(number.parse::<usize>().ok()?).cloned();
        let arguments: Option<Vec<String>> = numbers.split(' ').map(argument).collect();
        let owners = owners.split(',').filter(|owner| !owner.is_empty()).map(|owner| {
            if owner == "vmlinux" {
                return Owner::Vmlinux;
            }
            let path = unescape(owner);
            let name = path.rsplit('/').next().unwrap_or_default().replace('-', "_");
            Owner::Module { name, path }
        });
        Ok(TranslationUnit {
            source: unescape(source),
            object: unescape(object),
            owners: owners.collect(),
            modname: unescape(modname),
            module: module == "m",
            added: false,
            arguments: arguments.with_context(damaged)?,
        })
    }
}

fn owner_text(owner: &Owner) -> &str {
    match owner {
        Owner::Vmlinux => "vmlinux",
        Owner::Module { path, .. } => path,
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => plain.push('\t'),
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let module = Owner::Module { name: "m_x".into(), path: "d/m-x".into() };
        let unit = TranslationUnit {
            source: "d/a.c".to_owned(),
            object: "d/a.o".to_owned(),
            owners: vec![Owner::Vmlinux, module],
            modname: "a".to_owned(),
            module: true,
            added: false,
            arguments: vec!["gcc".into(), "-DX=\"a\\b\tc\nd\"".into(), "gcc".into()],
        };
        let included = BTreeMap::from([("d/i.c".to_owned(), vec!["d/a.c".to_owned()])]);
        let text = write(std::slice::from_ref(&unit), &included);
        let store = Store::parse(text.clone()).unwrap();
        assert_eq!(store.units("d/a.c").unwrap(), [unit]);
        assert_eq!(store.includers("d/i.c"), ["d/a.c"]);
        assert!(store.units("d/b.c").unwrap().is_empty());
        let cut = &text[..text.len() - 12];
        assert!(Store::parse(cut[..cut.rfind('\n').unwrap()].to_owned()).is_err());
        assert!(Store::parse(text.replace("database 2", "database 0")).is_err());
    }
}

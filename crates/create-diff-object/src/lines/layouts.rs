//! Layouts of the structures, unions and enumerations that an object knows, and which of them another object
//! lays out differently. Bias: a member may get a new name, but no other place and size; a type that only one of the
//! objects knows is no difference.

use std::collections::BTreeMap;
use std::collections::HashMap;

use gimli::AttributeValue;
use gimli::DebuggingInformationEntry;
use gimli::Dwarf;
use gimli::Unit;
use gimli::UnitOffset;
use kpatch_elf::ObjectFile;

use super::debug;
use super::debug::Debug;
use super::debug::Slice;

/// A type that both objects know, with different layouts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relaid {
    /// As it is written: `struct sock`.
    pub name: String,
    /// What is different.
    pub what: String,
    /// File and line where the second object declares it, if it says so.
    pub place: Option<(String, u32)>,
}

/// The types that are laid out differently in `original` and `patched`, by name.
pub fn relaid(original: &ObjectFile, patched: &ObjectFile) -> Vec<Relaid> {
    let (original, patched) = rayon::join(|| Layouts::read(original), || Layouts::read(patched));
    let mut found = Vec::new();
    for (name, before) in &original.types {
        let Some(after) = patched.types.get(name) else { continue };
        // Several of a name are of several scopes, in the order of the source.
        let mut both = before.iter().zip(after);
        let Some((old, new)) = both.find(|(old, new)| !old.layout.agrees(&new.layout)) else {
            continue;
        };
        found.push(Relaid {
            name: name.clone(),
            what: old.layout.difference(&new.layout),
            place: new.place.clone(),
        });
    }
    for (name, value) in &original.enumerators {
        if let Some(other) = patched.enumerators.get(name).filter(|other| *other != value) {
            let what = format!("its value {value} becomes {other}");
            found.push(Relaid { name: format!("enumerator {name}"), what, place: None });
        }
    }
    found
}

/// Size and members.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Layout {
    /// In bytes.
    size: u64,
    /// Offset and size in bits, name; in the order of the source.
    members: Vec<(u64, u64, String)>,
}

impl Layout {
    fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        self.members.iter().map(|(offset, size, _)| (*offset, *size))
    }

    /// Whether code that knows one finds its way in the other. A member may have another name.
    fn agrees(&self, other: &Self) -> bool {
        self.size == other.size
            && self.places().eq(other.places())
            && self
                .members
                .iter()
                .zip(&other.members)
                .all(|((.., old), (.., new))| old == new || !other.has(old) && !self.has(new))
    }

    fn has(&self, member: &str) -> bool {
        self.members.iter().any(|(_, _, name)| name == member)
    }

    fn difference(&self, other: &Self) -> String {
        let size = match self.size == other.size {
            true => String::new(),
            false => format!("its size of {} bytes becomes {}; ", self.size, other.size),
        };
        let named = |layout: &Self, at: usize| {
            layout.members.get(at).map_or("nothing".to_owned(), |(offset, size, name)| {
                let name = if name.is_empty() { "a nameless member" } else { name };
                format!("`{name}` ({} bytes)", size.div_ceil(8))
                    + &format!(" at offset {}", offset / 8)
            })
        };
        let same =
            self.members.iter().zip(&other.members).take_while(|(old, new)| old == new).count();
        format!("{size}{} was {}", named(other, same), named(self, same))
    }
}

#[derive(Debug, Clone)]
struct Type {
    layout: Layout,
    place: Option<(String, u32)>,
}

#[derive(Debug, Default)]
struct Layouts {
    types: BTreeMap<String, Vec<Type>>,
    enumerators: BTreeMap<String, i128>,
}

impl Layouts {
    /// Reads the debug information of an object; what was read before an error is used.
    fn read(object: &ObjectFile) -> Self {
        let mut layouts = Layouts::default();
        Debug::read(object).each_unit(|dwarf, unit| {
            Reader { dwarf, unit, sizes: HashMap::new() }.collect(&mut layouts)
        });
        layouts
    }
}

/// Types refer to each other; no chain is that long.
const DEEPEST: usize = 32;

struct Reader<'a, 'b> {
    dwarf: &'b Dwarf<Slice<'a>>,
    unit: &'b Unit<Slice<'a>>,
    sizes: HashMap<UnitOffset, u64>,
}

impl<'a> Reader<'a, '_> {
    fn collect(&mut self, layouts: &mut Layouts) -> gimli::Result<()> {
        let unit = self.unit;
        let mut entries = unit.entries();
        while let Some((_, entry)) = entries.next_dfs()? {
            let kind = match entry.tag() {
                gimli::DW_TAG_structure_type => "struct",
                gimli::DW_TAG_union_type => "union",
                gimli::DW_TAG_enumerator => {
                    let value = entry.attr_value(gimli::DW_AT_const_value)?;
                    let value = value.and_then(|value| {
                        let signed = value.sdata_value().map(i128::from);
                        value.udata_value().map(i128::from).or(signed)
                    });
                    if let (Some(name), Some(value)) = (self.name(entry), value) {
                        layouts.enumerators.insert(name, value);
                    }
                    continue;
                }
                _ => continue,
            };
            let declared = entry.attr_value(gimli::DW_AT_declaration)?.is_some();
            let Some(name) = self.name(entry).filter(|_| !declared) else { continue };
            let layout = self.layout(entry, DEEPEST)?;
            let place = self.place(entry);
            let all = layouts.types.entry(format!("{kind} {name}")).or_default();
            all.push(Type { layout, place });
        }
        Ok(())
    }

    fn layout(
        &mut self,
        entry: &DebuggingInformationEntry<'_, '_, Slice<'a>>,
        depth: usize,
    ) -> gimli::Result<Layout> {
        let number = |attribute| {
            let value = entry.attr_value(attribute).ok().flatten();
            value.and_then(|value: AttributeValue<Slice<'a>>| value.udata_value())
        };
        let mut layout =
            Layout { size: number(gimli::DW_AT_byte_size).unwrap_or(0), members: vec![] };
        let mut tree = self.unit.entries_tree(Some(entry.offset()))?;
        let root = tree.root()?;
        let mut children = root.children();
        while let Some(child) = children.next()? {
            let member = child.entry();
            if member.tag() != gimli::DW_TAG_member {
                continue;
            }
            let value = |attribute| {
                let value = member.attr_value(attribute).ok().flatten();
                value.and_then(|value: AttributeValue<Slice<'a>>| value.udata_value())
            };
            let bytes = value(gimli::DW_AT_data_member_location).unwrap_or(0);
            let offset = value(gimli::DW_AT_data_bit_offset).unwrap_or(bytes.saturating_mul(8));
            let of = member.attr_value(gimli::DW_AT_type)?;
            let name = self.name(member).unwrap_or_default();
            let Some(AttributeValue::UnitRef(of)) = of else { continue };
            let inner = self.unit.entry(of)?;
            let nameless = self.name(&inner).is_none()
                && matches!(inner.tag(), gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type);
            if nameless && depth > 0 {
                // It has no name by which it would be compared.
                for (at, size, of) in self.layout(&inner, depth - 1)?.members {
                    layout.members.push((offset.saturating_add(at), size, of));
                }
            }
            let size = match value(gimli::DW_AT_bit_size) {
                Some(bits) => bits,
                None => self.size(of, DEEPEST).saturating_mul(8),
            };
            layout.members.push((offset, size, name));
        }
        Ok(layout)
    }

    /// Size of a type in bytes; 0 if it has none.
    fn size(&mut self, of: UnitOffset, depth: usize) -> u64 {
        if let Some(size) = self.sizes.get(&of) {
            return *size;
        }
        let size = if depth == 0 { None } else { self.size_now(of, depth - 1) };
        let size = size.unwrap_or(0);
        self.sizes.insert(of, size);
        size
    }

    fn size_now(&mut self, of: UnitOffset, depth: usize) -> Option<u64> {
        let entry = self.unit.entry(of).ok()?;
        let number = |entry: &DebuggingInformationEntry<'_, '_, Slice<'a>>, attribute| {
            entry.attr_value(attribute).ok().flatten()?.udata_value()
        };
        if let Some(size) = number(&entry, gimli::DW_AT_byte_size) {
            return Some(size);
        }
        let AttributeValue::UnitRef(inner) = entry.attr_value(gimli::DW_AT_type).ok()?? else {
            return None;
        };
        let size = self.size(inner, depth);
        if entry.tag() != gimli::DW_TAG_array_type {
            return Some(size);
        }
        let mut count = 1u64;
        let mut tree = self.unit.entries_tree(Some(of)).ok()?;
        let mut dimensions = tree.root().ok()?.children();
        while let Ok(Some(dimension)) = dimensions.next() {
            let dimension = dimension.entry();
            if dimension.tag() == gimli::DW_TAG_subrange_type {
                let elements = number(dimension, gimli::DW_AT_count).or_else(|| {
                    Some(number(dimension, gimli::DW_AT_upper_bound)?.saturating_add(1))
                });
                // Without a bound it is a flexible one at the end.
                count = count.saturating_mul(elements.unwrap_or(0));
            }
        }
        Some(size.saturating_mul(count))
    }

    fn name(&self, entry: &DebuggingInformationEntry<'_, '_, Slice<'a>>) -> Option<String> {
        let value = entry.attr_value(gimli::DW_AT_name).ok()??;
        let text = self.dwarf.attr_string(self.unit, value).ok()?;
        text.to_string().ok().map(str::to_owned)
    }

    fn place(&self, entry: &DebuggingInformationEntry<'_, '_, Slice<'a>>) -> Option<(String, u32)> {
        let line = entry.attr_value(gimli::DW_AT_decl_line).ok()??.udata_value()?;
        let AttributeValue::FileIndex(index) = entry.attr_value(gimli::DW_AT_decl_file).ok()??
        else {
            return None;
        };
        let program = self.unit.line_program.as_ref()?.header();
        let path = debug::path(self.dwarf, self.unit, program, program.file(index)?)?;
        Some((path, u32::try_from(line).ok()?))
    }
}

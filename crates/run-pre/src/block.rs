//! Matches a section as one block: kbuild's own flags give the very bytes that the linker put at one
//! place, but for relocated fields and the rewrites of [`crate::sites`].

use kpatch_elf::Binding;
use kpatch_elf::ObjectFile;
use kpatch_elf::Relocation;
use kpatch_elf::SectionId;
use kpatch_elf::section_flags::EXEC;

use crate::content;
use crate::difference::Difference;
use crate::difference::What;
use crate::facts::Facts;
use crate::facts::Subject;
use crate::running::Place;
use crate::running::Running;
use crate::sites::Sites;

/// What is matched with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matching<'a> {
    pub(crate) object: &'a ObjectFile,
    pub(crate) sites: &'a Sites,
    pub(crate) running: &'a dyn Running,
    /// Whether functions are where they are each by itself, so that no base says where their sections
    /// are.
    pub(crate) scattered: bool,
}

impl std::fmt::Debug for dyn Running + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what runs")
    }
}

impl Matching<'_> {
    /// Compares all of a section with the bytes from `base` on, and gives what its fields tell.
    pub(crate) fn block(&self, id: SectionId, base: Place) -> Result<Facts, Difference> {
        let section = &self.object[id];
        let different = |ours: usize, what: What| Difference {
            section: id,
            ours: ours as u64,
            theirs: base.offset(ours as i64),
            what,
        };
        let theirs = self.running.bytes(base).ok_or_else(|| different(0, What::Missing))?;
        let mut facts = Facts::default();
        let here = Subject::Section(id, 0);
        facts.learn(self.object, here, base).map_err(|it| different(0, What::Contradiction(it)))?;
        let mut at = 0;
        let mut fields = section.relocations.iter().peekable();
        while at < section.data.len() {
            let field = fields.peek().filter(|field| field.offset == at as u64);
            if let Some(field) = field {
                let width = field.kind.width().unwrap_or(0);
                self.field(id, field, base, &mut facts)?;
                at += width;
                fields.next();
                continue;
            }
            let Some(byte) = theirs.get(at) else { return Err(different(at, What::Missing)) };
            if section.data[at] == *byte {
                at += 1;
                continue;
            }
            let rewritten = self.sites.rewritten(self.object, id, at as u64, &theirs[at..]);
            let len = rewritten.ok_or_else(|| different(at, What::Bytes))?;
            at += len;
            while fields.next_if(|field| field.offset < at as u64).is_some() {}
        }
        self.names_agree(&facts).map_err(|what| different(0, what))?;
        Ok(facts)
    }

    /// What one field tells.
    pub(crate) fn field(
        &self,
        section: SectionId,
        field: &Relocation,
        base: Place,
        facts: &mut Facts,
    ) -> Result<(), Difference> {
        if field.kind.width() == Some(0) {
            return Ok(());
        }
        let slot = base.offset(field.offset as i64);
        let different = |what: What| Difference { section, ours: field.offset, theirs: slot, what };
        let place = self.running.symbol_of_slot(slot, field.kind, field.addend);
        let place = place.ok_or_else(|| different(What::Field))?;
        let subject = Subject::of(self.object, field);
        if let Subject::Mergeable(merged, value) = subject {
            let delta = self.delta(section, field);
            let at = value.wrapping_add(delta);
            return match content::is_same(
                self.object,
                merged,
                at,
                self.running,
                place.offset(delta),
            ) {
                true => Ok(()),
                false => Err(different(What::Content)),
            };
        }
        self.named(field, place).map_err(different)?;
        if let (true, Subject::Section(code, value)) = (self.scattered, subject) {
            if self.object[code].has(EXEC) {
                let delta = self.delta(section, field);
                let at = value.wrapping_add(delta) as u64;
                return self.reaches(code, at, place.offset(delta), facts).map_err(different);
            }
        }
        facts.learn(self.object, subject, place).map_err(|it| different(What::Contradiction(it)))
    }

    /// How far behind its symbol a field means: the addend of a PC-relative one counts from the end of
    /// the instruction.
    fn delta(&self, section: SectionId, field: &Relocation) -> i64 {
        let to_end = self.sites.to_end(section, field.offset).unwrap_or(0);
        let bias = if field.kind.is_pc_relative() { to_end } else { 0 };
        field.addend.wrapping_add(bias)
    }

    /// A name that what runs knows must be at the place, too.
    pub(crate) fn named(&self, field: &Relocation, place: Place) -> Result<(), What> {
        let Some(name) = Facts::named(self.object, field.symbol) else { return Ok(()) };
        if place.is_nothing() || self.may_be(name, place) {
            return Ok(());
        }
        Err(What::Name { wanted: name.to_owned() })
    }

    /// Whether a place has a name, as far as what runs has names: some are left out of its symbol table,
    /// those of things outside of a module are not.
    fn may_be(&self, name: &str, place: Place) -> bool {
        let all = self.running.named(name);
        all.contains(&place) || all.is_empty() && !matches!(place, Place::Outside(..))
    }

    /// Whether all that the object has in the sections that `facts` speak of is there by its name, too.
    pub(crate) fn names_agree(&self, facts: &Facts) -> Result<(), What> {
        let symbols = self.object.symbols_by_section();
        for (section, base) in facts.sections() {
            for id in symbols.of(section) {
                let symbol = &self.object[*id];
                let Some(name) = Facts::named(self.object, *id) else { continue };
                let place = base.offset(symbol.value as i64);
                if symbol.binding != Binding::Weak && !self.may_be(name, place) {
                    return Err(What::Name { wanted: name.to_owned() });
                }
            }
        }
        Ok(())
    }
}

//! The build-id gate: by what the kernel and the patched modules are known, so that the patch is enabled
//! on no others. Two kernels of one release differ when one was rebuilt: their versions agree, their
//! addresses and their code need not. Bias: what cannot be checked on the running kernel is refused now,
//! and a kernel that would be taken for another one, too.

use std::collections::BTreeMap;

use kpatch_elf::livepatch::BUILD_ID_MAX;
use kpatch_elf::livepatch::LivepatchSymbol;
use kpatch_elf::livepatch::NOTES;
use kpatch_elf::livepatch::VMLINUX;
use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use patch_module::Gate;
use shipped_kernel::Found;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::symbols;

use crate::objects::DiffObject;

/// By what a kernel is known when it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    build_id: Vec<u8>,
    /// Where its notes begin and end.
    notes: [LivepatchSymbol; 2],
}

/// By what the kernel of `image` is known: its build-id, which must be found where its symbols say that
/// its notes are, as the patch will look there.
///
/// # Errors
/// [`Code::NoBuildId`] when it has none, or the notes cannot be found.
pub fn identify(image: &Image, kallsyms: &Kallsyms) -> Result<Identity, Refusal> {
    let build_id = checked(&image.name, "the image", image.build_id.as_deref())?;
    let find = |name: &str| {
        let index = kallsyms.positions(name).first();
        let address = index.and_then(|index| kallsyms.get(*index)).map_or(0, |s| s.address);
        (symbols::find_in_kernel(kallsyms, name), address)
    };
    let read = |start, end| image.build_id_between(start, end);
    let notes = notes(build_id, find, read).map_err(|message| refusal(&image.name, message))?;
    Ok(Identity { build_id: build_id.to_vec(), notes })
}

/// The symbols between which the notes are, by how many there are of a name and the first one's address, and
/// by the build-id that is between two addresses.
fn notes(
    build_id: &[u8],
    find: impl Fn(&str) -> (Found, u64),
    read: impl Fn(u64, u64) -> Option<Vec<u8>>,
) -> Result<[LivepatchSymbol; 2], String> {
    let mut ends = [0; 2];
    for (name, end) in NOTES.iter().zip(&mut ends) {
        match find(name) {
            (Found::Unique, address) => *end = address,
            (Found::None, _) => return Err(format!("the kernel has no symbol `{name}`")),
            (Found::Many(count), _) => {
                return Err(format!("the kernel has {count} symbols named `{name}`"));
            }
        }
    }
    let [start, end] = ends;
    if read(start, end).as_deref() != Some(build_id) {
        let [start, end] = NOTES;
        return Err(format!("the build-id is not between `{start}` and `{end}`"));
    }
    Ok(NOTES.map(|name| LivepatchSymbol {
        object: VMLINUX.to_owned(),
        name: name.to_owned(),
        position: 0,
    }))
}

/// The modules that `objects` are about, with their build-ids, for [`gate`].
pub fn modules(objects: &[DiffObject]) -> BTreeMap<&str, Option<&[u8]>> {
    objects
        .iter()
        .filter(|object| object.patches != VMLINUX)
        .map(|object| (object.patches.as_str(), object.build_id.as_deref()))
        .collect()
}

/// The gate of a patch for the kernel `identity` and for `modules`, by name, with their build-ids.
///
/// # Errors
/// [`Code::NoBuildId`] for each module that has none.
pub fn gate(identity: &Identity, modules: BTreeMap<&str, Option<&[u8]>>) -> Result<Gate, Refusals> {
    let mut refusals = Vec::new();
    let mut known = Vec::new();
    for (name, build_id) in modules {
        match checked(name, "the module", build_id) {
            Ok(build_id) => known.push((name.to_owned(), build_id.to_vec())),
            Err(refusal) => refusals.push(refusal),
        }
    }
    let Identity { build_id, notes } = identity.clone();
    Refusals::none_or(refusals, Gate { kernel: build_id, notes, modules: known })
}

/// A build-id that the gate can hold.
fn checked<'a>(name: &str, what: &str, build_id: Option<&'a [u8]>) -> Result<&'a [u8], Refusal> {
    match build_id.map(<[u8]>::len) {
        None | Some(0) => Err(refusal(name, format!("{what} has no build-id"))),
        Some(length) if length > BUILD_ID_MAX => {
            let message =
                format!("{what} has a build-id of {length} bytes, more than {BUILD_ID_MAX}");
            Err(refusal(name, message))
        }
        Some(_) => Ok(build_id.unwrap_or_default()),
    }
}

fn refusal(name: &str, message: String) -> Refusal {
    let hint = "only with a build-id can the patch tell what it was built for from what it must not be \
                enabled on; `--no-build-id-check` builds it without";
    Refusal::new(Code::NoBuildId, Place::object(name), message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn identity() -> Identity {
        let symbol = |name: &str| LivepatchSymbol {
            object: VMLINUX.to_owned(),
            name: name.to_owned(),
            position: 0,
        };
        Identity { build_id: vec![1; 20], notes: NOTES.map(symbol) }
    }

    fn object(patches: &str, build_id: Option<&[u8]>) -> DiffObject {
        DiffObject {
            name: format!("{patches}.o"),
            patches: patches.to_owned(),
            build_id: build_id.map(<[u8]>::to_vec),
            path: PathBuf::new(),
            changed: Vec::new(),
            new: Vec::new(),
            outliving: Vec::new(),
            callbacks: 0,
            states: Vec::new(),
            new_variables: Vec::new(),
            notices: Vec::new(),
        }
    }

    #[test]
    fn the_build_id_must_be_where_the_patch_will_look() {
        let id = vec![1; 20];
        let find = |name: &str| (Found::Unique, if name == "__start_notes" { 0x10 } else { 0x20 });
        let read = |start, end| ((start, end) == (0x10, 0x20)).then(|| vec![1; 20]);
        assert_eq!(notes(&id, find, read).unwrap(), identity().notes);

        let error =
            |find: &dyn Fn(&str) -> (Found, u64), id: &[u8]| notes(id, find, read).unwrap_err();
        assert!(error(&find, &[2; 20]).contains("not between"), "another one is there");
        assert!(error(&|_| (Found::Unique, 0x10), &id).contains("not between"), "none is there");
        let none =
            |name: &str| (if name == "__stop_notes" { Found::None } else { Found::Unique }, 0x10);
        assert_eq!(error(&none, &id), "the kernel has no symbol `__stop_notes`");
        let two = |_: &str| (Found::Many(2), 0x10);
        assert_eq!(error(&two, &id), "the kernel has 2 symbols named `__start_notes`");
    }

    #[test]
    fn every_module_is_known_once_and_the_kernel_always() {
        let objects = [
            object("ext4", Some(&[2; 20])),
            object("ext4", Some(&[2; 20])),
            object("dm", Some(&[3])),
        ];
        let gate = gate(&identity(), modules(&objects)).unwrap();
        assert_eq!(gate.kernel, [1; 20]);
        assert_eq!(gate.modules, [("dm".into(), vec![3]), ("ext4".into(), vec![2; 20])]);
        let of_kernel = super::gate(&identity(), modules(&[object(VMLINUX, None)])).unwrap();
        assert_eq!(of_kernel.modules, []);
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        let objects =
            [object("ext4", None), object("dm", Some(&[4; 33])), object("loop", Some(&[2; 20]))];
        let Refusals(all) = gate(&identity(), modules(&objects)).unwrap_err();
        let all: Vec<_> = all.iter().map(|refusal| (refusal.code, refusal.to_string())).collect();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|(code, text)| {
            *code == Code::NoBuildId && text.contains("--no-build-id-check")
        }));
        assert!(all[0].1.contains("33 bytes") && all[0].1.contains("`dm`"), "{}", all[0].1);
        assert!(
            all[1].1.contains("has no build-id") && all[1].1.contains("`ext4`"),
            "{}",
            all[1].1
        );
    }
}

use super::*;
use crate::kallsyms::tests::decoded;
use crate::testing::Mutations;

const OFFSET: u64 = 0x2a00_0000;

/// The text of a running kernel whose symbols that are not absolute are moved by `offset`.
fn text(shipped: &Kallsyms, offset: u64) -> String {
    let lines = shipped.iter().map(|symbol| {
        let moved = if symbol.address < 1 << 31 { 0 } else { offset };
        format!("{:016x} {} {}\n", symbol.address + moved, symbol.kind, symbol.name)
    });
    lines.collect()
}

const OTHERS: &str = "ffffffffc0000000 t init_module\t[ext4]\nffffffffc0100000 T bpf_prog_1\t[bpf]\n\
                      ffffffffc0200000 t ftrace_trampoline\t[__builtin__ftrace]\n";

fn compare(shipped: &Kallsyms, text: &str) -> Result<u64, Difference> {
    let running = Running::parse("kallsyms", text.to_owned()).unwrap();
    running.compare(shipped).map_err(|difference| *difference)
}

#[test]
fn one_offset_is_found_with_and_without_absolute_symbols() {
    for shipped in [decoded(true), decoded(false)] {
        assert_eq!(shipped.get(0).unwrap().is_absolute(), shipped.get(0).unwrap().kind == 'A');
        for offset in [0, KASLR_STEP, OFFSET] {
            let text = text(&shipped, offset) + OTHERS;
            assert_eq!(compare(&shipped, &text), Ok(offset));
            let running = Running::parse("kallsyms", text).unwrap();
            assert_eq!((running.len(), running.others), (shipped.len(), 3));
        }
    }
}

/// Each way in which another kernel differs, with the index at which it shows.
#[test]
fn the_first_difference_is_told() {
    let shipped = decoded(true);
    let good = text(&shipped, OFFSET);
    let lines: Vec<&str> = good.lines().collect();
    let changed = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n")
    };
    let difference = |text: &str| compare(&shipped, text).unwrap_err();

    let name = changed(40, &lines[40].replace("show", "shoo"));
    assert_ne!(name, good.trim_end(), "line 40 is changed");
    let found = difference(&name);
    assert_eq!((found.index, found.offset), (40, Some(OFFSET)));
    assert!(found.to_string().contains("shoo"), "{found}");

    let kind = changed(40, &lines[40].replacen(" t ", " T ", 1));
    assert_eq!(difference(&kind).index, 40);

    let mut swapped = lines.clone();
    swapped.swap(40, 42);
    assert_eq!(difference(&swapped.join("\n")).index, 40);

    let address = u64::from_str_radix(&lines[40][..16], 16).unwrap();
    let moved = format!("{:016x}{}", address + 16, &lines[40][16..]);
    assert_eq!(difference(&changed(40, &moved)).index, 40);

    // A per-CPU symbol that moves with the rest.
    assert!(shipped.get(1).unwrap().is_absolute());
    let percpu = format!("{:016x}{}", 0x1000 + OFFSET, &lines[1][16..]);
    let found = difference(&changed(1, &percpu));
    assert_eq!((found.index, found.offset), (1, None));

    let cut = lines[..lines.len() - 1].join("\n");
    let found = difference(&cut);
    assert_eq!((found.index, found.running), (lines.len() - 1, None));
    let longer = format!("{good}ffffffffb0000000 D one_more\n");
    assert_eq!(difference(&longer).shipped, None);

    // Not what KASLR does: no multiple of its step, downwards, and too far.
    for offset in [0x1000, 0_u64.wrapping_sub(KASLR_STEP), KASLR_LIMIT] {
        let lines = shipped.iter().map(|symbol| {
            let moved = if symbol.is_absolute() { 0 } else { offset };
            let address = symbol.address.wrapping_add(moved);
            format!("{address:016x} {} {}\n", symbol.kind, symbol.name)
        });
        assert_eq!(difference(&lines.collect::<String>()).index, 2, "{offset:#x}");
    }
}

#[test]
fn what_is_not_as_root_sees_it_is_refused() {
    let shipped = decoded(true);
    let refusal = |text: String| {
        let Refusals(all) = Running::parse("/proc/kallsyms", text).unwrap_err();
        assert_eq!(all[0].code, Code::TargetIncomplete);
        all[0].to_string()
    };
    let hidden = shipped.iter().map(|symbol| format!("{:016x} T {}\n", 0, symbol.name));
    let hidden = refusal(hidden.collect());
    assert!(hidden.contains("does not tell") && hidden.contains("as root"), "{hidden}");
    assert!(refusal(String::new()).contains("no symbols"));
    let good = text(&shipped, 0);
    for line in [
        "what is this",
        "ffffffff81000000 T",
        "ffffffff81000000 T ",
        "+fffffff81000000 T a",
        "ffffffff81000000 T a b",
        "ffffffff81000000 T a\text4",
        "",
    ] {
        let text = format!("{line}\n{good}");
        assert!(refusal(text).contains("line 1 "), "{line}");
    }
    let behind = format!("{OTHERS}{good}");
    assert!(refusal(behind).contains("line 4 is of vmlinux"));
    assert!(Running::read(Path::new("/nonexistent/kallsyms")).is_err());
}

#[test]
fn damaged_text_never_panics() {
    let shipped = decoded(true);
    let good = text(&shipped, OFFSET) + OTHERS;
    let mut same = 0;
    for data in Mutations::of(good.as_bytes(), 300) {
        let text = String::from_utf8_lossy(&data).into_owned();
        if let Ok(running) = Running::parse("kallsyms", text) {
            same += usize::from(running.compare(&shipped).is_ok());
        }
    }
    assert!(same < 30, "{same} of 300 damaged texts were taken for the kernel's");
}

//! Compiled code is held against linked code: what must match does, what must not does not, and the
//! places that come out are those of the linker.

mod linked;

use kpatch_elf::ObjectFile;
use kpatch_elf::SymbolId;
use run_pre::LoadableModule;
use run_pre::Place;
use run_pre::Verdict;
use run_pre::difference::What;
use run_pre::match_object;

use linked::Workshop;
use linked::place;
use linked::read;

/// One of two files alike: both have a static `state` and a static `step`.
fn file(number: u32) -> String {
    format!(
        "extern int puts(const char *);
        static int state = {number};
        static int zero;
        static const int table[] = {{ 1, {number}, 3 }};
        static __attribute__((noinline)) int step(int n) {{ zero += n; return state++ * n + {number}; }}
        int use_{number}(int n) {{ puts(\"text {number}\"); return step(n) + table[n]; }}
        int other_{number}(int n) {{ return n > 7 ? step(n + 1) : use_{number}(n); }}"
    )
}

const PUTS: &str = "int puts(const char *s) { return *s; }";

fn symbol(object: &ObjectFile, name: &str) -> SymbolId {
    let mut found = object.symbols_with_ids().filter(|(_, symbol)| symbol.name == name);
    found.next().unwrap_or_else(|| panic!("no `{name}`")).0
}

fn verdict<'a>(object: &ObjectFile, matched: &'a run_pre::Matched, name: &str) -> &'a Verdict {
    &matched.functions[&symbol(object, name)]
}

#[test]
fn tells_statics_of_one_name_apart_by_what_code_refers_to() {
    let shop = Workshop::new();
    let (one, two) = (shop.compile("one", &file(1), &[]), shop.compile("two", &file(2), &[]));
    let puts = shop.compile("puts", PUTS, &[]);
    let linked = shop.link(&[&one, &two, &puts]);
    for (object, nth, number) in [(read(&one), 0, 1), (read(&two), 1, 2)] {
        let matched = match_object(&object, &linked);
        for name in ["step", "state", "zero"] {
            let told = matched.facts.symbol(&object, symbol(&object, name));
            assert_eq!(told, Some(place(linked.addresses(name)[nth])), "{name} of file {number}");
        }
        let puts = matched.facts.symbol(&object, symbol(&object, "puts"));
        assert_eq!(puts, Some(place(linked.addresses("puts")[0])));
        let all = matched.functions.values();
        assert!(all.clone().all(|verdict| matches!(verdict, Verdict::Matched(_))), "{matched:?}");
        assert_eq!(all.count(), 3);
        assert!(matched.data.is_empty());
        assert_eq!(
            *verdict(&object, &matched, "step"),
            Verdict::Matched(place(linked.addresses("step")[nth]))
        );
    }
}

#[test]
fn finds_the_function_that_is_other_code() {
    let shop = Workshop::new();
    let (one, two) = (shop.compile("one", &file(1), &[]), shop.compile("two", &file(2), &[]));
    let puts = shop.compile("puts", PUTS, &[]);
    let linked = shop.link(&[&one, &two, &puts]);
    let other = shop.compile("other", &file(1).replace("n > 7", "n > 6"), &[]);
    let object = read(&other);
    let matched = match_object(&object, &linked);
    assert!(matched.blocks.is_empty(), "{matched:?}");
    let Verdict::Different(difference) = verdict(&object, &matched, "other_1") else {
        panic!("{matched:?}");
    };
    assert_eq!(difference.what, What::Bytes);
    let text = run_pre::listing::both(&object, difference, &linked);
    assert!(text.contains("in other_1") && text.matches("  >").count() == 2, "{text}");
    // The others are what runs, each by itself, and still tell where things are.
    for name in ["step", "use_1"] {
        let runs = Verdict::Matched(place(linked.addresses(name)[0]));
        assert_eq!(*verdict(&object, &matched, name), runs);
    }
    let state = matched.facts.symbol(&object, symbol(&object, "state"));
    assert_eq!(state, Some(place(linked.addresses("state")[0])));
}

#[test]
fn strings_and_constants_count_by_content() {
    let shop = Workshop::new();
    let one = shop.compile("one", &file(1), &[]);
    let puts = shop.compile("puts", PUTS, &[]);
    let linked = shop.link(&[&one, &puts]);
    let object = read(&shop.compile("text", &file(1).replace("text 1", "text X"), &[]));
    let matched = match_object(&object, &linked);
    let Verdict::Different(difference) = verdict(&object, &matched, "use_1") else {
        panic!("{matched:?}");
    };
    assert_eq!(difference.what, What::Content);
    let object = read(&shop.compile("table", &file(1).replace("{ 1, 1, 3 }", "{ 1, 1, 4 }"), &[]));
    let matched = match_object(&object, &linked);
    assert!(matches!(verdict(&object, &matched, "use_1"), Verdict::Matched(_)), "{matched:?}");
    let [difference] = matched.data.as_slice() else { panic!("{:?}", matched.data) };
    assert_eq!((difference.ours, &difference.what), (8, &What::Bytes));
}

#[test]
fn a_weak_function_that_is_overridden_is_not_what_runs() {
    let weak = "__attribute__((weak)) int choice(int n) { return n + 1; }
        int ask(int n) { return choice(n) * 2; }";
    let strong = "int choice(int n) { return n + 2; }";
    let shop = Workshop::new();
    let (weak, strong) = (shop.compile("weak", weak, &[]), shop.compile("strong", strong, &[]));
    let linked = shop.link(&[&weak, &strong]);
    let runs = place(linked.addresses("choice")[0]);
    let object = read(&weak);
    let matched = match_object(&object, &linked);
    assert_eq!(*verdict(&object, &matched, "choice"), Verdict::Overridden(vec![runs]));
    assert!(matches!(verdict(&object, &matched, "ask"), Verdict::Matched(_)));
    assert_eq!(matched.facts.symbol(&object, symbol(&object, "choice")), Some(runs));
    let alone = shop.link(&[&weak]);
    let matched = match_object(&object, &alone);
    let runs = place(alone.addresses("choice")[0]);
    assert_eq!(*verdict(&object, &matched, "choice"), Verdict::Matched(runs));
}

#[test]
fn twins_are_ambiguous() {
    let twin = "static int __attribute__((noinline, used)) twin(int n) { return n * 3; }";
    let shop = Workshop::new();
    let (one, two) = (shop.compile("one", twin, &[]), shop.compile("two", twin, &[]));
    let linked = shop.link(&[&one, &two]);
    let object = read(&one);
    let matched = match_object(&object, &linked);
    let places = linked.addresses("twin").into_iter().map(place).collect();
    assert_eq!(*verdict(&object, &matched, "twin"), Verdict::Ambiguous(places));
}

#[test]
fn matches_functions_that_were_moved_one_by_one() {
    let shop = Workshop::new();
    let source = file(1);
    let exact = shop.compile("exact", &source, &[]);
    // The linker takes them in the order of their names, with other distances between them.
    let moved = shop.compile("moved", &source, &["-ffunction-sections", "-falign-functions=64"]);
    let pad = shop.compile("pad", "int pad(int n) { return n; }", &[]);
    let puts = shop.compile("puts", PUTS, &[]);
    let linked = shop.link(&[&pad, &puts, &moved]);
    let object = read(&exact);
    let matched = match_object(&object, &linked);
    assert!(matched.blocks.is_empty());
    for name in ["step", "use_1", "other_1"] {
        let runs = Verdict::Matched(place(linked.addresses(name)[0]));
        assert_eq!(*verdict(&object, &matched, name), runs, "{name}");
    }
}

/// A static branch that is off: objtool makes a NOP of its jump.
const BRANCH: &str = "int on(void);
    int branch(int n) {
        asm goto(\"1: .byte 0xeb, %l[yes] - (1b + 2)\\n\\t\"
            \".pushsection __jump_table, \\\"aw\\\"\\n\\t.long 1b - ., %l[yes] - .\\n\\t.quad 2 - .\\n\\t\"
            \".popsection\" : : : : yes);
        return n;
    yes:
        return on();
    }
    int on(void) { return 5; }";

#[test]
fn a_jump_of_a_static_branch_may_be_a_nop_and_no_other_may() {
    let shop = Workshop::new();
    let object = shop.compile("branch", BRANCH, &[]);
    let mut linked = shop.link(&[&object]);
    let at = linked.addresses("branch")[0];
    linked.write(at, &[0x66, 0x90]);
    let object = read(&object);
    let matched = match_object(&object, &linked);
    assert_eq!(*verdict(&object, &matched, "branch"), Verdict::Matched(place(at)));

    let plain = shop.compile("plain", &BRANCH.replace("__jump_table", "nothing_known"), &[]);
    let mut linked = shop.link(&[&plain]);
    let at = linked.addresses("branch")[0];
    linked.write(at, &[0x66, 0x90]);
    let object = read(&plain);
    let matched = match_object(&object, &linked);
    assert!(matches!(verdict(&object, &matched, "branch"), Verdict::Different(_)), "{matched:?}");
}

#[test]
fn matches_with_a_module_by_its_relocations() {
    let shop = Workshop::new();
    let (one, two) = (shop.compile("one", &file(1), &[]), shop.compile("two", &file(2), &[]));
    let module = LoadableModule::new(shop.module(&[&one, &two]));
    let states = module.symbols("state").to_vec();
    assert_eq!(states.len(), 2);
    for (object, nth) in [(read(&one), 0), (read(&two), 1)] {
        let matched = match_object(&object, &module);
        let all = matched.functions.values();
        assert!(all.clone().all(|verdict| matches!(verdict, Verdict::Matched(_))), "{matched:?}");
        let state = matched.facts.symbol(&object, symbol(&object, "state"));
        assert_eq!(state, module.place_of(states[nth]));
        let puts = matched.facts.symbol(&object, symbol(&object, "puts"));
        assert!(matches!(puts, Some(Place::Outside(..))), "{puts:?}");
    }
    let other = read(&shop.compile("other", &file(1).replace("puts", "puts2"), &[]));
    let matched = match_object(&other, &module);
    assert!(matches!(verdict(&other, &matched, "use_1"), Verdict::Different(_)), "{matched:?}");
}

#[test]
fn a_function_that_goes_on_is_another_one() {
    let source = |more: &str| {
        format!(
            "int on(int); int a(int n) {{ n ^= 5; {more} return n; }} int on(int n) {{ return n + 2; }}"
        )
    };
    let shop = Workshop::new();
    let long = shop.compile(
        "long",
        "asm(\".globl a; .type a, @function; a: mov %edi, %eax; xor $5, %eax; ret; int3; \
        .balign 16; .globl next; next: nop\");",
        &[],
    );
    let object = read(&shop.compile("short", &source(""), &["-falign-functions=32"]));
    let linked = shop.link(&[&long]);
    let matched = match_object(&object, &linked);
    let Verdict::Different(difference) = verdict(&object, &matched, "a") else {
        panic!("{matched:?}");
    };
    assert_eq!(difference.what, What::Longer);
    let padded = shop.compile(
        "padded",
        "asm(\".globl a; .type a, @function; a: mov %edi, %eax; xor $5, %eax; ret; \
        .balign 16; .globl next; next: nop\");",
        &[],
    );
    let linked = shop.link(&[&padded]);
    let matched = match_object(&object, &linked);
    assert!(matches!(verdict(&object, &matched, "a"), Verdict::Matched(_)), "{matched:?}");
}

#[test]
fn damaged_code_never_matches_and_never_panics() {
    let shop = Workshop::new();
    let one = shop.compile("one", &file(1), &[]);
    let puts = shop.compile("puts", PUTS, &[]);
    let object = read(&one);
    let start = shop.link(&[&one, &puts]).addresses("step")[0];
    let size = object[symbol(&object, "step")].size;
    for at in 0..size {
        let mut linked = shop.link(&[&one, &puts]);
        linked.write(start + at, &[0x0f]);
        let before = shop.link(&[&one, &puts]);
        let same = run_pre::Running::bytes(&before, place(start + at)).unwrap()[0] == 0x0f;
        let matched = match_object(&object, &linked);
        let runs = matches!(verdict(&object, &matched, "step"), Verdict::Matched(_));
        assert_eq!(runs, same, "byte {at}");
    }
}

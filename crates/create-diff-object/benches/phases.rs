//! How long the library's steps take for one pair of objects: reading, comparing, writing.

mod common;

use std::collections::HashSet;

use common::listing;
use common::real;
use common::synthetic;
use create_diff_object::kernel::parent::listing::Listing;
use divan::Bencher;
use kpatch_elf::ObjectFile;

fn main() {
    divan::main();
}

const FUNCTIONS: [usize; 3] = [1000, 8000, 32_000];

#[divan::bench(args = FUNCTIONS, sample_count = 10)]
fn read(bencher: Bencher<'_, '_>, functions: usize) {
    let bytes = kpatch_elf::write(&synthetic::object(functions)).expect("a sound object");
    bencher.bench(|| kpatch_elf::read(&bytes));
}

#[divan::bench(args = FUNCTIONS, sample_count = 10)]
fn write(bencher: Bencher<'_, '_>, functions: usize) {
    let object = synthetic::object(functions);
    bencher.bench(|| kpatch_elf::write(&object));
}

#[divan::bench(args = FUNCTIONS, sample_count = 10)]
fn compare(bencher: Bencher<'_, '_>, functions: usize) {
    let original = synthetic::object(functions);
    let patched = synthetic::changed(&original, functions / 2);
    bencher.bench(|| create_diff_object::compare_objects("made.o", &original, &patched).is_ok());
}

#[divan::bench(args = [250_000], sample_count = 10)]
fn symbol_table(bencher: Bencher<'_, '_>, lines: usize) {
    let text = listing::text(lines);
    let names = HashSet::from(["global_function_39", "local_function_1"]);
    let files = HashSet::from(["file40.c"]);
    bencher.bench(|| Listing::parse(text.as_bytes(), &names, &files).is_ok());
}

#[divan::bench(sample_count = 10)]
fn read_the_biggest_of_the_cache(bencher: Bencher<'_, '_>) {
    let bytes = real::objects().first().and_then(|path| std::fs::read(path).ok());
    bencher.bench(|| bytes.as_deref().map(kpatch_elf::read));
}

#[divan::bench(sample_count = 10)]
fn compare_the_biggest_of_the_cache(bencher: Bencher<'_, '_>) {
    let read = |path: &std::path::PathBuf| kpatch_elf::read(&std::fs::read(path).ok()?).ok();
    let original: Option<ObjectFile> = real::objects().first().and_then(read);
    let pair = original.and_then(|original| {
        let (_, patched) = real::changed(&original)?;
        Some((original, patched))
    });
    bencher.bench(|| {
        let (original, patched) = pair.as_ref()?;
        Some(create_diff_object::compare_objects("biggest.o", original, patched).is_ok())
    });
}

//! The library on what Debian really ships: an unpacked stock kernel in the cache of `make demo`
//! (`KPATCH_CACHE`, else `~/.cache/kpatch`). Without one the tests say so and pass.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use kpatch_refusal::Code;
use shipped_kernel::Config;
use shipped_kernel::EndbrSeals;
use shipped_kernel::Found;
use shipped_kernel::FtraceSites;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::Position;
use shipped_kernel::Text;
use shipped_kernel::TextRanges;
use shipped_kernel::config;
use shipped_kernel::modules;
use shipped_kernel::symbols;
use shipped_kernel::symvers;
use shipped_kernel::tables;
use shipped_kernel::tables::exports;

/// The root of an unpacked kernel and its release.
fn stock_kernel() -> Option<(PathBuf, String)> {
    let cache = env::var_os("KPATCH_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/kpatch")))?;
    let found = find_boot(&cache, 6);
    if found.is_none() {
        println!("skipped: no vmlinuz-6.12*-cloud-amd64 below {}", cache.display());
    }
    found
}

fn find_boot(directory: &Path, depth: usize) -> Option<(PathBuf, String)> {
    let mut entries: Vec<_> = fs::read_dir(directory).ok()?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    if directory.ends_with("boot") {
        let release = entries.iter().find_map(|entry| {
            let name = entry.file_name();
            let release = name.to_str()?.strip_prefix("vmlinuz-")?;
            let is_stock = release.starts_with("6.12") && release.ends_with("-cloud-amd64");
            is_stock.then(|| release.to_string())
        });
        if let Some(release) = release {
            return Some((directory.parent()?.to_path_buf(), release));
        }
    }
    if depth == 0 {
        return None;
    }
    let is_directory = |entry: &&fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.iter().filter(is_directory).find_map(|entry| find_boot(&entry.path(), depth - 1))
}

fn image(root: &Path, release: &str) -> Image {
    Image::open(&root.join("boot").join(format!("vmlinuz-{release}"))).unwrap()
}

/// A file of the headers package, which may be unpacked beside the image or not at all.
fn header_file(root: &Path, release: &str, name: &str) -> Option<PathBuf> {
    let path = root.join(format!("usr/src/linux-headers-{release}")).join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
    }
    path.exists().then_some(path)
}

/// Where the modules are: merged /usr or not.
fn modules_directory(root: &Path, release: &str) -> PathBuf {
    let usr = root.join("usr/lib/modules").join(release);
    if usr.exists() { usr } else { root.join("lib/modules").join(release) }
}

#[test]
fn image_and_kallsyms_agree() {
    let Some((root, release)) = stock_kernel() else { return };
    let start = Instant::now();
    let image = image(&root, &release);
    let opened = start.elapsed();
    let kallsyms = Kallsyms::read(&image).unwrap();
    println!("image {opened:?}, with kallsyms {:?}, {} symbols", start.elapsed(), kallsyms.len());

    let banner = &image.banner;
    assert_eq!(banner.release, release);
    assert!(release.starts_with(&banner.source_version), "{banner}");
    let package = banner.package_version.as_deref().unwrap();
    assert!(package.starts_with(&format!("{}-", banner.source_version)), "{banner}");
    assert_eq!(image.build_id.as_ref().map(Vec::len), Some(20));

    assert!(kallsyms.len() > 100_000);
    let addresses: Vec<u64> = kallsyms.iter().map(|symbol| symbol.address).collect();
    assert!(addresses.is_sorted());
    assert_eq!(symbols::find_in_kernel(&kallsyms, "saved_command_line"), Found::Unique);
    assert_eq!(symbols::find_in_kernel(&kallsyms, "no_such_symbol"), Found::None);
    let address = |name: &str| match kallsyms.positions(name) {
        [index] => kallsyms.get(*index).unwrap().address,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(address("_text"), 0xffff_ffff_8100_0000);
    let text = image.bytes_at(address("linux_banner"), banner.text.len());
    assert_eq!(text, Some(banner.text.as_bytes()));
    // Each function of C that ftrace knows begins like this (with IBT; the call is 5 bytes).
    let code = image.bytes_at(address("cmdline_proc_show"), 5).unwrap();
    assert!(code == [0xf3, 0x0f, 0x1e, 0xfa, 0xe8] || code[0] == 0xe8, "{code:02x?}");
}

#[test]
fn duplicate_names_have_positions_by_address() {
    let Some((root, release)) = stock_kernel() else { return };
    let kallsyms = Kallsyms::read(&image(&root, &release)).unwrap();
    let mut duplicates = 0;
    for name in kallsyms.iter().map(|symbol| symbol.name).step_by(7) {
        let all = kallsyms.positions(name);
        let addresses: Vec<u64> =
            all.iter().map(|&index| kallsyms.get(index).unwrap().address).collect();
        assert!(!all.is_empty() && addresses.is_sorted(), "{name}");
        if all.len() < 2 || addresses[0] == addresses[1] {
            continue;
        }
        duplicates += 1;
        assert_eq!(symbols::find_in_kernel(&kallsyms, name), Found::Many(all.len()));
        let position = symbols::kernel_position(&kallsyms, name, addresses[1]);
        assert_eq!(position, Some(Position(2)), "{name}");
    }
    assert!(duplicates > 500, "{duplicates} duplicate names");
}

#[test]
fn every_export_of_vmlinux_is_in_kallsyms() {
    let Some((root, release)) = stock_kernel() else { return };
    let Some(path) = header_file(&root, &release, "Module.symvers") else { return };
    let kallsyms = Kallsyms::read(&image(&root, &release)).unwrap();
    let exports = symvers::read(&path).unwrap();
    let of_vmlinux = exports.iter().filter(|(_, export)| export.module == "vmlinux");
    let names: Vec<&str> = of_vmlinux.map(|(name, _)| name.as_str()).collect();
    assert!(names.len() > 5_000, "{} exports", names.len());
    let missing: Vec<_> = names.iter().filter(|name| kallsyms.positions(name).is_empty()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(exports.values().any(|export| export.module == "kvm" && export.gpl));
}

#[test]
fn modules_say_what_they_are() {
    let Some((root, release)) = stock_kernel() else { return };
    let directory = modules_directory(&root, &release);
    let kvm = Module::read(&modules::find_module(&directory, "kvm").unwrap()).unwrap();
    assert_eq!(kvm.name, "kvm");
    assert_eq!(kvm.depends, ["irqbypass"]);
    assert!(kvm.vermagic.starts_with(&format!("{release} ")), "{}", kvm.vermagic);
    assert_eq!(kvm.build_id.as_ref().map(Vec::len), Some(20));
    assert_eq!(symbols::find_in_module(&kvm, "kvm_init"), Found::Unique);
    assert_eq!(symbols::find_in_module(&kvm, "__this_module"), Found::Unique);
    assert_eq!(symbols::find_in_module(&kvm, "_printk"), Found::None, "undefined");
    let index = kvm.symbols.iter().position(|symbol| symbol.name == "kvm_init").unwrap();
    assert_eq!(symbols::module_position(&kvm, index), Some(Position(0)));
    assert!(
        kvm.symbols.iter().any(|symbol| {
            kvm.section_name(symbol) == Some(".init.text") && !kvm.is_core(symbol)
        })
    );
    let dashed = modules::find_module(&directory, "kvm-intel").unwrap();
    assert_eq!(Module::read(&dashed).unwrap().name, "kvm_intel");
    let refusals = modules::find_module(&directory, "ext4").unwrap_err();
    assert!(refusals.to_string().contains("built into"), "{refusals}");
}

#[test]
fn the_shipped_configuration_is_supported_and_is_the_one_of_the_headers() {
    let Some((root, release)) = stock_kernel() else { return };
    let image = image(&root, &release);
    let boot = Config::read(&root.join(format!("boot/config-{release}"))).unwrap();
    assert_eq!(config::unsupported(&boot), []);
    assert_eq!(boot.string("CC_VERSION_TEXT").as_ref(), Some(&image.banner.compiler));
    let Some(path) = header_file(&root, &release, ".config") else { return };
    let headers = Config::read(&path).unwrap();
    assert_eq!(headers.string("BUILD_SALT").as_ref(), Some(&release));
    assert_eq!(config::unsupported(&headers), []);
    assert_eq!(config::drift(&boot, &headers), []);
}

#[test]
fn a_damaged_image_is_refused() {
    let Some((root, release)) = stock_kernel() else { return };
    let data = fs::read(root.join("boot").join(format!("vmlinuz-{release}"))).unwrap();
    for len in [0, 600, 0x300, data.len() / 2] {
        let refusals = Image::parse("vmlinuz", data[..len].to_vec()).unwrap_err();
        assert_eq!(refusals.0[0].code, Code::ImageUnreadable, "cut to {len} bytes");
    }
    let mut damaged = data;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    assert!(Image::parse("vmlinuz", damaged).is_err());
}

/// Index of the one symbol of that name.
fn index(kallsyms: &Kallsyms, name: &str) -> usize {
    assert_eq!(symbols::find_in_kernel(kallsyms, name), Found::Unique, "{name}");
    kallsyms.positions(name)[0]
}

#[test]
fn the_image_says_what_can_be_redirected() {
    let Some((root, release)) = stock_kernel() else { return };
    let image = image(&root, &release);
    let kallsyms = Kallsyms::read(&image).unwrap();
    let start = Instant::now();
    let sites = FtraceSites::of_image(&image, &kallsyms).unwrap();
    let text = TextRanges::of_image(&image, &kallsyms).unwrap();
    let seals = EndbrSeals::of_image(&image, &kallsyms).unwrap();
    println!("{} entries, {} seals: {:?}", sites.len(), seals.len(), start.elapsed());
    assert!(sites.len() > 40_000 && seals.len() > 10_000);
    let about = |name: &str| {
        let index = index(&kallsyms, name);
        let address = kallsyms.get(index).unwrap().address;
        let size = kallsyms.size(index).unwrap();
        (sites.has_entry(address, size), text.what_is(address))
    };
    for name in ["vfs_read", "cmdline_proc_show", "do_sys_openat2", "tcp_v4_rcv"] {
        assert_eq!(about(name), (true, Text::Normal), "{name}");
    }
    for name in ["exc_page_fault", "poke_int3_handler"] {
        assert_eq!(about(name), (false, Text::Noinstr), "{name}");
    }
    assert_eq!(about("entry_SYSCALL_64"), (false, Text::Entry));
    assert_eq!(about("start_kernel").1, Text::Init);
    assert_eq!(about("jiffies").1, Text::None);
    assert_eq!(about("__switch_to").1, Text::Normal);

    // Every entry is the own one of the function that it is in.
    let mut own = 0;
    for (index, symbol) in kallsyms.iter().enumerate() {
        let size = kallsyms.size(index).unwrap_or(0);
        own += usize::from(
            index == kallsyms.at(symbol.address).start && sites.has_entry(symbol.address, size),
        );
    }
    assert_eq!(own, sites.len());

    let may_be_called = |name: &str| {
        let address = kallsyms.get(index(&kallsyms, name)).unwrap().address;
        seals.may_be_called(&image, address)
    };
    assert!(may_be_called("cmdline_proc_show") && !may_be_called("vfs_read"));
}

#[test]
fn exports_and_vermagic_of_image_and_modules_agree() {
    let Some((root, release)) = stock_kernel() else { return };
    let image = image(&root, &release);
    let kallsyms = Kallsyms::read(&image).unwrap();
    let start = Instant::now();
    let shipped = exports::of_image(&image, &kallsyms).unwrap();
    let vermagic = tables::vermagic(&image, &kallsyms).unwrap().unwrap();
    println!("{} exports: {:?}", shipped.len(), start.elapsed());
    assert!(shipped.len() > 5_000 && shipped["module_layout"].crc != 0);
    assert!(!shipped["kernel_read"].gpl);
    assert!(shipped["kern_path"].crc != 0 && shipped["klp_enable_patch"].gpl);

    let directory = modules_directory(&root, &release);
    let Some(path) = header_file(&root, &release, "Module.symvers") else { return };
    let listed = symvers::read(&path).unwrap();
    let start = Instant::now();
    exports::compare("vmlinux", &shipped, &listed).unwrap();
    println!("compared: {:?}", start.elapsed());
    for name in ["kvm", "kvm_intel", "nf_tables", "btrfs"] {
        let module = Module::read(&modules::find_module(&directory, name).unwrap()).unwrap();
        assert_eq!(module.vermagic, vermagic);
        let start = Instant::now();
        let shipped = exports::of_module(&module).unwrap();
        println!("{name}: {} exports: {:?}", shipped.len(), start.elapsed());
        exports::compare(name, &shipped, &listed).unwrap();
        let mut other = listed.clone();
        if let Some(first) = shipped.keys().next() {
            other.get_mut(first).unwrap().crc ^= 1;
            assert!(exports::compare(name, &shipped, &other).is_err());
        }
        let sites = FtraceSites::of_module(&module).unwrap();
        let seals = EndbrSeals::of_module(&module).unwrap();
        assert!(sites.len() > 10 && !seals.is_empty(), "{name}");
    }
}

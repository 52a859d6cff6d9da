//! Holds what image and modules say in their own tables against what comes beside them: the exports
//! of `Module.symvers`, by which the patch module is linked, and the configuration, by which its
//! version magic is made. Bias: the kernel would refuse to load what disagrees, or load it with types
//! that are not its own.

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;
use shipped_kernel::Config;
use shipped_kernel::Exports;
use shipped_kernel::Image;
use shipped_kernel::Kallsyms;
use shipped_kernel::Module;
use shipped_kernel::tables;
use shipped_kernel::tables::exports;

/// Checks the image; gives its version magic, if it says it. The CRC of `module_layout` is among
/// those of the exports.
///
/// # Errors
/// [`Code::ExportsMismatch`], [`Code::VersionMismatch`], or the image's tables cannot be read.
pub fn image(
    image: &Image,
    kallsyms: &Kallsyms,
    config: &Config,
    listed: &Exports,
) -> Result<Option<String>, Refusals> {
    let mut refusals = Vec::new();
    let shipped = exports::of_image(image, kallsyms)?;
    if let Err(Refusals(more)) = exports::compare("vmlinux", &shipped, listed) {
        refusals.extend(more);
    }
    let vermagic = tables::vermagic(image, kallsyms)?;
    let expected = options(config);
    if let Some(vermagic) = &vermagic {
        let told: Vec<&str> = vermagic.split_whitespace().skip(1).collect();
        if !expected.contains(&told) {
            let message = format!(
                "the image's version magic is `{vermagic}`, the configuration says `{}`",
                expected[0].join(" ")
            );
            let hint = "take the configuration of exactly the image's version";
            let place = Place::object(&image.name);
            refusals.push(Refusal::new(Code::VersionMismatch, place, message, hint));
        }
    }
    Refusals::none_or(refusals, vermagic)
}

/// Checks a module that is to be patched.
///
/// # Errors
/// As for [`image`].
pub fn module(module: &Module, vermagic: Option<&str>, listed: &Exports) -> Result<(), Refusals> {
    let mut refusals = Vec::new();
    if let Some(vermagic) = vermagic.filter(|vermagic| *vermagic != module.vermagic) {
        let message = format!("the module is for `{}`, the image is `{vermagic}`", module.vermagic);
        let hint = "take image and modules of exactly the same version of the package";
        let place = Place::object(&module.name);
        refusals.push(Refusal::new(Code::VersionMismatch, place, message, hint));
    }
    let shipped = exports::of_module(module)?;
    if let Err(Refusals(more)) = exports::compare(&module.name, &shipped, listed) {
        refusals.extend(more);
    }
    Refusals::none_or(refusals, ())
}

/// What a version magic may say behind the release (include/linux/vermagic.h). A kernel with both
/// PREEMPT_RT and PREEMPT_BUILD, which there are since 6.13, names the second up to 6.x and the first
/// in 7.x.
fn options(config: &Config) -> Vec<Vec<&'static str>> {
    let preempt: &[Option<&str>] =
        match (config.is_enabled("PREEMPT_BUILD"), config.is_enabled("PREEMPT_RT")) {
            (true, true) => &[Some("preempt"), Some("preempt_rt")],
            (true, false) => &[Some("preempt")],
            (false, true) => &[Some("preempt_rt")],
            (false, false) => &[None],
        };
    let word = |symbol: &str, word| config.is_enabled(symbol).then_some(word);
    let all = |preempt: &Option<&'static str>| {
        let unload = word("MODULE_UNLOAD", "mod_unload");
        let versions = word("MODVERSIONS", "modversions");
        [word("SMP", "SMP"), *preempt, unload, versions].into_iter().flatten().collect()
    };
    preempt.iter().map(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipped_kernel::symvers;
    use shipped_kernel::testing::kernel::Kernel;

    const CONFIG: &str =
        "CONFIG_SMP=y\nCONFIG_PREEMPT_BUILD=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_MODVERSIONS=y\n";
    const SYMVERS: &str = "0x00000007\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n";

    /// What is refused of a kernel with this version magic, configuration and list of exports.
    fn check(vermagic: &str, config: &str, listed: &str) -> Vec<Code> {
        let mut kernel = Kernel::default();
        kernel.place("vermagic", 'd', format!("6.12.1-test {vermagic}\0").as_bytes());
        kernel.exports(("__ksymtab", "__kcrctab"), &[("module_layout", "", 7)]);
        let shipped = Image::parse("vmlinuz", kernel.finish()).unwrap();
        let kallsyms = Kallsyms::read(&shipped).unwrap();
        let config = Config::parse(".config", config).unwrap();
        let listed = symvers::parse("Module.symvers", listed).unwrap();
        match image(&shipped, &kallsyms, &config, &listed) {
            Ok(told) => {
                assert_eq!(told.unwrap(), format!("6.12.1-test {vermagic}"));
                Vec::new()
            }
            Err(Refusals(all)) => all.iter().map(|refusal| refusal.code).collect(),
        }
    }

    #[test]
    fn what_disagrees_with_the_image_is_refused() {
        let vermagic = "SMP preempt mod_unload modversions ";
        assert_eq!(check(vermagic, CONFIG, SYMVERS), []);
        let other = SYMVERS.replace('7', "8");
        assert_eq!(check(vermagic, CONFIG, &other), [Code::ExportsMismatch]);
        let without = CONFIG.replace("CONFIG_MODVERSIONS=y\n", "");
        assert_eq!(check(vermagic, &without, SYMVERS), [Code::VersionMismatch]);
        assert_eq!(check("SMP mod_unload modversions ", CONFIG, SYMVERS), [Code::VersionMismatch]);
        assert_eq!(check("SMP mod_unload ", CONFIG, &other).len(), 2);
        let both = format!("{CONFIG}CONFIG_PREEMPT_RT=y\n");
        for word in ["preempt", "preempt_rt"] {
            let vermagic = vermagic.replace("preempt", word);
            assert_eq!(check(&vermagic, &both, SYMVERS), []);
        }
    }
}

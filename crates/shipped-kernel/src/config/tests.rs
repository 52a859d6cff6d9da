use super::*;
use crate::testing::Mutations;

fn config(text: &str) -> Config {
    Config::parse(".config", text).unwrap()
}

const BASE: &str = "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_LIVEPATCH=y\n\
    # CONFIG_KASAN is not set\nCONFIG_EXT4_FS=m\nCONFIG_NR_CPUS=512\n\
    CONFIG_CC_VERSION_TEXT=\"gcc \\\"12\\\" \\\\ x\"\nCONFIG_EMPTY=\"\"\n\n";

#[test]
fn reads_values_of_every_type() {
    let config = config(BASE);
    assert!(config.is_enabled("LIVEPATCH") && !config.is_module("LIVEPATCH"));
    assert!(config.is_module("EXT4_FS") && !config.is_enabled("EXT4_FS"));
    assert_eq!(config.raw("KASAN"), None);
    assert_eq!(config.raw("NR_CPUS"), Some("512"));
    assert_eq!(config.string("NR_CPUS"), None);
    assert_eq!(config.string("CC_VERSION_TEXT").as_deref(), Some("gcc \"12\" \\ x"));
    assert_eq!(config.string("EMPTY").as_deref(), Some(""));
    assert_eq!(config.iter().count(), 5);
}

#[test]
fn a_later_line_counts() {
    let config = config("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\nCONFIG_B=m\n");
    assert_eq!((config.raw("A"), config.raw("B")), (None, Some("m")));
}

#[test]
fn malformed_lines_are_named() {
    for bad in ["CONFIG_X", "X=y", "CONFIG_=y", "  CONFIG_X=y"] {
        let Refusals(all) = Config::parse(".config", &format!("CONFIG_A=y\n{bad}\n")).unwrap_err();
        assert_eq!((all[0].code, all[0].place.line), (Code::TargetIncomplete, Some(2)), "{bad}");
    }
    assert!(Config::parse(".config", "# nothing\n").is_err());
}

#[test]
fn versions_keys_and_idle_probes_are_no_drift() {
    let shipped = config(
        "CONFIG_X=y\nCONFIG_RUSTC_VERSION=0\nCONFIG_PAHOLE_VERSION=124\nCONFIG_BUILD_SALT=\"a\"\n\
         CONFIG_MODULE_SIG_KEY=\"output/key.pem\"\nCONFIG_SYSTEM_TRUSTED_KEYS=\"\"\n",
    );
    let prepared = config(
        "CONFIG_X=y\nCONFIG_RUSTC_VERSION=109500\nCONFIG_PAHOLE_VERSION=0\n\
         CONFIG_RUSTC_HAS_UNNECESSARY_TRANSMUTES=y\nCONFIG_MODULE_SIG_KEY=\"certs/key.pem\"\n",
    );
    assert_eq!(drift(&shipped, &prepared), []);
    assert_eq!(drift(&shipped, &shipped), []);
}

#[test]
fn a_missing_pahole_is_drift_and_named() {
    let shipped = config("CONFIG_PAHOLE_VERSION=124\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_X=y\n");
    let prepared = config("CONFIG_PAHOLE_VERSION=0\nCONFIG_X=m\nCONFIG_NEW=y\n");
    let drift = drift(&shipped, &prepared);
    let lines: Vec<String> = drift.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "CONFIG_DEBUG_INFO_BTF: y was shipped, not set prepared",
            "CONFIG_NEW: not set was shipped, y prepared",
            "CONFIG_PAHOLE_VERSION: 124 was shipped, 0 prepared",
            "CONFIG_X: y was shipped, m prepared",
        ]
    );
    assert_eq!(missing_package(&drift), Some("dwarves"));
}

#[test]
fn a_missing_rust_tool_is_named() {
    let shipped = "CONFIG_A=y\nCONFIG_RUST=y\nCONFIG_RUSTC_VERSION=109500\n\
                   CONFIG_BINDGEN_VERSION_TEXT=\"bindgen 0.71\"\nCONFIG_RUSTC_HAS_X=y\n";
    let missing = |prepared: &str| missing_package(&drift(&config(shipped), &config(prepared)));
    assert_eq!(missing("CONFIG_A=y\nCONFIG_RUSTC_VERSION=0\n"), Some("rustc"));
    assert_eq!(missing("CONFIG_A=y\nCONFIG_RUSTC_VERSION=109500\n"), Some("bindgen"));
    assert_eq!(missing(&shipped.replace("CONFIG_A=y", "CONFIG_A=m")), None);
    // With Rust in the kernel its probes count.
    let probe = shipped.replace("CONFIG_RUSTC_HAS_X=y\n", "");
    assert_eq!(drift(&config(shipped), &config(&probe)).len(), 1);
}

#[test]
fn refuses_each_unsupported_feature_once() {
    assert_eq!(unsupported(&config(BASE)), []);
    let codes = |text: &str| {
        let refusals = unsupported(&config(text));
        assert!(refusals.iter().all(|refusal| !refusal.hint.is_empty()));
        refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("CONFIG_A=y\n"), [Code::LivepatchOff]);
    assert_eq!(codes("CONFIG_LIVEPATCH=m\n"), [Code::LivepatchOff]);
    for (symbols, _) in UNSUPPORTED {
        let all: String = symbols.iter().map(|symbol| format!("CONFIG_{symbol}=y\n")).collect();
        assert_eq!(codes(&format!("{BASE}{all}")), [Code::UnsupportedConfig], "{symbols:?}");
    }
    assert_eq!(codes("CONFIG_KASAN=y\nCONFIG_KCOV=y\n").len(), 3);
}

#[test]
fn damaged_text_never_panics() {
    for data in Mutations::of(BASE.as_bytes(), 300) {
        if let Ok(config) = Config::parse(".config", &String::from_utf8_lossy(&data)) {
            for (symbol, _) in config.iter() {
                config.string(symbol);
            }
            missing_package(&drift(&config, &Config::default()));
        }
    }
}

#[test]
fn strings_are_the_same_with_and_without_quotes() {
    let quoted = Config::parse(".config", "CONFIG_A=\"x \\\"y\\\"\"\nCONFIG_B=\"\"\nCONFIG_C=y\n");
    let plain = Config::parse("auto.conf", "CONFIG_A=x \"y\"\nCONFIG_B=\nCONFIG_C=y\n").unwrap();
    let quoted = quoted.unwrap();
    assert!(!drift(&quoted, &plain).is_empty());
    assert_eq!(drift(&quoted.unquoted(), &plain.unquoted()), []);
    let other = Config::parse(".config", "CONFIG_A=\"x\"\nCONFIG_B=\"\"\nCONFIG_C=y\n").unwrap();
    assert_eq!(drift(&plain.unquoted(), &other.unquoted()).len(), 1);
}

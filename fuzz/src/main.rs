//! The program that libFuzzer drives: `fuzz --target=NAME`, then libFuzzer's own options. Start it by `fuzz/run`.
#![no_main]

use std::sync::OnceLock;

static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::args().find_map(|option| option.strip_prefix("--target=").map(str::to_owned));
        let check = name.as_deref().and_then(fuzz::target).expect("--target=NAME names a target");
        CHECK.get_or_init(|| check);
    },
    |bytes: &[u8]| {
        if let Some(check) = CHECK.get() {
            check(bytes);
        }
    }
);

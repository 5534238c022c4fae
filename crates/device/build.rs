//! Notes when the agent was built: no time before that can be now (`clock.rs`).

use std::time::{SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "this is the time that the program is built with"
)]
fn main() {
    // What reproducible builds are told (https://reproducible-builds.org/specs/source-date-epoch/).
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    let told = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let seconds = told.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_secs())
    });
    println!("cargo:rustc-env=BUILT_AT={seconds}");
}

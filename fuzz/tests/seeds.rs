//! Every seed, as an ordinary test: where a search begins, and whatever one has found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_seed_passes_its_target() {
    for (name, check) in fuzz::TARGETS {
        for seed in fs::read_dir(seeds().join(name)).unwrap() {
            check(&fs::read(seed.unwrap().path()).unwrap());
        }
    }
}

#[test]
fn every_target_has_seeds_and_every_seed_a_target() {
    let targets: BTreeSet<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folders = fs::read_dir(seeds()).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();

    assert_eq!(targets, folders);
}

fn seeds() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds"))
}

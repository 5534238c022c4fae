//! Holds the tree against the rules of the house (`ARCHITECTURE.md`).

use std::fs;
use std::path::Path;

use e2e::{RULES, offences};

#[test]
fn the_tree_keeps_every_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();

    let found = offences(root);

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_rule_fails_when_it_is_violated() {
    for rule in RULES {
        let tree = tempfile::tempdir().unwrap();
        let (path, text) = rule.example;
        let file = tree.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();

        let found = offences(tree.path());

        assert!(
            found.iter().any(|offence| offence.contains(rule.name)),
            "nobody noticed that {}",
            rule.name
        );
    }
}

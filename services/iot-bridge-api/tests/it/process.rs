//! The built program at the command line.

use std::path::Path;
use std::process::{Command, Output};

#[test]
fn a_missing_setting_ends_the_start_with_one_sentence_and_78() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["check-config"][..], &["serve"], &[]] {
        let output = run(folder.path(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("STEP_CA_URL"), "{said}");
    }
    assert_eq!(
        run(folder.path(), &["--wg-subnet", "8.8.8.0/24", "check-config"])
            .status
            .code(),
        Some(78)
    );
    assert_eq!(run(folder.path(), &["--no-such-flag"]).status.code(), Some(78));
    assert_eq!(run(folder.path(), &["--help"]).status.code(), Some(0));
}

#[test]
fn settings_are_not_good_while_the_files_of_the_certificate_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("password"), "p".repeat(32)).unwrap();
    let mut arguments = vec![
        "check-config".to_owned(),
        "--step-ca-url=https://ca.example.com".to_owned(),
        format!("--step-ca-fingerprint={}", "0".repeat(64)),
        format!("--step-ca-provisioner-password-file={}", file("password")),
        "--oidc-issuer=https://login.example.com".to_owned(),
    ];
    let good = run(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    arguments.extend([("cert", "a.pem"), ("key", "a.key")].map(|(of, name)| format!("--tls-{of}-file={}", file(name))));

    let output = run(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("a.pem` cannot be read"), "{said}");
}

#[test]
fn tokens_are_made_listed_and_ended_at_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    lines(&["migrate"]);

    let made = lines(&[
        "token",
        "create",
        "--pattern",
        "pump-*",
        "--quota",
        "5",
        "--group",
        "north",
    ]);
    let secret = made.iter().find(|line| line.starts_with("ibt_")).unwrap();
    assert_eq!(secret.len(), 60);
    let listed = lines(&["token", "list"]);
    let line = listed.iter().find(|line| line.contains("pump-*")).unwrap();
    assert!(line.contains("north") && line.contains("0 of 5 used, 0 refused") && !line.contains(secret.as_str()));

    lines(&["token", "revoke", line.split_whitespace().next().unwrap()]);
    assert!(lines(&["token", "list"]).iter().any(|line| line.contains("revoked")));
    assert!(
        lines(&["fsck"])
            .iter()
            .any(|line| line == "Everything that must hold does.")
    );
}

/// Runs the program over the database in a folder, with the pepper of the tests.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iot-bridge-api"))
        .args(arguments)
        .env_clear()
        .env(
            "DATABASE_URL",
            format!("sqlite://{}", folder.join("bridge.db").display()),
        )
        .env("TOKEN_PEPPER", "p".repeat(32))
        .env("LOG_FILTER", "error")
        .output()
        .unwrap()
}

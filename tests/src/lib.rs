//! The rules of the house, as data: which words may stand in which room, and how large a room may grow.
//!
//! `ARCHITECTURE.md` explains them; `architecture.rs` holds the tree against them, and shows that each of
//! them fails when it is violated.

use std::fs;
use std::path::{Path, PathBuf};

/// One rule of the house.
#[derive(Debug)]
pub struct Rule {
    /// The rule, as a sentence.
    pub name: &'static str,
    /// Whether the rule holds for this file (path from the root, `/` between folders).
    pub applies: fn(&str) -> bool,
    /// What breaks it in a file's text; returns the first offence.
    pub offence: fn(&str) -> Option<String>,
    /// A file that breaks the rule: its path and its text. Shows that the rule can fail.
    pub example: (&'static str, &'static str),
}

/// Every rule of the house.
pub const RULES: &[Rule] = &[
    Rule {
        name: "the domain knows no HTTP, no SQL and no runtime",
        applies: |path| path.starts_with("crates/common/src/domain"),
        offence: |text| {
            names(
                text,
                &[
                    "axum::",
                    "hyper::",
                    "reqwest::",
                    "sqlx::",
                    "tokio::",
                    "crate::store",
                    "crate::chassis",
                ],
            )
        },
        example: ("crates/common/src/domain/device.rs", "use tokio::sync::Mutex;"),
    },
    Rule {
        name: "use cases and ports know no HTTP, no SQL and no product",
        applies: |path| {
            path.starts_with("services/")
                && (path.contains("/src/app/") || path.ends_with("/src/app.rs") || path.ends_with("/src/ports.rs"))
        },
        offence: |text| {
            names(
                text,
                &[
                    "axum::",
                    "hyper::",
                    "reqwest::",
                    "sqlx::",
                    "crate::http",
                    "crate::adapters",
                    "common::store",
                ],
            )
        },
        example: (
            "services/iot-bridge-api/src/app/enrollment.rs",
            "use crate::adapters::StepCa;",
        ),
    },
    Rule {
        name: "only the store knows SQL",
        applies: |path| is_production_code(path) && !path.starts_with("crates/common/src/store"),
        offence: |text| {
            names(
                text,
                &["sqlx::", "\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "],
            )
        },
        example: (
            "services/terminal-proxy/src/access.rs",
            "let rows = query(\"SELECT id FROM device\");",
        ),
    },
    Rule {
        name: "only config.rs reads the environment",
        applies: |path| is_production_code(path) && !path.ends_with("/config.rs") && !path.contains("/config/"),
        offence: |text| {
            names(
                text,
                &[
                    "env::var",
                    "env::args",
                    "env::vars",
                    ", env)",
                    ", env =",
                    "(env =",
                    "(env)",
                ],
            )
        },
        example: (
            "services/iot-bridge-api/src/app/tokens.rs",
            "let pepper = std::env::var(\"TOKEN_PEPPER\");",
        ),
    },
    Rule {
        name: "only problem.rs knows the status codes of errors",
        applies: |path| {
            // Adapters and quickstart are clients: they read the statuses of others.
            let answers =
                path.starts_with("services/") && !path.contains("/adapters") && !path.contains("/quickstart/");
            answers && is_production_code(path) && !path.ends_with("/http/problem.rs")
        },
        offence: |text| {
            names(
                text,
                &[
                    "StatusCode::BAD_",
                    "StatusCode::UNAUTHORIZED",
                    "StatusCode::FORBIDDEN",
                    "StatusCode::NOT_FOUND",
                    "StatusCode::CONFLICT",
                    "StatusCode::GONE",
                    "StatusCode::UNPROCESSABLE_ENTITY",
                    "StatusCode::TOO_MANY_REQUESTS",
                    "StatusCode::INTERNAL_SERVER_ERROR",
                    "StatusCode::SERVICE_UNAVAILABLE",
                    "StatusCode::GATEWAY_TIMEOUT",
                ],
            )
        },
        example: (
            "services/iot-bridge-api/src/http/devices.rs",
            "return StatusCode::CONFLICT.into_response();",
        ),
    },
    Rule {
        name: "a room has a name: no utils, helpers, misc, manager",
        applies: is_production_code,
        offence: |text| {
            names(
                text,
                &[
                    "mod utils",
                    "mod util;",
                    "mod helpers",
                    "mod helper;",
                    "mod misc;",
                    "mod manager;",
                ],
            )
        },
        example: ("crates/common/src/lib.rs", "mod utils;"),
    },
    Rule {
        name: "main.rs composes and does nothing else: at most 80 lines",
        applies: |path| path.ends_with("/src/main.rs"),
        offence: |text| longer_than(text, 80),
        example: ("services/iot-bridge-api/src/main.rs", MANY_LINES),
    },
    Rule {
        name: "a file has at most 400 lines, or says `Longer than 400 lines because …`",
        applies: |_| true,
        offence: |text| {
            if text.contains("Longer than 400 lines because ") {
                None
            } else {
                longer_than(text, 400)
            }
        },
        example: ("crates/device/src/terminal.rs", MANY_LINES),
    },
    Rule {
        name: "every task has an owner: `Shutdown::spawn`",
        applies: |path| is_production_code(path) && !path.ends_with("/chassis/shutdown.rs"),
        offence: |text| names(text, &["tokio::spawn(", "task::spawn(", "thread::spawn("]),
        example: (
            "services/terminal-proxy/src/session.rs",
            "tokio::spawn(async move { relay.await });",
        ),
    },
    Rule {
        name: "fakes are for tests only",
        applies: |path| path.ends_with("Cargo.toml") && path != "Cargo.toml" && path != "tests/Cargo.toml",
        offence: |text| {
            let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
            names(dependencies, &["\nfakes."])
        },
        example: (
            "services/quickstart/Cargo.toml",
            "[dependencies]\nfakes.workspace = true\n",
        ),
    },
];

const MANY_LINES: &str = {
    const LINES: [u8; 500] = [b'\n'; 500];
    match std::str::from_utf8(&LINES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// Holds every file below `root` against every rule; returns one sentence for each offence.
pub fn offences(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(root) {
        let Ok(relative) = path.strip_prefix(root) else {
            continue;
        };
        let relative = relative.to_string_lossy().replace('\\', "/");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for rule in RULES.iter().filter(|rule| (rule.applies)(&relative)) {
            if let Some(offence) = (rule.offence)(&text) {
                found.push(format!("{relative}: {offence} ({})", rule.name));
            }
        }
    }
    found
}

fn is_production_code(path: &str) -> bool {
    let is_test = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
    Path::new(path).extension().is_some_and(|ending| ending == "rs") && path.contains("/src/") && !is_test
}

/// Finds the first line of code, comments aside, that contains one of the words.
fn names(text: &str, words: &[&str]) -> Option<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    for (index, line) in text.lines().enumerate().filter(|(_, line)| is_code(line)) {
        if let Some(word) = words.iter().find(|word| format!("\n{line}").contains(**word)) {
            return Some(format!("line {} names `{}`", index + 1, word.trim()));
        }
    }
    None
}

fn longer_than(text: &str, limit: usize) -> Option<String> {
    let lines = text.lines().count();
    (lines > limit).then(|| format!("{lines} lines"))
}

/// Lists the files that people write, in the folders that hold code.
fn files(root: &Path) -> Vec<PathBuf> {
    const ROOMS: [&str; 5] = ["crates", "services", "tests", "migrations", "deploy"];
    const ENDINGS: [&str; 8] = ["rs", "ts", "css", "html", "sql", "sh", "mjs", "toml"];
    const NOT_OURS: [&str; 4] = ["node_modules", "target", "dist", "corpus"];
    let mut waiting: Vec<PathBuf> = ROOMS.iter().map(|room| root.join(room)).collect();
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if !NOT_OURS.iter().any(|other| name == *other) {
                    waiting.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|ending| ENDINGS.iter().any(|ours| ending == *ours))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

//! What the documents promise, kept: every problem, setting, route and command that they name exists, and the
//! other way round.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use common::chassis::problem::{COMMON, ProblemType};
use common::chassis::token::INVALID_TOKEN;

#[test]
fn errors_md_lists_every_problem_and_no_other() {
    let mut text = String::from(ERRORS_HEAD);
    let services = [
        ("both", COMMON),
        ("both", &[INVALID_TOKEN]),
        BRIDGE_PROBLEMS,
        PROXY_PROBLEMS,
    ];
    let mut rows = BTreeMap::new();
    for (service, problems) in services {
        for ProblemType { slug, status, meaning } in problems {
            let row = format!("| `{slug}` | {} | {service} | {meaning} |", status.as_u16());
            assert!(
                rows.insert(*slug, row)
                    .is_none_or(|other| service != "both" && !other.contains("both")),
                "{slug} twice"
            );
        }
    }
    for row in rows.values() {
        writeln!(text, "{row}").unwrap();
    }
    same_as_expected("docs/errors.md", &text);
}

#[test]
fn configuration_md_lists_every_setting() {
    let mut text = String::from(CONFIGURATION_HEAD);
    settings(&mut text, "iot-bridge-api", &iot_bridge_api::config::Config::command());
    settings(&mut text, "terminal-proxy", &terminal_proxy::config::Config::command());
    same_as_expected("docs/configuration.md", &text);
}

#[test]
fn a_flag_may_stand_before_a_command_or_behind_it() {
    let programs = [
        iot_bridge_api::config::Config::command(),
        terminal_proxy::config::Config::command(),
        device::config::Config::command(),
    ];
    for program in &programs {
        for setting in program.get_arguments().filter(|it| it.get_env().is_some()) {
            let name = program.get_name();
            assert!(
                setting.is_global_set(),
                "{name} does not take --{} behind a command",
                setting.get_id()
            );
        }
    }
}

#[test]
fn api_md_lists_every_route_of_the_bridge() {
    let document = read("docs/api.md");
    for route in iot_bridge_api::http::routes() {
        let row = format!("| `{} {}` |", route.method, route.path);
        assert!(document.contains(&row), "docs/api.md lacks the row {row}");
    }
}

#[test]
fn the_readme_names_only_options_that_quickstart_has() {
    let command = quickstart::config::Config::command();
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|it| it.get_long())
        .map(|it| format!("--{it}"))
        .collect();
    let readme = read("README.md");
    let table = readme.lines().filter(|line| line.starts_with("| `-- --"));
    let words = table
        .flat_map(|line| line.split('`').nth(1).unwrap().split(' '))
        .filter(|word| word.len() > 2);
    for option in words.filter(|word| word.starts_with("--")) {
        assert!(
            known.iter().any(|it| it == option),
            "the README names {option}, which quickstart does not have"
        );
    }
}

#[test]
fn the_readme_s_command_lines_are_understood() {
    let readme = read("README.md");
    let lines = readme
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default().replace('\'', ""));
    let mut seen = 0;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = match words.first() {
            Some(&"iot-bridge-api") => iot_bridge_api::config::Config::command(),
            Some(&"terminal-proxy") => terminal_proxy::config::Config::command(),
            _ => continue,
        };
        seen += 1;
        command.try_get_matches_from(&words).unwrap();
    }
    assert!(seen >= 5, "the README shows how to run the services");
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let documents = fs::read_dir(root())
        .unwrap()
        .chain(fs::read_dir(root().join("docs")).unwrap());
    let documents = documents
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next())
        {
            let target = document.parent().unwrap().join(link);
            assert!(
                link.is_empty() || link.contains("://") || target.exists(),
                "{}: {link}",
                document.display()
            );
        }
    }
}

const BRIDGE_PROBLEMS: (&str, &[ProblemType]) = ("iot-bridge-api", iot_bridge_api::http::PROBLEMS);
const PROXY_PROBLEMS: (&str, &[ProblemType]) = ("terminal-proxy", terminal_proxy::PROBLEMS);

const ERRORS_HEAD: &str = "# Errors

Every refusal is a problem document (RFC 9457, `application/problem+json`): `type` is `urn:iot-bridge:problem:` and a
slug of this table, `title`, `status`, `detail`, and `instance`, the id of the request as it stands in the log and in the
header `x-request-id`. Some carry a `code` that says more. 429 and 503 carry `Retry-After` where waiting helps; 401
carries `WWW-Authenticate`; 405 carries `Allow`. What is unknown and what is not allowed give the same answer.

| slug | status | service | meaning |
|---|---|---|---|
";

const CONFIGURATION_HEAD: &str = "# Configuration

Every setting is a flag and an environment variable. A secret also has a form that names a file (`…_FILE`); files are
better, because the environment is seen by more eyes. A bad or unsafe combination stops the start with one sentence and
exit code 78; `check-config` only looks. `--help` says the same as this page.
";

/// One table of settings, subcommands included.
fn settings(text: &mut String, program: &str, command: &Command) {
    write!(
        text,
        "\n## {program}\n\n| variable | flag | default | meaning |\n|---|---|---|---|\n"
    )
    .unwrap();
    let mut rows = BTreeMap::new();
    let commands = [command].into_iter().chain(command.get_subcommands());
    for argument in commands.flat_map(Command::get_arguments) {
        let (Some(variable), Some(flag)) = (argument.get_env(), argument.get_long()) else {
            continue;
        };
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|it| it.to_string_lossy())
            .collect();
        let default = match defaults.join(",") {
            nothing if nothing.is_empty() => nothing,
            default => format!("`{default}`"),
        };
        let help = argument
            .get_long_help()
            .or(argument.get_help())
            .map(ToString::to_string)
            .unwrap_or_default();
        let help = help
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|");
        let values: Vec<_> = argument
            .get_possible_values()
            .iter()
            .map(|it| format!("`{}`", it.get_name()))
            .collect();
        let help = if values.is_empty() {
            help
        } else {
            format!("{help} ({})", values.join(", "))
        };
        let variable = variable.to_string_lossy().into_owned();
        rows.insert(
            variable.clone(),
            format!("| `{variable}` | `--{flag}` | {default} | {help} |"),
        );
    }
    for row in rows.values() {
        writeln!(text, "{row}").unwrap();
    }
}

fn same_as_expected(document: &str, expected: &str) {
    if fs::read_to_string(root().join(document)).unwrap_or_default() != expected {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Path::new(document).file_name().unwrap());
        fs::write(&fresh, expected).unwrap();
        panic!(
            "{document} is not true any more; what it should say is in {}",
            fresh.display()
        );
    }
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

//! What our own programs are told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _, Parser};
use serde_json::Value;

use super::{environment, services, strings, text};

#[test]
fn every_setting_that_our_programs_are_given_exists() {
    let programs = [
        ("iot-bridge/iot-bridge-api", iot_bridge_api::config::Config::command()),
        ("iot-bridge/hub", iot_bridge_api::config::Config::command()),
        ("iot-bridge/terminal-proxy", terminal_proxy::config::Config::command()),
        ("iot-bridge/device", device::config::Config::command()),
    ];
    // Read by libraries: the password file of PostgreSQL's clients, and the authorities of TLS clients.
    let libraries = ["PGPASSFILE", "SSL_CERT_FILE", "HOME", "TERM"];
    let mut seen = 0;
    for (name, service) in services() {
        let image = text(&service["image"]).to_owned();
        let Some((_, program)) = programs.iter().find(|(ours, _)| image.split(':').next() == Some(ours)) else {
            continue;
        };
        let known = variables(program);
        for variable in environment(&service).into_keys() {
            seen += 1;
            let is_known = known.contains(&variable) || libraries.contains(&variable.as_str());
            assert!(is_known, "{name} is given `{variable}`, which does not exist");
        }
    }
    assert!(seen > 60, "our programs are in the file");
}

#[test]
fn our_services_are_given_every_setting_that_they_need() {
    let files = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for (name, service) in services() {
        let image = text(&service["image"]);
        let entrypoint = strings(&service["entrypoint"]);
        let is_ours = image.starts_with("iot-bridge/") && !image.starts_with("iot-bridge/device");
        let is_shell = entrypoint.last().is_some_and(|last| last == "-c");
        let is_idle = strings(&service["command"])
            .first()
            .is_some_and(|first| first == "sleep");
        if !is_ours || is_shell || is_idle {
            continue;
        }
        seen += 1;
        if image.starts_with("iot-bridge/terminal-proxy") {
            let config: terminal_proxy::config::Config = started(&name, &service, files.path());
            config.settings().unwrap_or_else(|error| panic!("{name}: {error}"));
            config.jwks().unwrap_or_else(|error| panic!("{name}: {error}"));
        } else {
            let config: iot_bridge_api::config::Config = started(&name, &service, files.path());
            if name == "iot-bridge-api" {
                config.check().unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
    assert_eq!(seen, 7, "services, and what prepares for them");
}

/// A service's program as it starts: its environment as options, and a file for each path that it names.
fn started<Config: Parser>(name: &str, service: &Value, files: &Path) -> Config {
    let program = Config::command();
    let mut command = strings(&service["command"]);
    let mut given: Vec<_> = environment(service).into_iter().collect();
    if let Some(end) = command.iter().position(|argument| argument == "--") {
        let secrets = command.drain(..=end);
        let secrets = secrets.filter_map(|it| Some((it.split_once('=')?.0.to_owned(), SECRET.to_owned())));
        given.extend(secrets);
    }
    let mut arguments = vec![program.get_name().to_owned()];
    for (variable, value) in given {
        let mut options = program.get_arguments();
        let option = options.find(|it| it.get_env().is_some_and(|env| env == variable.as_str()));
        if let Some(long) = option.and_then(|it| it.get_long()) {
            arguments.push(format!("--{long}={}", present(&with_defaults(&value), files)));
        }
    }
    command.retain(|argument| argument != program.get_name());
    arguments.extend(command.iter().map(|argument| with_defaults(argument)));
    Config::try_parse_from(arguments).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compose's `${NAME:-DEFAULT}`, where nobody says anything.
fn with_defaults(text: &str) -> String {
    match text
        .split_once("${")
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        Some((before, (variable, after))) => {
            let default = variable.split_once(":-").map_or("", |(_, default)| default);
            format!("{before}{default}{}", with_defaults(after))
        }
        None => text.to_owned(),
    }
}

/// A file of a volume is there.
fn present(value: &str, files: &Path) -> String {
    if !value.starts_with("/secrets/") && !value.starts_with("/tls/") {
        return value.to_owned();
    }
    let file = files.join(value.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, SECRET).unwrap();
    file.display().to_string()
}

/// A secret as the first container makes them.
const SECRET: &str = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

/// The variables that a program and its commands read.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter_map(|it| it.get_env())
        .map(|it| it.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

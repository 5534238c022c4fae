//! What `deploy/` promises, kept: no secret in a file, no port too many, no right too many, no setting that does not
//! exist, and JSON that the products take.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

mod products;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Who may have what, beside nothing.
const CAPABILITIES: &[(&str, &[&str])] = &[
    ("backup", &["DAC_READ_SEARCH"]),
    ("hub", &["NET_ADMIN"]),
    ("init", &["CHOWN", "DAC_OVERRIDE", "FOWNER"]),
    ("restore", &["CHOWN", "DAC_OVERRIDE", "FOWNER"]),
    ("step-ca", &["NET_BIND_SERVICE"]), // a file capability of the image's program
];

/// Who is root: the owner of the interface, who makes the secrets, keeps them or shows the first one.
const ROOT: &[&str] = &["backup", "hub", "init", "password", "restore"];

/// Java servers that write into their own installation at the start.
const WRITABLE: &[&str] = &[
    "hawkbit",
    "hawkbit-ui",
    "keycloak",
    "thingsboard",
    "thingsboard-install",
];

/// What the machine opens.
const PORTS: &[(&str, &[&str])] = &[
    ("entrance", &["443:443", "8443:8443", "8883:8883"]),
    ("hub-net", &["51820:51820/udp"]),
    (
        "developer-ports",
        &[
            "127.0.0.1:8080:8080",
            "127.0.0.1:8180:8180",
            "127.0.0.1:3000:3000",
            "127.0.0.1:8090:8090",
            "127.0.0.1:8888:8888",
        ],
    ),
];

/// Words in the name of a variable whose value is a secret.
const SECRET_WORDS: &[&str] = &["PASSWORD", "SECRET", "TOKEN", "PEPPER", "API_KEY"];

/// Variables with such a word that are none.
const NO_SECRETS: &[&str] = &[
    "GF_AUTH_GENERIC_OAUTH_TOKEN_URL",
    "IOT_DEVICE_TOKEN_FILE",
    "MQTT_SSL_PEM_KEY_PASSWORD", // has to be set, and empty
];

#[test]
fn every_image_is_pinned() {
    for (name, service) in services() {
        let image = text(&service["image"]);
        let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
        assert!(
            tag.contains(|letter: char| letter.is_ascii_digit()),
            "{name}: `{image}` has no version"
        );
    }
}

#[test]
fn nobody_has_a_right_too_many() {
    for (name, service) in services() {
        let allowed = lookup(CAPABILITIES, &name);
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["cap_add"]), allowed, "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for wrong in ["privileged", "pid", "ipc", "userns_mode", "cgroup_parent"] {
            assert!(service[wrong].is_null(), "{name} has `{wrong}`");
        }
        let user = text(&service["user"]);
        assert_eq!(
            user.starts_with("0:"),
            ROOT.contains(&name.as_str()),
            "{name} runs as `{user}`"
        );
        assert!(!user.is_empty(), "{name} has no user");
        let is_read_only = service["read_only"] == true;
        assert!(is_read_only != WRITABLE.contains(&name.as_str()), "{name}: read_only");
        for volume in strings(&service["volumes"]) {
            assert!(!volume.contains("docker.sock"), "{name} has Docker's socket");
        }
    }
}

#[test]
fn the_machine_opens_these_ports_and_no_other() {
    for (name, service) in services() {
        assert_eq!(strings(&service["ports"]), lookup(PORTS, &name), "{name}");
        assert!(service["network_mode"] != "host", "{name}");
    }
}

#[test]
fn no_file_holds_a_secret_and_none_has_a_default() {
    for (name, service) in services() {
        for (variable, value) in environment(&service) {
            let is_secret = SECRET_WORDS.iter().any(|word| variable.contains(word));
            let is_file = variable.ends_with("_FILE") && value.starts_with('/');
            assert!(
                !is_secret || is_file || NO_SECRETS.contains(&variable.as_str()),
                "{name}: `{variable}` is a secret in the file"
            );
        }
    }
    let file = read("deploy/docker-compose.yml");
    for variable in file.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
        let name = variable.split([':', '-']).next().unwrap();
        assert!(
            matches!(name, "IOT_DOMAIN" | "IOT_DEVICE_HOST" | "IOT_WG_BACKEND"),
            "`{name}` comes from the environment"
        );
    }
}

#[test]
fn secrets_are_written_by_the_first_container_alone() {
    for (name, service) in services() {
        let volumes = strings(&service["volumes"]);
        let secrets = volumes.iter().filter(|volume| volume.starts_with("secrets-"));
        for volume in secrets {
            assert!(
                volume.ends_with(":ro") || name == "init" || name == "restore",
                "{name} may write {volume}"
            );
        }
    }
}

#[test]
fn whoever_runs_is_watched_bounded_and_does_not_fill_the_disk() {
    for (name, service) in services() {
        assert_eq!(service["logging"]["options"]["max-size"], "10m", "{name}");
        if service["restart"] != "unless-stopped" {
            continue;
        }
        assert!(!service["healthcheck"]["test"].is_null(), "{name} has no health check");
        assert!(!service["mem_limit"].is_null(), "{name} has no memory limit");
    }
}

#[test]
fn the_authority_is_reached_by_the_bridge_and_the_renewal_alone() {
    let members: BTreeSet<_> = services()
        .into_iter()
        .filter(|(_, service)| names(&service["networks"]).contains("authority"))
        .map(|(name, _)| name)
        .collect();
    let expected = ["certificates", "certificates-renewal", "iot-bridge-api", "step-ca"];
    assert_eq!(members, expected.map(str::to_owned).into());
}

#[test]
fn everybody_waits_for_somebody_who_is_there() {
    let services = services();
    for (name, service) in &services {
        let waits = service["depends_on"].as_object().cloned().unwrap_or_default();
        for (other, condition) in waits {
            let awaited = services
                .get(&other)
                .unwrap_or_else(|| panic!("{name} waits for {other}"));
            let ends = awaited["restart"] != "unless-stopped";
            let condition = text(&condition["condition"]);
            assert_eq!(ends, condition == "service_completed_successfully", "{name} → {other}");
        }
    }
}

/// The services, with everything that they take over from elsewhere in the file.
fn services() -> BTreeMap<String, Value> {
    let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read("deploy/docker-compose.yml")).unwrap();
    for _ in 0..4 {
        file.apply_merge().unwrap(); // one level at a time
    }
    let file: Value = serde_json::to_value(file).unwrap();
    let services = file["services"].as_object().unwrap().clone();
    assert!(services.len() > 20);
    services.into_iter().collect()
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_object().cloned().unwrap_or_default();
    let as_text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    variables
        .into_iter()
        .map(|(name, value)| (name, as_text(value)))
        .collect()
}

fn lookup<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> &'a [&'a str] {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(&[], |(_, found)| *found)
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().cloned().unwrap_or_default();
    list.iter().map(|item| text(item).to_owned()).collect()
}

/// The names in a list or of an object.
fn names(value: &Value) -> BTreeSet<String> {
    match value.as_object() {
        Some(object) => object.keys().cloned().collect(),
        None => strings(value).into_iter().collect(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

//! The files of the programs beside the agent, as the bridge has them written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::domain::DeviceId;
use device::agent::{Device, Enrolled};
use device::agents::{Agents, AgentsError, AgentsSettings, FOLDER, MQTT_FILE, TELEGRAF_FILE, UPDATER_FILE};
use device::enroll::{EnrollSettings, ServerTrust};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bridge::Bridge;

#[tokio::test]
async fn the_files_are_written_handed_over_once_and_follow_the_bridge() {
    let stage = Stage::new("echo \"$@\" >>../handed-over").await;
    stage.bridge.configures(configuration("a secret"));

    assert!(stage.agents().update().await.unwrap());
    assert!(!stage.agents().update().await.unwrap());
    stage.bridge.configures(configuration("another secret"));
    assert!(stage.agents().update().await.unwrap());

    assert!(stage.read(TELEGRAF_FILE).unwrap().contains("\"another secret\""));
    assert!(
        stage
            .read(UPDATER_FILE)
            .unwrap()
            .contains("auth_token = target-secret\n")
    );
    assert_eq!(
        fs::metadata(stage.folder().join(TELEGRAF_FILE))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let line = format!("{TELEGRAF_FILE} {UPDATER_FILE} {MQTT_FILE}\n");
    assert_eq!(stage.handed_over(), line.repeat(2));

    let nothing = json!({ "mqtt_url": null, "hawkbit": null, "influx": null });
    stage.bridge.configures(nothing);
    assert!(stage.agents().update().await.unwrap());
    assert_eq!((stage.read(TELEGRAF_FILE), stage.read(UPDATER_FILE)), (None, None));
    assert_eq!(stage.handed_over(), line.repeat(2) + "\n");
}

#[tokio::test]
async fn what_was_not_taken_over_is_handed_over_again() {
    let stage = Stage::new("test -e ../ready").await;
    stage.bridge.configures(configuration("a secret"));

    let error = stage.agents().update().await.unwrap_err();
    assert!(matches!(error, AgentsError::NotApplied { .. }), "{error}");
    fs::write(stage.directory.path().join("state/ready"), "").unwrap();

    assert!(stage.agents().update().await.unwrap());
    assert!(!stage.agents().update().await.unwrap());
}

#[tokio::test]
async fn while_the_bridge_does_not_answer_the_files_stay() {
    let stage = Stage::new("true").await;
    stage.bridge.configures(configuration("a secret"));
    stage.agents().update().await.unwrap();

    for bad in [json!({ "mqtt_url": 1 }), json!([]), configuration("two\nlines")] {
        stage.bridge.configures(bad);
        let error = stage.agents().update().await.unwrap_err();
        assert!(matches!(error, AgentsError::Unusable(_)), "{error}");
    }
    stage.bridge.is_away();
    let error = stage.agents().update().await.unwrap_err();
    assert!(matches!(error, AgentsError::Bridge(_)), "{error}");

    assert!(stage.read(TELEGRAF_FILE).unwrap().contains("\"a secret\""));
}

fn configuration(secret: &str) -> Value {
    json!({
        "mqtt_url": "mqtts://things.example.com:8883",
        "hawkbit": { "url": "http://127.0.0.1:8080/", "tenant": "DEFAULT", "target_token": "target-secret" },
        "influx": { "url": "http://10.8.0.1:8086/", "org": "iot", "bucket": "telemetry", "token": secret },
        "server_time": "2030-06-01T12:00:00Z",
    })
}

/// A device that has enrolled, and the program that takes its files over.
struct Stage {
    bridge: Bridge,
    device: Enrolled,
    program: PathBuf,
    directory: TempDir,
}

impl Stage {
    async fn new(script: &str) -> Self {
        let (bridge, directory) = (Bridge::honest_tls().await, tempfile::tempdir().unwrap());
        let id = DeviceId::parse("pump-7").unwrap();
        let device = Device::prepare(directory.path().join("state"), Some(id)).await.unwrap();
        let device = device.enroll(&settings(&bridge)).await.unwrap();
        let program = directory.path().join("changed");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            bridge,
            device,
            program,
            directory,
        }
    }

    fn agents(&self) -> Agents {
        self.device.agents(AgentsSettings {
            url: settings(&self.bridge).url,
            changed: Some(self.program.clone()),
            every: Duration::from_mins(5),
        })
    }

    fn folder(&self) -> PathBuf {
        self.directory.path().join("state").join(FOLDER)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder().join(name)).ok()
    }

    fn handed_over(&self) -> String {
        read(&self.directory.path().join("state/handed-over"))
    }
}

fn settings(bridge: &Bridge) -> EnrollSettings {
    bridge.settings_with("https", ServerTrust::Roots(bridge.root_pem()))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

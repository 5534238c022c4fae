//! The power is cut between every two steps of an enrollment: the built program is killed there, started again, and
//! the device asks once more.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use fakes::hawkbit::{Behaviour, FakeHawkbit};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::step_ca;
use crate::support::TestDevice;

#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_power_goes_a_device_gets_one_certificate_and_one_address() {
    let authority = step_ca::World::new().await;
    cut_everywhere(|| Bridge::new(&authority)).await;
}

#[cfg(feature = "postgres-tests")]
#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_power_goes_a_device_gets_one_certificate_and_one_address_on_postgresql() {
    let authority = step_ca::World::new().await;
    cut_everywhere(|| Bridge::on_postgres(&authority)).await;
}

async fn cut_everywhere(new_bridge: impl Fn() -> Bridge) {
    for (point, status) in [
        ("K0", StatusCode::CREATED),
        ("K1", StatusCode::OK),
        ("K2", StatusCode::OK),
        ("K3", StatusCode::OK),
        ("K4", StatusCode::OK),
        ("K5", StatusCode::OK),
        ("K6", StatusCode::OK),
        ("K7", StatusCode::OK),
        ("K8", StatusCode::OK),
    ] {
        let bridge = new_bridge();
        let (device, token) = (TestDevice::new("pump-7"), bridge.token());

        let lost = bridge.enroll_and_cut(point, &token, &device).await;
        assert_eq!(bridge.fsck(), "Everything that must hold does.\n", "{point}");
        let running = bridge.start(&[]).await;
        let (told, answer) = bridge.enroll(&token, &device).await;
        let (again, repeated) = bridge.enroll(&token, &device).await;

        assert_eq!((told, again), (status, StatusCode::OK), "{point}: {answer}");
        assert_eq!(answer["certificate"], repeated["certificate"], "{point}");
        assert_eq!(answer["wireguard_ip"], "10.8.0.2", "{point}");
        if let Some(lost) = lost {
            assert_eq!(
                lost["certificate"], answer["certificate"],
                "{point}: the answer that was lost"
            );
        }
        let other = TestDevice::new("pump-7");
        let (conflict, _) = bridge.enroll(&token, &other).await;
        assert_eq!(conflict, StatusCode::CONFLICT, "{point}");
        running.cut();
        assert_eq!(bridge.fsck(), "Everything that must hold does.\n", "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_power_goes_while_the_hub_is_away_a_device_keeps_the_certificate_on_record() {
    let authority = step_ca::World::new().await;
    let mut bridge = Bridge::new(&authority);
    let (device, token) = (TestDevice::new("pump-7"), bridge.token());
    let nowhere = bridge.folder.path().join("nobody.sock");
    bridge.settings.push(("WG_HUB", format!("unix:{}", nowhere.display())));
    bridge.enroll_and_cut("K5", &token, &device).await;
    bridge.settings.pop();

    let running = bridge.start(&[]).await;
    let (told, answer) = bridge.enroll(&token, &device).await;

    assert_eq!(told, StatusCode::OK, "{answer}");
    assert_eq!(answer["wireguard_ip"], "10.8.0.2");
    running.cut();
    assert_eq!(bridge.fsck(), "Everything that must hold does.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_power_goes_between_the_two_halves_of_a_target_the_next_start_makes_the_other_half() {
    const K9: &str = "K9";
    let authority = step_ca::World::new().await;
    let hawkbit = FakeHawkbit::start().await;
    hawkbit.behaves(Behaviour::Good);
    let mut bridge = Bridge::new(&authority);
    let secret = "the-secret-of-the-rule-chain";
    bridge.settings.extend([
        ("HAWKBIT_URL", hawkbit.url().to_owned()),
        ("HAWKBIT_USER", FakeHawkbit::USER.to_owned()),
        ("HAWKBIT_PASSWORD", FakeHawkbit::PASSWORD.to_owned()),
        ("THINGSBOARD_WEBHOOK_SECRET", secret.to_owned()),
    ]);
    let (device, token) = (TestDevice::new("pump-7"), bridge.token());
    let running = bridge.start(&["--stop-at", K9]).await;
    assert_eq!(bridge.enroll(&token, &device).await.0, StatusCode::CREATED);

    let news = serde_json::json!({ "event": "CONNECT_EVENT", "deviceName": "pump-7" });
    let heard = bridge.http.post(format!("{}/webhooks/thingsboard", bridge.url));
    let heard = heard.bearer_auth(secret).json(&news).send().await.unwrap();
    assert_eq!(heard.status(), StatusCode::ACCEPTED);
    bridge.wait_for(&format!("Stopped at {K9}")).await;
    running.cut();
    assert!(hawkbit.target("pump-7").unwrap().metadata.is_empty());
    assert_eq!(bridge.fsck(), "Everything that must hold does.\n");

    let running = bridge.start(&[]).await;
    let whole = async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        while hawkbit.target("pump-7").unwrap().metadata.is_empty() {
            looks.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), whole).await;
    assert!(waited.is_ok(), "nobody made the other half");
    assert_eq!(hawkbit.ids(), ["pump-7"]);
    assert_eq!(
        hawkbit.target("pump-7").unwrap().metadata["bridge_vpn_address"],
        "10.8.0.2"
    );
    running.cut();
    assert_eq!(bridge.fsck(), "Everything that must hold does.\n");
}

/// The built program, its settings and its folder.
struct Bridge {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    url: String,
    http: Client,
}

/// The program while it runs.
struct Running {
    child: Child,
}

impl Bridge {
    fn new(authority: &step_ca::World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("provisioner.jwk"), authority.provisioner_jwk()).unwrap();
        let port = free_port();
        let settings = vec![
            ("DATABASE_URL", format!("sqlite://{}", file("bridge.db"))),
            ("TOKEN_PEPPER", "p".repeat(32)),
            ("STEP_CA_URL", authority.url.clone()),
            ("STEP_CA_FINGERPRINT", authority.server.ca.fingerprint().to_string()),
            ("STEP_CA_PROVISIONER_KEY_FILE", file("provisioner.jwk")),
            ("WG_PRIVATE_KEY_FILE", file("hub.key")),
            ("WG_PORT", free_port().to_string()),
            ("BIND", format!("127.0.0.1:{port}")),
            ("LOG_FILTER", "warn,iot_bridge_api=info".to_owned()),
        ];
        Self {
            url: format!("http://127.0.0.1:{port}"),
            http: http_client::build(&HttpClientOptions::default()).unwrap(),
            settings,
            folder,
        }
    }

    /// Over a schema of its own in the database at `TEST_POSTGRES_URL`.
    #[cfg(feature = "postgres-tests")]
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    fn on_postgres(authority: &step_ca::World) -> Self {
        let server = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL has the address of a server");
        let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
        let made = Command::new("psql")
            .args(["--quiet", "--command", &format!("CREATE SCHEMA {schema}"), &server])
            .status();
        assert!(made.unwrap().success(), "psql made no schema");
        let separator = if server.contains('?') { '&' } else { '?' };
        let mut bridge = Self::new(authority);
        let database = format!("{server}{separator}options[search_path]={schema}");
        bridge.settings.push(("DATABASE_URL", database));
        bridge
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iot-bridge-api"));
        let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        command.args(arguments).env_clear().envs(settings).stdin(Stdio::null());
        command
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    fn token(&self) -> String {
        self.said(&["migrate"]);
        let said = self.said(&["token", "create", "--device", "pump-7"]);
        said.lines().find(|line| line.starts_with("ibt_")).unwrap().to_owned()
    }

    fn fsck(&self) -> String {
        self.said(&["fsck"])
    }

    async fn start(&self, arguments: &[&str]) -> Running {
        let log = File::create(self.log()).unwrap();
        let mut command = self.command(arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let running = Running {
            child: command.spawn().unwrap(),
        };
        self.wait_for("serves on").await;
        running
    }

    /// Enrolls and cuts the power at a place; returns the answer that the device may or may not have got.
    async fn enroll_and_cut(&self, point: &str, token: &str, device: &TestDevice) -> Option<Value> {
        if point == "K8" {
            let running = self.start(&[]).await;
            let (_, answer) = self.enroll(token, device).await;
            running.cut();
            return Some(answer);
        }
        let running = self.start(&["--stop-at", point]).await;
        let stopped = format!("Stopped at {point}");
        tokio::select! {
            _ = self.post(token, device) => panic!("{point}: it answered"),
            () = self.wait_for(&stopped) => {}
        }
        running.cut();
        None
    }

    async fn enroll(&self, token: &str, device: &TestDevice) -> (StatusCode, Value) {
        let response = self.post(token, device).await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn post(&self, token: &str, device: &TestDevice) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/devices/pump-7/enroll", self.url);
        self.http
            .post(url)
            .bearer_auth(token)
            .json(&device.request())
            .send()
            .await
    }

    /// Waits until the log says something.
    async fn wait_for(&self, words: &str) {
        let says = || {
            let log = BufReader::new(File::open(self.log()).unwrap());
            log.lines().any(|line| line.unwrap().contains(words))
        };
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let waited = tokio::time::timeout(Duration::from_mins(1), async {
            while !says() {
                looks.tick().await;
            }
        });
        let log = std::fs::read_to_string(self.log()).unwrap();
        assert!(waited.await.is_ok(), "the log never said `{words}`: {log}");
    }

    fn log(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("log")
    }
}

impl Running {
    /// `kill -9`.
    fn cut(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

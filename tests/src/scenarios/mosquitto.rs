//! A genuine MQTT broker that asks for a certificate, as ThingsBoard's transport does: a device proves itself with the
//! files that our agent names, and nobody else is let in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::domain::DeviceId;
use device::agent::{Device, Enrolled};
use device::agents::{AgentsSettings, FOLDER, MQTT_FILE};
use device::enroll::{EnrollSettings, Patience, ServerTrust};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::failure::{Failure, ensure};
use crate::real::bridge::Bridge;
use crate::real::clients;
use crate::real::process::ServerProcess;
use crate::real::step_ca::{StepCa, printed};
use crate::stage::{Stage, free_port};

/// Where ThingsBoard's devices report.
const TOPIC: &str = "v1/devices/me/telemetry";

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let world = stage
        .step("a broker starts that asks for a certificate", World::new(stage))
        .await?;
    stage
        .step(
            "a device reports with the files that our agent names, under its own name",
            world.reports(stage),
        )
        .await?;
    stage
        .step(
            "whoever has another authority's certificate, or none, is not let in",
            world.strangers_stay_out(),
        )
        .await
}

struct World {
    device: Enrolled,
    bridge: Bridge,
    authority: StepCa,
    port: u16,
    home: TempDir,
    _broker: ServerProcess,
}

impl World {
    async fn new(stage: &Stage) -> Result<Self, Failure> {
        let (home, port) = (tempfile::tempdir()?, free_port()?);
        let authority = StepCa::start(stage).await?;
        let beside = vec![("MQTT_URL", format!("mqtts://localhost:{port}"))];
        let bridge = Bridge::start_beside(stage, &authority, beside).await?;
        let broker = start_broker(stage, &authority, home.path(), port).await?;
        let id = DeviceId::parse("pump-7")?;
        let device = Device::prepare(home.path().join("device"), Some(id)).await?;
        let settings = EnrollSettings {
            url: bridge.devices().clone(),
            trust: ServerTrust::Roots(authority.root_pem()?),
            token: bridge.token("pump-7", 1).await?,
            device_type: None,
            device_name: None,
            patience: Patience::default(),
        };
        Ok(Self {
            device: device.enroll(&settings).await?,
            bridge,
            authority,
            port,
            home,
            _broker: broker,
        })
    }

    async fn reports(&self, stage: &Stage) -> Result<(), Failure> {
        let settings = AgentsSettings {
            url: self.bridge.devices().clone(),
            changed: None,
            every: Duration::from_mins(5),
        };
        self.device.agents(settings).update().await?;
        let file = self.home.path().join("device").join(FOLDER).join(MQTT_FILE);
        let told: Value = serde_json::from_slice(&fs::read(file)?)?;
        let path = |key: &str| PathBuf::from(told[key].as_str().unwrap_or_default());
        let (certificate, key) = (path("certificate"), path("key"));
        printed(self.publish(Some((&certificate, &key)))).await?;
        // The same by ThingsBoard's own client.
        let (port, root) = (self.port.to_string(), self.authority.root_file());
        let files = [&root, &certificate, &key].map(|path| path.to_str().unwrap_or_default());
        clients::run(stage, "mqtt.py", &["localhost", &port, files[0], files[1], files[2]]).await?;
        let log = fs::read_to_string(self.home.path().join("mosquitto.log"))?;
        ensure(
            log.contains("u'pump-7'"),
            format_args!("the broker knows it by another name: {log}"),
        )
    }

    async fn strangers_stay_out(&self) -> Result<(), Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["pump-7".to_owned()])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "pump-7");
        let (certificate, key_file) = (
            self.home.path().join("stranger.pem"),
            self.home.path().join("stranger.key"),
        );
        fs::write(&certificate, params.self_signed(&key)?.pem())?;
        fs::write(&key_file, key.serialize_pem())?;
        for credentials in [Some((certificate.as_path(), key_file.as_path())), None] {
            let refused = printed(self.publish(credentials)).await.is_err();
            ensure(refused, format_args!("let in with {credentials:?}"))?;
        }
        Ok(())
    }

    fn publish(&self, credentials: Option<(&Path, &Path)>) -> Command {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "-q", "1", "-t", TOPIC]);
        command
            .args(["-m", r#"{"sw_version":"1"}"#, "--cafile"])
            .arg(self.authority.root_file());
        if let Some((certificate, key)) = credentials {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command
    }
}

async fn start_broker(stage: &Stage, authority: &StepCa, home: &Path, port: u16) -> Result<ServerProcess, Failure> {
    let (certificate, key) = (home.join("broker.pem"), home.join("broker.key"));
    authority.server_certificate(&certificate, &key).await?;
    let settings = format!(
        "listener {port} 127.0.0.1\nuser root\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
         use_identity_as_username true\nlog_dest file {}\nlog_type all\n",
        authority.root_file().display(),
        certificate.display(),
        key.display(),
        home.join("mosquitto.log").display()
    );
    let file = home.join("mosquitto.conf");
    fs::write(&file, settings)?;
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(&file);
    let mut process = ServerProcess::start("mosquitto", command, &stage.log("mosquitto")?)?;
    let answers = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    process.until(answers, Duration::from_secs(10)).await?;
    Ok(process)
}

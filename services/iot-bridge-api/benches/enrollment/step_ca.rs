//! A genuine step-ca with a provisioner for devices, and our own adapter to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::domain::SystemClock;
use iot_bridge_api::adapters::step_ca::{ProvisionerSecret, RootFingerprint, StepCa as Adapter, StepCaOptions};
use iot_bridge_api::ports::CertificateAuthority as _;
use tempfile::TempDir;

use crate::cpu::Program;
use crate::process::{Process, free_port, printed};

const PROVISIONER: &str = "iot-bridge";
const PASSWORD: &str = "a-password-that-lives-for-a-minute";
const LEAF_TEMPLATE: &str = r#"{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }},
 "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"], "basicConstraints": {"isCA": false}}"#;

pub(crate) struct StepCa {
    programs: PathBuf,
    pub(crate) port: u16,
    pub(crate) adapter: Adapter,
    process: Process,
    home: TempDir,
}

impl StepCa {
    pub(crate) async fn start(programs: &Path) -> Self {
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        set_up(programs, home.path(), port);
        let mut command = Command::new(programs.join("step-ca"));
        command.arg("--password-file").arg(home.path().join("password"));
        command.arg(home.path().join("config/ca.json"));
        let process = Process::start(command, &home.path().join("log"), port);
        let options = StepCaOptions {
            url: format!("https://localhost:{port}").parse().unwrap(),
            fingerprints: vec![RootFingerprint::parse(&fingerprint(programs, home.path())).unwrap()],
            provisioner: PROVISIONER.to_owned(),
            secret: ProvisionerSecret::Password(PASSWORD.into()),
        };
        let adapter = Adapter::new(options, Arc::new(SystemClock));
        adapter.health().await.unwrap();
        Self {
            programs: programs.to_owned(),
            port,
            adapter,
            process,
            home,
        }
    }

    pub(crate) fn program(&self) -> Program {
        Program {
            name: "step-ca",
            pid: self.process.id(),
        }
    }

    /// What the bridge is told about it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("STEP_CA_URL", format!("https://localhost:{}", self.port)),
            ("STEP_CA_FINGERPRINT", fingerprint(&self.programs, self.home.path())),
            ("STEP_CA_PROVISIONER_NAME", PROVISIONER.to_owned()),
            ("STEP_CA_PROVISIONER_PASSWORD", PASSWORD.to_owned()),
        ]
    }

    pub(crate) fn root_pem(&self) -> String {
        fs::read_to_string(self.home.path().join("certs/root_ca.crt")).unwrap()
    }

    /// Has a certificate made for a server on localhost.
    pub(crate) fn server_certificate(&self, certificate: &Path, key: &Path) {
        let home = self.home.path();
        let mut command = step(&self.programs, home);
        command
            .args(["ca", "certificate", "localhost"])
            .arg(certificate)
            .arg(key);
        command.args(["--provisioner", "admin", "--provisioner-password-file"]);
        command
            .arg(home.join("password"))
            .arg("--root")
            .arg(home.join("certs/root_ca.crt"));
        command.args(["--ca-url", &format!("https://localhost:{}", self.port)]);
        printed(&mut command);
    }
}

fn set_up(programs: &Path, home: &Path, port: u16) {
    let (password, template) = (home.join("password"), home.join("leaf.tpl"));
    fs::write(&password, PASSWORD).unwrap();
    fs::write(&template, LEAF_TEMPLATE).unwrap();
    let mut init = step(programs, home);
    init.args([
        "ca",
        "init",
        "--name",
        "Bench",
        "--dns",
        "localhost",
        "--provisioner",
        "admin",
    ]);
    init.args([
        "--deployment-type",
        "standalone",
        "--address",
        &format!("127.0.0.1:{port}"),
    ]);
    init.arg("--password-file")
        .arg(&password)
        .arg("--provisioner-password-file")
        .arg(&password);
    printed(&mut init);
    let mut add = step(programs, home);
    add.args(["ca", "provisioner", "add", PROVISIONER, "--type", "JWK", "--create"]);
    add.arg("--password-file")
        .arg(&password)
        .arg("--x509-template")
        .arg(&template);
    add.args([
        "--x509-max-dur",
        "2160h",
        "--x509-default-dur",
        "720h",
        "--disable-renewal",
        "--ssh=false",
    ]);
    add.arg("--ca-config").arg(home.join("config/ca.json"));
    printed(&mut add);
}

fn fingerprint(programs: &Path, home: &Path) -> String {
    let mut command = step(programs, home);
    command
        .args(["certificate", "fingerprint"])
        .arg(home.join("certs/root_ca.crt"));
    printed(&mut command).trim().to_owned()
}

fn step(programs: &Path, home: &Path) -> Command {
    let mut command = Command::new(programs.join("step"));
    command.env("STEPPATH", home);
    command
}

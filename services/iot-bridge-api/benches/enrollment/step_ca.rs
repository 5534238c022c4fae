//! A genuine step-ca with a provisioner for devices, and whoever makes its tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use iot_bridge_api::adapters::step_ca::{Minter, ProvisionerKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Clients;
use crate::cpu::Program;
use crate::process::{Process, free_port, printed};

const PROVISIONER: &str = "iot-bridge";
const PUBLIC_KEY: &str = "provisioner.pub";
/// The provisioner's private key, which step-ca does not have.
const PRIVATE_KEY: &str = "provisioner.key";
const PASSWORD: &str = "a-password-that-lives-for-a-minute";
const LEAF_TEMPLATE: &str = r#"{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }},
 "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"], "basicConstraints": {"isCA": false}}"#;

pub(crate) struct StepCa {
    programs: PathBuf,
    /// Where it signs.
    pub(crate) url: String,
    pub(crate) minter: Minter,
    pub(crate) clients: Clients,
    base: String,
    process: Process,
    home: TempDir,
}

impl StepCa {
    pub(crate) fn start(programs: &Path) -> Self {
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        set_up(programs, home.path(), port);
        let mut command = Command::new(programs.join("step-ca"));
        command.arg("--password-file").arg(home.path().join("password"));
        command.arg(home.path().join("config/ca.json"));
        let process = Process::start(command, &home.path().join("log"), port);
        let base = format!("https://localhost:{port}");
        let key = ProvisionerKey::from_jwk(&fs::read(home.path().join(PRIVATE_KEY)).unwrap()).unwrap();
        Self {
            programs: programs.to_owned(),
            url: format!("{base}/1.0/sign"),
            minter: Minter::new(key, PROVISIONER.to_owned(), &base.parse().unwrap()),
            clients: Clients::new(&root_pem(home.path())),
            base,
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
            ("STEP_CA_URL", self.base.clone()),
            ("STEP_CA_FINGERPRINT", fingerprint(&self.programs, self.home.path())),
            ("STEP_CA_PROVISIONER_NAME", PROVISIONER.to_owned()),
            (
                "STEP_CA_PROVISIONER_KEY_FILE",
                self.home.path().join(PRIVATE_KEY).display().to_string(),
            ),
        ]
    }

    pub(crate) fn root_pem(&self) -> String {
        root_pem(self.home.path())
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
        command.args(["--ca-url", &self.base]);
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
    let mut make = step(programs, home);
    make.args(["crypto", "jwk", "create"])
        .arg(home.join(PUBLIC_KEY))
        .arg(home.join(PRIVATE_KEY));
    make.args(["--kty", "EC", "--crv", "P-256", "--no-password", "--insecure"]);
    printed(&mut make);
    let mut add = step(programs, home);
    add.args(["ca", "provisioner", "add", PROVISIONER, "--type", "JWK"]);
    add.arg("--public-key")
        .arg(home.join(PUBLIC_KEY))
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
    publish_revocations(&home.join("config/ca.json"));
}

/// As a fleet's authority does that takes certificates back.
fn publish_revocations(settings: &Path) {
    let mut changed: Value = serde_json::from_slice(&fs::read(settings).unwrap()).unwrap();
    changed["crl"] = json!({ "enabled": true, "generateOnRevoke": true });
    fs::write(settings, changed.to_string()).unwrap();
}

fn root_pem(home: &Path) -> String {
    fs::read_to_string(home.join("certs/root_ca.crt")).unwrap()
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

//! A step-ca of our own, set up as `deploy` does it: one provisioner for devices, and a list of what was revoked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::process::ServerProcess;
use super::secret::random_password;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, free_port};

/// What a device's certificate looks like; names come from the one-time token alone.
const LEAF_TEMPLATE: &str = r#"{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }},
 "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"],
 "basicConstraints": {"isCA": false},
 "crlDistributionPoints": ["http://127.0.0.1/ca/crl"]}"#;

/// A genuine step-ca in a folder of its own.
#[derive(Debug)]
pub(crate) struct StepCa {
    programs: PathBuf,
    log: PathBuf,
    port: u16,
    /// Before the folder, so that it ends before its files go.
    process: Option<ServerProcess>,
    home: TempDir,
}

impl StepCa {
    /// The provisioner that signs for devices.
    pub(crate) const PROVISIONER: &str = "iot-bridge";

    /// Makes an authority and starts it.
    pub(crate) async fn start(stage: &Stage) -> Result<Self, Failure> {
        let mut authority = Self {
            programs: stage.installed("step-ca")?,
            log: stage.log("step-ca")?,
            port: free_port()?,
            process: None,
            home: tempfile::tempdir()?,
        };
        authority.set_up().await?;
        authority.come_back().await?;
        Ok(authority)
    }

    /// Starts it, again or for the first time.
    pub(crate) async fn come_back(&mut self) -> Result<(), Failure> {
        let mut command = self.program("step-ca");
        command
            .arg("--password-file")
            .arg(self.password_file())
            .arg(self.home.path().join("config/ca.json"));
        let mut process = ServerProcess::start("step-ca", command, &self.log)?;
        let port = self.port;
        let answers = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        process.until(answers, Duration::from_secs(20)).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it.
    pub(crate) async fn go_away(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Where the password of every key in there is.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.home.path().join("password")
    }

    pub(crate) fn root_file(&self) -> PathBuf {
        self.home.path().join("certs/root_ca.crt")
    }

    pub(crate) fn intermediate_file(&self) -> PathBuf {
        self.home.path().join("certs/intermediate_ca.crt")
    }

    pub(crate) fn root_pem(&self) -> Result<String, Failure> {
        Ok(fs::read_to_string(self.root_file())?)
    }

    /// Asks `step` for the root's fingerprint.
    pub(crate) async fn fingerprint(&self) -> Result<String, Failure> {
        let root = self.root_file();
        let said = self.step(&["certificate", "fingerprint", path(&root)]).await?;
        Ok(said.trim().to_owned())
    }

    /// Has a certificate made for one of our servers, by a provisioner that devices never meet.
    pub(crate) async fn server_certificate(&self, certificate: &Path, key: &Path) -> Result<(), Failure> {
        let (password, root, url) = (self.password_file(), self.root_file(), self.url());
        let authority = ["--ca-url", &url, "--root", path(&root), "--provisioner", "admin"];
        let names = ["--san", "localhost", "--san", "127.0.0.1", "--force"];
        let mut arguments = vec!["ca", "certificate", "localhost", path(certificate), path(key)];
        arguments.extend(authority);
        arguments.extend(["--provisioner-password-file", path(&password)]);
        arguments.extend(names);
        self.step(&arguments).await.map(drop)
    }

    /// Returns a program that was installed with it.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// Runs the genuine `step` and returns what it printed.
    pub(crate) async fn step(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = self.program("step");
        command.args(arguments).env("STEPPATH", self.home.path());
        printed(command).await
    }

    async fn set_up(&self) -> Result<(), Failure> {
        let (home, password) = (self.home.path(), self.password_file());
        fs::write(&password, random_password()?.expose_secret())?;
        let template = home.join("leaf.tpl");
        fs::write(&template, LEAF_TEMPLATE)?;
        let (address, password) = (format!("127.0.0.1:{}", self.port), path(&password));
        let names = ["--name", "Lab", "--dns", "localhost,127.0.0.1", "--address", &address];
        let mut init = vec![
            "ca",
            "init",
            "--provisioner",
            "admin",
            "--deployment-type",
            "standalone",
        ];
        init.extend(names);
        init.extend(["--password-file", password, "--provisioner-password-file", password]);
        self.step(&init).await?;
        let config = home.join("config/ca.json");
        let devices = [
            "ca",
            "provisioner",
            "add",
            Self::PROVISIONER,
            "--type",
            "JWK",
            "--create",
        ];
        let durations = ["--x509-max-dur", "2160h", "--x509-default-dur", "720h"];
        let limits = ["--disable-renewal", "--ssh=false", "--ca-config", path(&config)];
        let mut add = devices.to_vec();
        add.extend(["--password-file", password, "--x509-template", path(&template)]);
        add.extend(durations);
        add.extend(limits);
        self.step(&add).await?;
        let mut settings: Value = serde_json::from_slice(&fs::read(&config)?)?;
        settings["crl"] = json!({
            "enabled": true, "generateOnRevoke": true, "cacheDuration": "1h", "idpURL": "http://127.0.0.1/ca/crl",
        });
        Ok(fs::write(&config, settings.to_string())?)
    }
}

/// Runs a program to its end and returns what it printed; what it complained about is the failure.
pub(crate) async fn printed(mut command: Command) -> Result<String, Failure> {
    let output = command.kill_on_drop(true).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), complaint.trim())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

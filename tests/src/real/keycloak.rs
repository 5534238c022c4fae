//! A Keycloak of our own, with the realm of `deploy/keycloak`, in production mode as it is deployed.

mod admin;
mod provision;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use reqwest::Client;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

pub(crate) use self::admin::{Admin, Person};
use super::process::ServerProcess;
use super::secret::random_password;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, free_port, project};

/// A Keycloak that runs until it is dropped.
///
/// As in a deployment, browsers know it by another address (`localhost`) than our services (`127.0.0.1`).
#[derive(Debug)]
pub(crate) struct Keycloak {
    /// Its administrator's hands.
    pub(crate) admin: Admin,
    public: Url,
    internal: Url,
    // Before the folder, so that it ends before its files go.
    _process: ServerProcess,
    _home: TempDir,
}

impl Keycloak {
    /// The realm of `deploy/keycloak`.
    pub(crate) const REALM: &str = "iot";
    /// The longest start: it makes its database.
    const START: Duration = Duration::from_mins(4);

    /// Starts a fresh one; `terminal_url` is where the terminal's page is served.
    pub(crate) async fn start(stage: &Stage, terminal_url: &str) -> Result<Self, Failure> {
        let port = free_port()?;
        let public: Url = format!("http://localhost:{port}/").parse()?;
        let internal: Url = format!("http://127.0.0.1:{port}/").parse()?;
        let password = random_password()?;
        let home = home(stage).await?;
        let mut command = start_command(home.path(), port, &public);
        command
            .env("TERMINAL_PUBLIC_URL", terminal_url)
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", Admin::USERNAME)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", password.expose_secret());
        let mut process = ServerProcess::start("Keycloak", command, &stage.log("keycloak")?)?;
        let http = patient_client()?;
        let realm = internal.join("realms/")?.join(Self::REALM)?;
        let answers = async || {
            http.get(realm.clone())
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
        };
        process.until(answers, Self::START).await?;
        let admin = Admin::new(http, &internal, password)?;
        Ok(Self {
            admin,
            public,
            internal,
            _process: process,
            _home: home,
        })
    }

    /// Returns the realm's name as tokens have it.
    pub(crate) fn issuer(&self) -> Result<Url, Failure> {
        Ok(self.public.join("realms/")?.join(Self::REALM)?)
    }

    /// Returns where services fetch the realm's keys.
    pub(crate) fn jwks_url(&self) -> Result<Url, Failure> {
        Ok(self
            .internal
            .join(&format!("realms/{}/protocol/openid-connect/certs", Self::REALM))?)
    }

    /// Returns where services ask who a person is now.
    pub(crate) fn userinfo_url(&self) -> Result<Url, Failure> {
        Ok(self.jwks_url()?.join("userinfo")?)
    }
}

/// Makes a client that waits for pages which are compiled when first asked for.
pub(crate) fn patient_client() -> Result<Client, Failure> {
    let options = HttpClientOptions {
        total_timeout: Duration::from_secs(30),
        ..HttpClientOptions::default()
    };
    Ok(http_client::build(&options)?)
}

/// Makes a copy of the installed server that may write, with our realm to import.
async fn home(stage: &Stage) -> Result<TempDir, Failure> {
    let installed = stage.installed("keycloak")?;
    let home = tempfile::tempdir()?;
    let copied = Command::new("cp")
        .arg("-a")
        .arg(installed.join("."))
        .arg(home.path())
        .status()
        .await?;
    ensure(copied.success(), "the installed Keycloak cannot be copied")?;
    let import = home.path().join("data/import");
    fs::create_dir_all(&import)?;
    fs::copy(project("deploy/keycloak/realm.json"), import.join("realm.json"))?;
    Ok(home)
}

fn start_command(home: &Path, port: u16, public: &Url) -> Command {
    let mut command = Command::new(home.join("bin/kc.sh"));
    command
        .args(["start", "--optimized", "--import-realm", "--cache=local"])
        .args(["--http-enabled=true", "--http-host=127.0.0.1"])
        .arg(format!("--http-port={port}"))
        .arg(format!("--hostname={}", public.as_str().trim_end_matches('/')))
        .arg("--hostname-backchannel-dynamic=true");
    command
}

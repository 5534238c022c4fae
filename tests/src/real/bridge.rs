//! The built `iot-bridge-api`, as a process of its own, with an administrator's hands.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::metrics::HttpMetrics;
use common::chassis::server::{self, Options};
use common::chassis::shutdown::Shutdown;
use common::domain::SystemClock;
use oidc_issuer::client::{self, Login};
use oidc_issuer::{ClientConfig, Issuer, IssuerConfig, UserConfig};
use prometheus_client::registry::Registry;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use super::process::ServerProcess;
use super::secret::random_password;
use super::step_ca::{StepCa, printed};
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, free_port};

const CLIENT: &str = "terminal-widget";
const REDIRECT_URI: &str = "http://127.0.0.1:9/ui/callback";

/// A bridge that trusts an authority and an issuer of this stage.
#[derive(Debug)]
pub(crate) struct Bridge {
    log: PathBuf,
    settings: Vec<(&'static str, String)>,
    operators: Url,
    devices: Url,
    http: Client,
    access_token: SecretString,
    process: Option<ServerProcess>,
    home: TempDir,
    issuer: Shutdown,
}

impl Bridge {
    /// Prepares a fresh one and starts it.
    pub(crate) async fn start(stage: &Stage, authority: &StepCa) -> Result<Self, Failure> {
        Self::start_beside(stage, authority, Vec::new()).await
    }

    /// As [`start`](Self::start), with further settings: the systems beside it.
    pub(crate) async fn start_beside(
        stage: &Stage,
        authority: &StepCa,
        beside: Vec<(&'static str, String)>,
    ) -> Result<Self, Failure> {
        let (home, issuer) = (tempfile::tempdir()?, Shutdown::new());
        let (name, access_token) = issue_to_an_admin(&issuer).await?;
        let (operators, devices) = (free_port()?, free_port()?);
        let (certificate, key) = (home.path().join("server.crt"), home.path().join("server.key"));
        authority.server_certificate(&certificate, &key).await?;
        let text = |path: &Path| path.display().to_string();
        let mut settings = vec![
            ("STEP_CA_URL", authority.url()),
            ("STEP_CA_FINGERPRINT", authority.fingerprint().await?),
            ("STEP_CA_PROVISIONER_NAME", StepCa::PROVISIONER.to_owned()),
            ("STEP_CA_PROVISIONER_PASSWORD_FILE", text(&authority.password_file())),
            ("BIND", format!("127.0.0.1:{operators}")),
            ("TLS_BIND", format!("127.0.0.1:{devices}")),
            ("TLS_CERT_FILE", text(&certificate)),
            ("TLS_KEY_FILE", text(&key)),
            ("WG_PORT", free_port()?.to_string()),
            ("WG_SUBNET", "10.8.0.0/16".to_owned()),
            ("WG_PRIVATE_KEY_FILE", text(&home.path().join("hub.key"))),
            ("OIDC_ISSUER", name),
            ("OIDC_CLIENT_ID", CLIENT.to_owned()),
        ];
        settings.extend(beside);
        let pepper = home.path().join("pepper");
        fs::write(&pepper, random_password()?.expose_secret())?;
        settings.push(("TOKEN_PEPPER_FILE", text(&pepper)));
        settings.push((
            "DATABASE_URL",
            format!("sqlite://{}", text(&home.path().join("bridge.db"))),
        ));
        let mut bridge = Self {
            log: stage.log("bridge")?,
            settings,
            operators: format!("http://127.0.0.1:{operators}/").parse()?,
            devices: format!("https://localhost:{devices}/").parse()?,
            http: http_client::build(&HttpClientOptions::default())?,
            access_token,
            process: None,
            home,
            issuer,
        };
        bridge.come_back().await?;
        Ok(bridge)
    }

    /// Starts it, again or for the first time.
    pub(crate) async fn come_back(&mut self) -> Result<(), Failure> {
        let mut process = ServerProcess::start("iot-bridge-api", self.command(&[])?, &self.log)?;
        let health = self.operators.join("health")?;
        let http = self.http.clone();
        let answers = async || http.get(health.clone()).send().await.is_ok();
        process.until(answers, Duration::from_secs(20)).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it, so that its database is free.
    pub(crate) async fn go_away(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Runs one of its commands to the end and returns what it printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        printed(self.command(arguments)?).await
    }

    /// Where devices go.
    pub(crate) fn devices(&self) -> &Url {
        &self.devices
    }

    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Makes a token that enrolls ids of a pattern.
    pub(crate) async fn token(&self, pattern: &str, quota: u32) -> Result<SecretString, Failure> {
        let order = json!({ "id_pattern": pattern, "quota": quota });
        let (status, body) = self.ask(Method::POST, "enrollment-tokens", Some(order)).await?;
        ensure(status == StatusCode::CREATED, format_args!("no token: {status} {body}"))?;
        Ok(body["token"].as_str().unwrap_or_default().into())
    }

    /// Asks as an admin.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut request = self.http.request(method, self.operators.join(path)?);
        request = request.bearer_auth(self.access_token.expose_secret());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        Ok((status, response.json().await.unwrap_or_default()))
    }

    /// Tells it something as another system does, with that system's secret.
    pub(crate) async fn tell(&self, path: &str, secret: &str, message: &Value) -> Result<StatusCode, Failure> {
        let request = self
            .http
            .post(self.operators.join(path)?)
            .bearer_auth(secret)
            .json(message);
        Ok(request.send().await?.status())
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, Failure> {
        let mut command = Command::new(built("iot-bridge-api")?);
        let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        command.args(arguments).env_clear().envs(settings);
        Ok(command)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.issuer.end();
    }
}

/// Returns a program of ours that was built with this one.
pub(crate) fn built(name: &str) -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure(
        program.is_file(),
        format_args!("`cargo build --workspace --bins` has to be run first: no {name}"),
    )?;
    Ok(program)
}

/// Runs an issuer until it is told to end; returns its name and a token for an admin.
async fn issue_to_an_admin(shutdown: &Shutdown) -> Result<(String, SecretString), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let name = format!("http://{}/realms/iot", listener.local_addr()?);
    let (issuer_url, password): (Url, _) = (name.parse()?, random_password()?);
    let config = IssuerConfig {
        issuer_url: issuer_url.clone(),
        clients: vec![ClientConfig {
            client_id: CLIENT.to_owned(),
            redirect_uris: vec![REDIRECT_URI.parse()?],
            audiences: vec!["iot-bridge-api".to_owned()],
            web_origins: Vec::new(),
        }],
        users: vec![UserConfig {
            username: "ada".to_owned(),
            password: password.clone(),
            roles: vec!["fleet-admin".to_owned()],
            groups: Vec::new(),
            subject: "00000000-0000-4000-8000-000000000001".to_owned(),
        }],
        access_token_lifetime: IssuerConfig::DEFAULT_ACCESS_TOKEN_LIFETIME,
    };
    let issuer = tokio::task::spawn_blocking(move || Issuer::new(config, Arc::new(SystemClock))).await??;
    let metrics = HttpMetrics::register(&mut Registry::default(), "issuer", "");
    server::serve(listener, issuer.router(), Options::new(&metrics), shutdown);
    let login = Login {
        issuer: &issuer_url,
        client_id: CLIENT,
        redirect_uri: REDIRECT_URI,
        username: "ada",
        password: &password,
    };
    let http = http_client::build(&HttpClientOptions::default())?;
    Ok((name, client::login(&http, &login).await?.access_token))
}

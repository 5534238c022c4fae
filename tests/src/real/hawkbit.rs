//! A genuine hawkBit of our own, with an operator's hands.
//!
//! Version 0.3.0M7 is what can be had; `front` adds what the bridge asks of 1.1 and this one does not have yet.

mod front;
mod operator;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::shutdown::Shutdown;
use fakes::mischief::{Behaviour, Mischief};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use super::process::ServerProcess;
use super::secret::random_password;
use crate::failure::Failure;
use crate::stage::{Stage, free_port};

/// What Spring and `EclipseLink` of that time reach into, and Java 17 keeps closed unless told otherwise.
const OPENED: [&str; 4] = ["java.lang", "java.lang.reflect", "java.util", "java.text"];

/// A hawkBit that runs until it is dropped, and keeps its database when it is killed.
#[derive(Debug)]
pub(crate) struct Hawkbit {
    installed: PathBuf,
    log: PathBuf,
    port: u16,
    /// Its management API and what devices use, without the front.
    genuine: Genuine,
    front: Url,
    mischief: Arc<Mischief>,
    /// Before the folder, so that it ends before its files go.
    process: Option<ServerProcess>,
    home: TempDir,
    serving: Shutdown,
}

/// The server itself, and who may manage it.
#[derive(Debug, Clone)]
struct Genuine {
    http: Client,
    url: Url,
    password: SecretString,
}

impl Hawkbit {
    /// A user of the management API.
    pub(crate) const USER: &str = "bridge";
    /// The longest start: it makes its database.
    const START: Duration = Duration::from_mins(4);

    /// Starts an empty one, and its front.
    pub(crate) async fn start(stage: &Stage) -> Result<Self, Failure> {
        let (port, serving) = (free_port()?, Shutdown::new());
        let options = HttpClientOptions {
            total_timeout: Duration::from_secs(30),
            ..HttpClientOptions::default()
        };
        let genuine = Genuine {
            http: http_client::build(&options)?,
            url: format!("http://127.0.0.1:{port}/").parse()?,
            password: random_password()?,
        };
        let mischief = Arc::new(Mischief::new(1));
        mischief.set(Behaviour::Good);
        let mut hawkbit = Self {
            installed: stage.installed("hawkbit")?,
            log: stage.log("hawkbit")?,
            port,
            front: front::start(genuine.clone(), Arc::clone(&mischief), &serving).await?,
            mischief,
            genuine,
            process: None,
            home: tempfile::tempdir()?,
            serving,
        };
        hawkbit.come_back().await?;
        Ok(hawkbit)
    }

    /// Starts it, again or for the first time.
    pub(crate) async fn come_back(&mut self) -> Result<(), Failure> {
        let mut process = ServerProcess::start("hawkBit", self.command(), &self.log)?;
        let genuine = self.genuine.clone();
        let answers = async || {
            let answer = genuine.request(Method::GET, &["targets"]).send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        };
        process.until(answers, Self::START).await?;
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

    /// How the front answers the bridge from now on, whatever the server said.
    pub(crate) fn behaves(&self, behaviour: Behaviour) {
        self.mischief.set(behaviour);
    }

    /// Where the bridge finds it.
    pub(crate) fn url(&self) -> &Url {
        &self.front
    }

    /// Where devices find it: nothing is between.
    pub(crate) fn device_url(&self) -> &Url {
        &self.genuine.url
    }

    pub(crate) fn password(&self) -> &SecretString {
        &self.genuine.password
    }

    /// Asks it as an operator; the answer is null where there is none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let request = self.genuine.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await?;
        Ok((response.status(), response.json().await.unwrap_or_default()))
    }

    /// Asks it as a device would, with the secret of a target.
    pub(crate) async fn poll_as(&self, id: &str, secret: &str) -> Result<StatusCode, Failure> {
        let url = self.genuine.url.join(&format!("DEFAULT/controller/v1/{id}"))?;
        let request = self
            .genuine
            .http
            .get(url)
            .header("authorization", format!("TargetToken {secret}"));
        Ok(request.send().await?.status())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("java");
        for package in OPENED {
            command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        let (classes, libraries) = (self.installed.join("classes"), self.installed.join("lib"));
        let database = self.home.path().join("hawkbit");
        command
            .args(["-Xmx512m", "-cp"])
            .arg(format!("{}:{}/*", classes.display(), libraries.display()))
            .arg("server.UpdateServer")
            .args(["--server.address=127.0.0.1", &format!("--server.port={}", self.port)])
            .arg(format!(
                "--spring.datasource.url=jdbc:h2:file:{};MODE=MySQL",
                database.display()
            ))
            .arg("--spring.jpa.database=H2")
            .arg("--spring.main.allow-bean-definition-overriding=true")
            .arg(format!(
                "--org.eclipse.hawkbit.repository.file.path={}",
                self.home.path().join("artifacts").display()
            ))
            .env("SPRING_SECURITY_USER_NAME", Self::USER)
            .env(
                "SPRING_SECURITY_USER_PASSWORD",
                format!("{{noop}}{}", self.password().expose_secret()),
            )
            .current_dir(self.home.path());
        command
    }
}

impl Drop for Hawkbit {
    fn drop(&mut self) {
        self.serving.end();
    }
}

impl Genuine {
    /// Begins a request to the management API.
    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["rest", "v1"]).extend(path);
        }
        let request = self.http.request(method, url);
        request.basic_auth(Hawkbit::USER, Some(self.password.expose_secret()))
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, reqwest::Error> {
        self.request(Method::GET, path)
            .query(query)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await
    }
}

//! The programs beside the agent that work with the systems beside the bridge: the files that they read, fetched from
//! the bridge and kept up to date.
//!
//! The bridge says where the systems are and what the device proves itself with there. While it does not answer, the
//! files stay as they are.

mod files;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::http_client;
use common::domain::Digest;
use reqwest::StatusCode;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::files::{Files, Paths};
pub use self::files::{MQTT_FILE, TELEGRAF_FILE, UPDATER_FILE, UnusableConfiguration};
use crate::clock;
use crate::enroll::{self, EnrollError, Enrollment};
use crate::identity::{Identity, IdentityError};
use crate::state::{StateDirectory, StateError};

/// The folder below the state directory that the files are in.
pub const FOLDER: &str = "agents";
/// What the program that takes the files over was last run for without a failure.
const APPLIED_FILE: &str = "applied";
/// How long that program may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why the files are not up to date. Each variant is the caller's reaction.
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    /// The bridge: try again later.
    #[error(transparent)]
    Bridge(#[from] EnrollError),
    /// What it answered is not used.
    #[error(transparent)]
    Unusable(#[from] UnusableConfiguration),
    /// The directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is stored is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The device has no certificate to ask with.
    #[error("the device has not enrolled yet")]
    NotEnrolled,
    /// The files are there, and nobody took them over: try again later.
    #[error("{} did not take the files over: {reason}", .program.display())]
    NotApplied {
        /// The program that should have.
        program: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// How the files are kept.
#[derive(Debug, Clone)]
pub struct AgentsSettings {
    /// The bridge's base address.
    pub url: Url,
    /// A program that takes changed files over, for example by reloading what reads them; it is run in the folder,
    /// with the names of the files that are there as arguments.
    pub changed: Option<PathBuf>,
    /// How often the bridge is asked.
    pub every: Duration,
}

/// Keeps one device's files.
#[derive(Debug)]
pub struct Agents {
    settings: AgentsSettings,
    state: Arc<StateDirectory>,
    identity: Arc<Identity>,
}

impl Agents {
    /// Prepares to keep them.
    pub fn new(settings: AgentsSettings, state: Arc<StateDirectory>, identity: Arc<Identity>) -> Self {
        Self {
            settings,
            state,
            identity,
        }
    }

    /// Keeps the files up to date, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(self.settings.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            match stop.run_until_cancelled(self.update()).await {
                Some(Err(error)) => {
                    let error = common::chassis::problem::error_chain(&error);
                    tracing::warn!(error, "The files of the other programs are not up to date");
                }
                Some(Ok(true)) => tracing::info!("The files of the other programs were changed and taken over"),
                Some(Ok(false)) | None => {}
            }
        }
    }

    /// Brings the files up to date once; returns whether they had changed.
    pub async fn update(&self) -> Result<bool, AgentsError> {
        let files = self.fetch().await?;
        let folder = StateDirectory::open(self.state.path().join(FOLDER))?;
        for (name, content) in files.all() {
            match content {
                Some(content) => folder.write_if_other(name, content)?,
                None => folder.remove(name)?,
            }
        }
        let state = Digest::of(files.everything().as_bytes()).to_string();
        if folder.read(APPLIED_FILE)?.as_ref() == Some(&state) {
            return Ok(false);
        }
        self.hand_over(&folder, &files).await?;
        folder.write(APPLIED_FILE, &state)?;
        Ok(true)
    }

    async fn fetch(&self) -> Result<Files, AgentsError> {
        // The certificate may have been renewed since the last time.
        let enrollment = Enrollment::load(&self.state, &self.identity)?.ok_or(AgentsError::NotEnrolled)?;
        let id = self.identity.id();
        let url = enroll::route(&self.settings.url, &["devices", id.as_str(), "configuration"])?;
        let identity = self.identity.with_chain(enrollment.certificate_chain_pem());
        let not_before = clock::floor(&self.state)?.max(enrollment.server_time());
        let client = enrollment
            .server_trust(&self.state)?
            .client(&self.settings.url, Some(identity), not_before)
            .await?;
        let response = client.get(url).send().await.map_err(EnrollError::unavailable)?;
        if response.status() != StatusCode::OK {
            return Err(enroll::refused(response).await.into());
        }
        let paths = Paths::below(self.state.path(), enrollment.certificate_pem());
        let body = http_client::read_limited(response, enroll::MAX_BODY_BYTES).await;
        let body = body.map_err(EnrollError::unavailable)?;
        Ok(Files::of(id, &body, &paths)?)
    }

    async fn hand_over(&self, folder: &StateDirectory, files: &Files) -> Result<(), AgentsError> {
        let Some(program) = &self.settings.changed else {
            return Ok(());
        };
        let present = files.all().into_iter().filter(|(_, content)| content.is_some());
        let mut command = Command::new(program);
        command.args(present.map(|(name, _)| name)).current_dir(folder.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let reason = match tokio::time::timeout(PATIENCE, command.status()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.kind().to_string(),
            Err(_elapsed) => "it took too long".to_owned(),
        };
        Err(AgentsError::NotApplied {
            program: program.clone(),
            reason,
        })
    }
}

use std::time::Duration;

use fakes::thingsboard::FakeThingsBoard;
use reqwest::Client;
use tokio::sync::Semaphore;
use url::Url;

use super::outcome;
use crate::failure::Failure;

/// Connections at a time.
const CONNECTIONS: usize = 500;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    KnownBefore,
    /// To be sent again.
    Later,
    Else(u16),
    NoAnswer,
}

/// Sends as the rule chain does.
#[derive(Debug)]
pub(super) struct Sender {
    http: Client,
    health: Url,
    url: Url,
    secret: &'static str,
    connections: Semaphore,
}

impl Sender {
    pub(super) fn new(port: u16, secret: &'static str) -> Result<Self, Failure> {
        let base: Url = format!("http://127.0.0.1:{port}/").parse()?;
        let builder = Client::builder().no_proxy().timeout(Duration::from_secs(30));
        Ok(Self {
            http: builder.pool_max_idle_per_host(CONNECTIONS).build()?,
            health: base.join("health")?,
            url: base.join("webhooks/thingsboard")?,
            secret,
            connections: Semaphore::new(CONNECTIONS),
        })
    }

    pub(super) async fn is_answered(&self) -> bool {
        self.http.get(self.health.clone()).send().await.is_ok()
    }

    /// Tells that a device connected at this second.
    pub(super) async fn send(&self, device: usize, second: i64) -> Outcome {
        let Ok(_place) = self.connections.acquire().await else {
            return Outcome::NoAnswer;
        };
        let message = FakeThingsBoard::connect_event(&name(device), second * 1000);
        let request = self.http.post(self.url.clone()).bearer_auth(self.secret).json(&message);
        match request.send().await {
            Ok(answer) => outcome(answer.status(), &answer.json().await.unwrap_or_default()),
            Err(_) => Outcome::NoAnswer,
        }
    }

    /// Sends one after the other; returns those that were taken.
    pub(super) async fn send_until_it_fails(&self, device: usize, first: i64) -> Vec<(usize, i64)> {
        let mut taken = Vec::new();
        for second in first..first + 1000 {
            match self.send(device, second).await {
                Outcome::Taken => taken.push((device, second)),
                Outcome::Later => {}
                Outcome::KnownBefore | Outcome::Else(_) | Outcome::NoAnswer => break,
            }
        }
        taken
    }
}

pub(super) fn name(number: usize) -> String {
    format!("device-{number}")
}

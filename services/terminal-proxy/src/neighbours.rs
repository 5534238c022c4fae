//! The other processes of this service: which of them serves a session, and how a person's request gets there.
//!
//! Both prove themselves. Whoever hands a request over shows a pass that is good once, and that only who may write into
//! the shared database can have put on record; whoever takes it is the process at the address on record, which shows a
//! certificate for its name. The person's own token or ticket goes along and is looked at there, by the one function.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::problem::error_chain;
use common::domain::{Clock, Digest, ForwardPass, ProxyProcesses, SessionId, SessionLedger, StoreError};
use reqwest::Client;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::ports::Storage;

/// How long a request may be on its way.
const PASS_LIFETIME: Duration = Duration::from_secs(30);

/// Random bytes of a pass.
const PASS_BYTES: usize = 32;

/// How often a process says that it lives.
const PERIOD: Duration = Duration::from_secs(10);

/// How much longer than its own patience with the database a process is believed to live: its sessions have ended by
/// then, whatever it is doing.
const GRACE: Duration = Duration::from_mins(1);

/// How this process finds the others, and is found.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Where the others reach this process; none when they cannot.
    pub url: Option<Url>,
    /// What speaks to them: HTTP/1.1, without redirects.
    pub http: Client,
}

/// Where a session is served, and what lets a request in there.
pub(crate) struct Elsewhere {
    pub(crate) url: Url,
    pub(crate) pass: String,
}

pub(crate) struct Neighbours {
    instance: String,
    peers: Option<Peers>,
    ledger: Arc<dyn SessionLedger>,
    processes: Arc<dyn ProxyProcesses>,
    clock: Arc<dyn Clock>,
    believed_for: Duration,
}

impl Neighbours {
    pub(crate) fn new(
        instance: &str,
        peers: Option<Peers>,
        storage: &Storage,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Self {
        Self {
            instance: instance.to_owned(),
            peers,
            ledger: Arc::clone(&storage.ledger),
            processes: Arc::clone(&storage.processes),
            clock,
            believed_for: patience + GRACE,
        }
    }

    /// What speaks to other processes; none where there are no others.
    pub(crate) fn http(&self) -> Option<&Client> {
        self.peers.as_ref().map(|peers| &peers.http)
    }

    /// Finds the living process that serves a session, or has recorded it, and gets a pass for it. None when it is this
    /// one, or nobody knows, or it cannot be reached.
    pub(crate) async fn holder_of(
        &self,
        id: SessionId,
        even_ended: bool,
        client_address: &str,
    ) -> Result<Option<Elsewhere>, StoreError> {
        let record = self.ledger.session(id).await?;
        let elsewhere = record
            .filter(|record| record.session.instance != self.instance && (even_ended || record.closed_at.is_none()));
        let Some(record) = elsewhere else { return Ok(None) };
        let instance = record.session.instance;
        let url = self.processes.process_url(&instance).await?;
        let Some(url) = url.and_then(|url| Url::parse(&url).ok()) else {
            return Ok(None);
        };
        let secret = fresh_pass();
        let pass = ForwardPass {
            instance,
            client_address: client_address.to_owned(),
            expires_at: self.clock.now() + PASS_LIFETIME,
        };
        self.processes.issue_pass(&Digest::of(secret.as_bytes()), &pass).await?;
        Ok(Some(Elsewhere { url, pass: secret }))
    }

    /// Says from which address the person asks whose request another process hands over; none when it has no good pass.
    pub(crate) async fn welcome(&self, pass: &str) -> Result<Option<String>, StoreError> {
        let secret = Digest::of(pass.as_bytes());
        let pass = self.processes.redeem_pass(&secret, &self.instance).await?;
        Ok(pass.map(|pass| pass.client_address))
    }

    /// Says that this process lives, and closes the records of those that do not, until the drain begins; from then on
    /// nobody hands anything over to it.
    pub(crate) async fn announce(self: Arc<Self>, drain: CancellationToken) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                _ = period.tick() => self.say_that_it_lives().await,
            }
        }
        self.say(None).await.map_or_else(drop, drop);
    }

    async fn say_that_it_lives(&self) {
        let url = self.peers.as_ref().and_then(|peers| peers.url.as_ref());
        let said = self.say(url).await;
        let closed = match said {
            Ok(()) => self.processes.close_sessions_of_the_dead().await,
            Err(error) => Err(error),
        };
        match closed {
            Ok(0) => {}
            Ok(sessions) => info!(
                sessions,
                "Closed {sessions} sessions of a process that is not heard of any more"
            ),
            Err(error) => warn!(
                error = error_chain(&error),
                "The other processes do not hear of this one"
            ),
        }
    }

    async fn say(&self, url: Option<&Url>) -> Result<(), StoreError> {
        let until = self.clock.now() + self.believed_for;
        let announce = self.processes.announce(&self.instance, url.map(Url::as_str), until);
        let said = timeout(PERIOD, announce).await;
        said.unwrap_or_else(|elapsed| {
            Err(StoreError::Unavailable {
                source: Box::new(elapsed),
            })
        })
    }
}

fn fresh_pass() -> String {
    let mut bytes = [0; PASS_BYTES];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

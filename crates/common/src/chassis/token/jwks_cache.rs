use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use http::StatusCode;
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::discovery::{Discovery, EndpointLocation, NotDiscovered};
use super::{InvalidKeySet, KeySet, KeySource, KeysUnavailable, VerificationKey};
use crate::chassis::http_client::{ReadError, read_limited};
use crate::chassis::problem::error_chain;
use crate::domain::{Clock, Timestamp};

/// Where the issuer's keys are, and how long they are good without hearing from it.
#[derive(Debug, Clone)]
pub struct JwksSettings {
    /// Where to fetch them.
    pub location: EndpointLocation,
    /// How long the last good set is used while no newer one can be had;
    /// see [`JwksSettings::DEFAULT_MAX_AGE`].
    pub max_age: Duration,
}

impl JwksSettings {
    /// An outage of the issuer of up to one hour goes unnoticed by people who have a token.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_hours(1);
}

/// The issuer's keys, fetched over HTTP and kept through its outages.
///
/// * A set is replaced only by a valid one: an outage, an empty set or a page of HTML changes nothing.
/// * A key that the issuer has removed is gone with the next fetch.
/// * A token with an unknown key id may cause one fetch in [`JwksCache::ON_DEMAND_INTERVAL`], however many
///   such tokens come; a wrong signature never causes one.
pub struct JwksCache {
    settings: JwksSettings,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    discovered: OnceCell<Url>,
    held: RwLock<Option<Held>>,
    /// When a token last caused a fetch. Whoever holds the lock is the only one that fetches.
    on_demand: Mutex<Option<Timestamp>>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<KeySet>,
    fetched_at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the issuer did not answer in time")]
    TimedOut,
    #[error("the issuer did not answer")]
    Unavailable(#[source] reqwest::Error),
    #[error("the issuer answered {0}")]
    Refused(StatusCode),
    #[error("the issuer's answer could not be read")]
    Body(#[source] ReadError),
    #[error("the issuer's address or discovery document is not usable")]
    Discovery(#[from] NotDiscovered),
    #[error("the issuer's key set is not usable")]
    KeySet(#[source] InvalidKeySet),
}

impl JwksCache {
    /// The least time between two fetches that tokens cause.
    pub const ON_DEMAND_INTERVAL: Duration = Duration::from_secs(30);
    /// The time between two fetches that nobody asked for, so that removed keys go.
    pub const REFRESH_INTERVAL: Duration = Duration::from_mins(10);
    /// The time until the next try after a fetch failed.
    pub const RETRY_INTERVAL: Duration = Duration::from_secs(5);
    /// The longest fetch, discovery included.
    pub const DEADLINE: Duration = Duration::from_secs(5);
    /// The largest document that is read, in bytes.
    pub const MAX_BODY_LENGTH: usize = 256 * 1024;

    /// Builds an empty cache. `http` is to follow no redirect.
    pub fn new(settings: JwksSettings, http: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            http,
            clock,
            deadline: Self::DEADLINE,
            discovered: OnceCell::new(),
            held: RwLock::new(None),
            on_demand: Mutex::new(None),
        }
    }

    /// Shortens [`Self::DEADLINE`] for tests that would otherwise wait it out.
    #[cfg(test)]
    pub(super) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Whether tokens can be verified now; part of readiness.
    pub fn has_keys(&self) -> bool {
        self.usable_keys().is_some()
    }

    /// Fetches at once and then every [`Self::REFRESH_INTERVAL`], sooner after a failure, until cancelled.
    pub async fn refresh_task(self: Arc<Self>, cancel: CancellationToken) {
        let keep_fresh = async {
            loop {
                let pause = if self.refresh().await {
                    Self::REFRESH_INTERVAL
                } else {
                    Self::RETRY_INTERVAL
                };
                tokio::time::sleep(pause).await;
            }
        };
        cancel.run_until_cancelled(keep_fresh).await;
    }

    /// Fetches the keys now and says whether that worked; a failure leaves the old ones in place.
    pub async fn refresh(&self) -> bool {
        let _the_only_fetch = self.on_demand.lock().await;
        self.fetch_and_hold().await
    }

    /// Fetches because a token asks for it, unless one did so a moment ago.
    async fn refresh_on_demand(&self, key_id: Option<&str>) {
        let mut last = self.on_demand.lock().await;
        if self.usable_keys().is_some_and(|keys| keys.find(key_id).is_some()) {
            return; // someone else's fetch brought it while this one waited
        }
        let now = self.clock.now();
        // A clock that was set back by more than the interval does not stop fetching.
        if last.is_some_and(|last| (now - last).abs() < Self::ON_DEMAND_INTERVAL) {
            return;
        }
        *last = Some(now);
        self.fetch_and_hold().await;
    }

    async fn fetch_and_hold(&self) -> bool {
        let fetched = tokio::time::timeout(self.deadline, self.fetch()).await;
        match fetched.unwrap_or(Err(FetchError::TimedOut)) {
            Ok(keys) => {
                let held = Held {
                    keys: Arc::new(keys),
                    fetched_at: self.clock.now(),
                };
                *self.held.write().expect("no one panics while holding the keys") = Some(held);
                true
            }
            Err(error) => {
                self.report(&error);
                false
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let url = match &self.settings.location {
            EndpointLocation::Url(url) => url,
            EndpointLocation::Discovery { issuer } => self.discovered.get_or_try_init(|| self.discover(issuer)).await?,
        };
        KeySet::parse(&self.get(url.clone()).await?).map_err(FetchError::KeySet)
    }

    async fn discover(&self, issuer: &str) -> Result<Url, FetchError> {
        let discovery = Discovery::of(issuer)?;
        let document = self.get(discovery.address()).await?;
        Ok(discovery.endpoint(&document, "jwks_uri")?)
    }

    async fn get(&self, url: Url) -> Result<Bytes, FetchError> {
        let answer = self.http.get(url).send().await.map_err(FetchError::Unavailable)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Refused(answer.status()));
        }
        read_limited(answer, Self::MAX_BODY_LENGTH)
            .await
            .map_err(FetchError::Body)
    }

    fn usable_keys(&self) -> Option<Arc<KeySet>> {
        let held = self
            .held
            .read()
            .expect("no one panics while holding the keys")
            .clone()?;
        (self.clock.now() - held.fetched_at <= self.settings.max_age).then_some(held.keys)
    }

    fn report(&self, error: &FetchError) {
        let chain = error_chain(error);
        if self.has_keys() {
            tracing::warn!(error = chain, "Kept the issuer's old keys: {error}");
        } else {
            tracing::error!(error = chain, "No access token can be verified: {error}");
        }
    }
}

#[async_trait]
impl KeySource for JwksCache {
    async fn find(&self, key_id: Option<&str>) -> Result<Option<Arc<VerificationKey>>, KeysUnavailable> {
        if let Some(key) = self.usable_keys().and_then(|keys| keys.find(key_id)) {
            return Ok(Some(key));
        }
        // Without an id nothing that could be fetched would tell several keys apart.
        if key_id.is_some() || !self.has_keys() {
            self.refresh_on_demand(key_id).await;
        }
        self.usable_keys().map(|keys| keys.find(key_id)).ok_or(KeysUnavailable)
    }
}

impl std::fmt::Debug for JwksCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JwksCache")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

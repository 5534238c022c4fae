//! Staying in the network: a tunnel that went stale is repaired, and the bridge is told that the device lives.
//!
//! A device that lost its clock shakes hands with an older time than the hub has seen, and the hub ignores it. Only the
//! bridge can help: when the device proves itself by its certificate, the hub is told to forget and take it in again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::enroll::Enrollment;
use crate::identity::Identity;
use crate::renew::Renewer;
use crate::state::StateDirectory;
use crate::tunnel::Tunnel;

/// How often the tunnel is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// An older handshake is none: WireGuard gives a session up after 180 s (`REJECT_AFTER_TIME`).
const STALE: Duration = Duration::from_mins(3);
/// How often the bridge is told while the tunnel is stale, and how often at all.
const TELL_STALE: Duration = Duration::from_mins(1);
const TELL: Duration = Duration::from_hours(6);

/// Who tells the bridge.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) url: Url,
    pub(crate) state: Arc<StateDirectory>,
    pub(crate) identity: Arc<Identity>,
}

/// Keeps a tunnel alive until `stop`. Without a witness the bridge is not told.
pub(crate) async fn keep(tunnel: Arc<Tunnel>, witness: Option<Witness>, stop: CancellationToken) {
    let mut told: Option<Instant> = None;
    let mut timer = interval(LOOK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        let age = tunnel.last_handshake_age().await;
        let is_stale = age.is_none_or(|age| age > STALE);
        let pause = if is_stale { TELL_STALE } else { TELL };
        if told.is_none_or(|at| at.elapsed() >= pause)
            && let Some(witness) = &witness
        {
            told = Some(Instant::now());
            stop.run_until_cancelled(witness.tell()).await;
        }
        if is_stale {
            let repaired = stop.run_until_cancelled(tunnel.repair()).await;
            if let Some(Err(error)) = repaired {
                let error = common::chassis::problem::error_chain(&error);
                tracing::warn!(error, "The tunnel to the hub is down; trying again");
            }
        }
    }
}

impl Witness {
    async fn tell(&self) {
        let (state, identity) = (Arc::clone(&self.state), Arc::clone(&self.identity));
        let load = move || Enrollment::load(&state, &identity);
        let Ok(Ok(Some(enrollment))) = tokio::task::spawn_blocking(load).await else {
            return; // damaged: what renews the certificate says so
        };
        let renewer = Renewer::new(self.url.clone(), Arc::clone(&self.state), Arc::clone(&self.identity));
        if let Err(error) = renewer.check_in(&enrollment).await {
            let error = common::chassis::problem::error_chain(&error);
            tracing::warn!(error, "The bridge was not told that the device lives");
        }
    }
}

//! What the hub sees of devices, written down: who is there, since when, from where.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{
    Clock, DeviceDirectory, DeviceId, DeviceRegistry, LiveFacts, StoreError, Timestamp, WireguardKey, is_online,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;

use super::Network;
use super::alignment::AlignError;
use crate::ports::MemberStatus;

/// A device's facts are written at most this often, unless it has just appeared.
const WRITE_EVERY: time::Duration = time::Duration::seconds(30);

/// Looks at the hub and records.
pub struct Observer {
    directory: Arc<dyn DeviceDirectory>,
    registry: Arc<dyn DeviceRegistry>,
    network: Arc<Network>,
    clock: Arc<dyn Clock>,
    written: tokio::sync::Mutex<HashMap<WireguardKey, Written>>,
    members: Family<MemberLabels, Gauge>,
    bytes: Family<ByteLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    direction: &'static str,
}

/// What is on record of a member already.
#[derive(Debug, Clone, Copy)]
struct Written {
    at: Timestamp,
    handshake: Option<Timestamp>,
}

impl Observer {
    /// Prepares to look.
    pub fn new(
        directory: Arc<dyn DeviceDirectory>,
        registry: Arc<dyn DeviceRegistry>,
        network: Arc<Network>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory,
            registry,
            network,
            clock,
            written: tokio::sync::Mutex::default(),
            members: Family::default(),
            bytes: Family::default(),
        }
    }

    /// Registers what is counted at each look.
    #[must_use]
    pub fn with_metrics(self, registry: &mut Registry) -> Self {
        registry.register(
            "vpn_members",
            "Members of the device network on the hub, by whether their last handshake is recent",
            Family::clone(&self.members),
        );
        registry.register_with_unit(
            "vpn_traffic",
            "What went through the tunnels of the present members since each was added",
            Unit::Bytes,
            Family::clone(&self.bytes),
        );
        self
    }

    /// Looks on a timer, until told to stop.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.look().await {
                tracing::debug!(error = error_chain(&error), "Cannot see who is there; trying again");
            }
        }
    }

    /// Looks once; returns how many devices had news. A look without news does not touch the database.
    pub async fn look(&self) -> Result<usize, AlignError> {
        let members = self.network.members().await?;
        let now = self.clock.now();
        self.count(&members, now);
        let mut written = self.written.lock().await;
        let keys: std::collections::HashSet<_> = members.iter().map(|member| member.key).collect();
        written.retain(|key, _| keys.contains(key));
        let news: Vec<_> = members
            .into_iter()
            .filter(|member| is_news(member, written.get(&member.key), now))
            .collect();
        if news.is_empty() {
            return Ok(0);
        }
        let facts = self.facts(&news).await?;
        self.registry.record_live(&facts).await?;
        written.extend(news.iter().map(|member| {
            (
                member.key,
                Written {
                    at: now,
                    handshake: member.last_handshake_at,
                },
            )
        }));
        Ok(facts.len())
    }

    fn count(&self, members: &[MemberStatus], now: Timestamp) {
        let online = members
            .iter()
            .filter(|member| is_online(member.last_handshake_at, now))
            .count();
        for (state, count) in [("online", online), ("offline", members.len() - online)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.members.get_or_create(&MemberLabels { state }).set(count);
        }
        let received = members.iter().map(|member| member.received_bytes).sum::<u64>();
        let sent = members.iter().map(|member| member.sent_bytes).sum::<u64>();
        for (direction, sum) in [("received", received), ("sent", sent)] {
            let sum = i64::try_from(sum).unwrap_or(i64::MAX);
            self.bytes.get_or_create(&ByteLabels { direction }).set(sum);
        }
    }

    async fn facts(&self, news: &[MemberStatus]) -> Result<Vec<LiveFacts>, StoreError> {
        let devices: HashMap<_, DeviceId> = self
            .directory
            .vpn_members()
            .await?
            .into_iter()
            .map(|member| (member.key, member.device_id))
            .collect();
        let known = news
            .iter()
            .filter_map(|member| Some((devices.get(&member.key)?, member)));
        Ok(known.map(|(device_id, member)| facts_of(device_id, member)).collect())
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Observer")
    }
}

fn is_news(member: &MemberStatus, written: Option<&Written>, now: Timestamp) -> bool {
    match written {
        None => true,
        Some(written) if written.handshake.is_none() => {
            member.last_handshake_at.is_some() || now - written.at >= WRITE_EVERY
        }
        Some(written) => now - written.at >= WRITE_EVERY,
    }
}

pub(super) fn facts_of(device_id: &DeviceId, member: &MemberStatus) -> LiveFacts {
    LiveFacts {
        device_id: device_id.clone(),
        key: member.key,
        last_handshake_at: member.last_handshake_at,
        endpoint: member.endpoint.clone(),
        received_bytes: i64::try_from(member.received_bytes).unwrap_or(i64::MAX),
        sent_bytes: i64::try_from(member.sent_bytes).unwrap_or(i64::MAX),
    }
}

//! The hub brought in line with the database, in both directions: whoever is missing is added, strangers go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{DeviceDirectory, StoreError, WireguardKey};
use tokio_util::sync::CancellationToken;

use super::Network;
use super::alignment::AlignError;
use crate::ports::{UpstreamError, VpnMember};

/// How many members are added at once.
const BATCH: usize = 1000;

/// What a sweep changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Members that were missing, or had another address.
    pub added: usize,
    /// Keys that had no business there.
    pub removed: usize,
}

/// Compares and corrects.
pub struct Reconciler {
    directory: Arc<dyn DeviceDirectory>,
    network: Arc<Network>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Reconciler {
    /// Watches over the hub's members.
    pub fn new(directory: Arc<dyn DeviceDirectory>, network: Arc<Network>) -> Self {
        Self {
            directory,
            network,
            one_at_a_time: tokio::sync::Mutex::default(),
        }
    }

    /// Sweeps at once and then on a timer, until told to stop.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            match self.sweep().await {
                Ok(Swept { added: 0, removed: 0 }) => {}
                Ok(Swept { added, removed }) => {
                    tracing::info!(
                        added,
                        removed,
                        "Brought the hub in line: {added} added, {removed} removed"
                    );
                }
                Err(error) => tracing::warn!(error = error.words(), "Cannot bring the hub in line; trying again"),
            }
        }
    }

    /// Compares once and corrects what differs; members that are as they should be are not touched.
    ///
    /// The hub is read first: a member that is on it then has been on record before, so whoever is not on record
    /// afterwards is a stranger, and not a device that enrolls right now.
    pub async fn sweep(&self) -> Result<Swept, AlignError> {
        let _turn = self.one_at_a_time.lock().await;
        let present: HashMap<WireguardKey, _> = self
            .network
            .members()
            .await?
            .into_iter()
            .map(|status| (status.key, status.address))
            .collect();
        let wanted = self.wanted().await?;

        let strangers: Vec<_> = present
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .copied()
            .collect();
        if !strangers.is_empty() {
            self.network.remove(&strangers).await?;
        }
        let missing: Vec<_> = wanted
            .values()
            .filter(|member| present.get(&member.key) != Some(&Some(member.address)))
            .copied()
            .collect();
        self.add(&missing).await?;
        Ok(Swept {
            added: missing.len(),
            removed: strangers.len(),
        })
    }

    async fn wanted(&self) -> Result<HashMap<WireguardKey, VpnMember>, StoreError> {
        let devices = self.directory.vpn_members().await?;
        let members = devices.iter().filter_map(|device| self.network.member(device));
        Ok(members.map(|member| (member.key, member)).collect())
    }

    /// Adds members, and takes those off again that were shut out in between.
    async fn add(&self, missing: &[VpnMember]) -> Result<(), AlignError> {
        if missing.is_empty() {
            return Ok(());
        }
        for batch in missing.chunks(BATCH) {
            self.network.ensure_all(batch).await?;
        }
        let wanted = self.wanted().await?;
        let shut_out: Vec<_> = missing
            .iter()
            .map(|member| member.key)
            .filter(|key| !wanted.contains_key(key))
            .collect();
        if shut_out.is_empty() {
            Ok(())
        } else {
            self.network.remove(&shut_out).await.map_err(UpstreamError::into)
        }
    }
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Reconciler")
    }
}

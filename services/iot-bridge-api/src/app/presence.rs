//! What a device in service does about its place in the network: shows that it lives, and brings its key.

use std::sync::Arc;

use common::domain::{
    AuditTrail, Clock, DeviceDirectory, DeviceRegistry, InvalidWireguardKey, Timestamp, WireguardKey, is_online,
};

use super::alignment::AlignError;
use super::enrollment::EnrollError;
use super::identity::ProvenDevice;
use super::network::NO_PLACE;
use super::refusals::{Refusals, overtaken, reason};
use super::{Network, Place};
use crate::ports::{UpstreamError, VpnMember};

/// Keeps devices in the network.
pub struct Presence {
    directory: Arc<dyn DeviceDirectory>,
    registry: Arc<dyn DeviceRegistry>,
    network: Arc<Network>,
    refusals: Refusals,
    clock: Arc<dyn Clock>,
}

impl Presence {
    /// Watches over the places on record.
    pub fn new(
        directory: Arc<dyn DeviceDirectory>,
        registry: Arc<dyn DeviceRegistry>,
        audit: Arc<dyn AuditTrail>,
        network: Arc<Network>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory,
            registry,
            network,
            refusals: Refusals::new(audit),
            clock,
        }
    }

    /// Returns our time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes note that a device lives; returns our time. A device whose clock went back cannot shake hands with a hub
    /// that remembers a later time, so a peer without a recent handshake is taken out and put in again.
    pub async fn check_in(&self, device: &ProvenDevice) -> Result<Timestamp, EnrollError> {
        let now = self.clock.now();
        let view = self.directory.view(&device.device.id).await?;
        let last_handshake = view.and_then(|view| view.live?.last_handshake_at);
        if !is_online(last_handshake, now) {
            self.join_again(device).await?;
        }
        Ok(now)
    }

    /// Gives a device another key, as far as it could be read, and its place under it.
    pub async fn bring_key(
        &self,
        device: &ProvenDevice,
        key: Result<WireguardKey, InvalidWireguardKey>,
    ) -> Result<Place, EnrollError> {
        let place = self.replace_key(device, key).await;
        if let Some(reason) = place.as_ref().err().and_then(reason) {
            self.refusals
                .record(&device.device.id, "device.key_refused", reason)
                .await?;
        }
        place
    }

    async fn replace_key(
        &self,
        device: &ProvenDevice,
        key: Result<WireguardKey, InvalidWireguardKey>,
    ) -> Result<Place, EnrollError> {
        let key = key?;
        let hub_key = self.network.hub_key().await?;
        if hub_key == key {
            return Err(EnrollError::WireguardKeyInvalid);
        }
        let device = self.registry.replace_wireguard_key(&device.device.id, key).await?;
        let member = self.network.member(&device).ok_or(NO_PLACE)?;
        if !self.network.ensure_on_record(&device, &*self.directory).await? {
            let current = self.directory.find(&device.id).await?;
            return Err(overtaken(current.map(|device| device.state)).into());
        }
        Ok(self.network.place(member, hub_key))
    }

    async fn join_again(&self, device: &ProvenDevice) -> Result<(), EnrollError> {
        let member = self.network.member(&device.device).ok_or(NO_PLACE)?;
        match self.start_over(device, member).await {
            // The reconciler puts it in when the hub is back; the device is none the wiser for an error.
            Ok(()) | Err(AlignError::Upstream(UpstreamError::Unavailable { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is on record may be half a minute old: a session that the hub has seen since is left alone.
    async fn start_over(&self, device: &ProvenDevice, member: VpnMember) -> Result<(), AlignError> {
        let seen = self.network.members().await?.into_iter();
        let seen = seen.filter(|status| status.key == member.key);
        let last_handshake = seen.filter_map(|status| status.last_handshake_at).max();
        if is_online(last_handshake, self.clock.now()) {
            return Ok(());
        }
        self.network.remove(&[member.key]).await?;
        let joined = self.network.ensure_on_record(&device.device, &*self.directory).await?;
        if joined {
            tracing::info!(device.id = %device.device.id, "Took `{}` out of the network and in again: its tunnel was stale", device.device.id);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Presence")
    }
}

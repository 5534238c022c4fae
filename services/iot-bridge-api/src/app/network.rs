//! The device network as the use cases see it: membership of one device, with a deadline.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Device, DeviceDirectory, DeviceState, StoreError, System, VpnNetwork, WireguardKey};

use super::alignment::AlignError;
use crate::ports::{MemberStatus, UpstreamError, VpnGateway, VpnMember};

/// What the hub gets for one answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Puts devices on the hub and takes them off.
pub struct Network {
    hub: Arc<dyn VpnGateway>,
    range: VpnNetwork,
}

impl Network {
    /// Describes the network behind a hub.
    pub fn new(hub: Arc<dyn VpnGateway>, range: VpnNetwork) -> Self {
        Self { hub, range }
    }

    /// Returns the address range.
    pub fn range(&self) -> VpnNetwork {
        self.range
    }

    /// Returns the hub's public key; also the question whether the hub answers.
    pub async fn hub_key(&self) -> Result<WireguardKey, UpstreamError> {
        within_deadline(self.hub.identity()).await
    }

    /// Returns the device as a member; none when its record has no key, or an address that no device may have.
    pub(super) fn member(&self, device: &Device) -> Option<VpnMember> {
        let address = self.range.device_address(device.address?)?;
        Some(VpnMember {
            key: device.wireguard_key?,
            address,
        })
    }

    /// Makes a device a member. The database gave the address to this key, so another key that holds it on the
    /// hub is a leftover and goes.
    pub(super) async fn ensure(&self, member: VpnMember) -> Result<(), UpstreamError> {
        let Err(error) = self.ensure_all(&[member]).await else {
            return Ok(());
        };
        let leftovers: Vec<_> = self
            .members()
            .await?
            .into_iter()
            .filter(|status| status.key != member.key && status.address == Some(member.address))
            .map(|status| status.key)
            .collect();
        if leftovers.is_empty() {
            return Err(error);
        }
        self.remove(&leftovers).await?;
        self.ensure_all(&[member]).await
    }

    /// Makes a device a member as its record says, and looks again: whoever was shut out or got another key in
    /// between is taken off at once. Returns whether it is a member now.
    pub(super) async fn ensure_on_record(
        &self,
        device: &Device,
        directory: &dyn DeviceDirectory,
    ) -> Result<bool, AlignError> {
        let member = self.member(device).ok_or(StoreError::Corrupt {
            column: "device.address",
        })?;
        self.ensure(member).await?;
        let current = directory.find(&device.id).await?;
        let stays = current.is_some_and(|current| {
            let in_service = matches!(current.state, DeviceState::Admitted | DeviceState::Enrolled);
            in_service && self.member(&current) == Some(member)
        });
        if !stays {
            self.remove(&[member.key]).await?;
        }
        Ok(stays)
    }

    pub(super) async fn ensure_all(&self, members: &[VpnMember]) -> Result<(), UpstreamError> {
        within_deadline(self.hub.ensure_members(members)).await
    }

    pub(super) async fn remove(&self, keys: &[WireguardKey]) -> Result<(), UpstreamError> {
        within_deadline(self.hub.remove_members(keys)).await
    }

    pub(super) async fn members(&self) -> Result<Vec<MemberStatus>, UpstreamError> {
        within_deadline(self.hub.members()).await
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Network")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

async fn within_deadline<T>(answer: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, UpstreamError> {
    let answer = tokio::time::timeout(DEADLINE, answer).await;
    answer.unwrap_or_else(|elapsed| Err(UpstreamError::unavailable(System::Vpn, elapsed)))
}

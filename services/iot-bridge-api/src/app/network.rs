//! The device network as the use cases see it: membership of one device, with a deadline, on the right hub.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::domain::{
    CurrentNetwork, Device, DeviceDirectory, DeviceState, NetworkMember, NetworkPlan, StoreError, System, VpnAddress,
    VpnNetwork, WireguardKey,
};

use super::alignment::AlignError;
use crate::ports::{GatewayHealth, MemberStatus, UpstreamError, VpnGateway, VpnMember};

/// What the hub gets for one answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// What it gets to list everyone, and to take in a thousand.
const LONG_DEADLINE: Duration = Duration::from_secs(20);

/// A device's place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub address: VpnAddress,
    /// The hub's public key.
    pub hub_key: WireguardKey,
    /// The hub's address in the network.
    pub hub_address: std::net::Ipv4Addr,
    /// Its IPv6 address, in a network that has them.
    pub hub_ip6: Option<std::net::Ipv6Addr>,
}

/// Puts devices on the hub and takes them off.
pub struct Network {
    hub: Arc<dyn VpnGateway>,
    plan: Arc<dyn NetworkPlan>,
    range: CurrentNetwork,
    /// The hub that devices were told about, once it is known.
    on_record: Mutex<Option<WireguardKey>>,
}

/// The hub that answers is not the one that devices were told about.
#[derive(Debug, thiserror::Error)]
#[error("the hub has the key `{found}`, and devices were told `{expected}`")]
struct AnotherHub {
    found: WireguardKey,
    expected: WireguardKey,
}

/// A device's record lacks what makes it a member.
pub(super) const NO_PLACE: StoreError = StoreError::Corrupt {
    column: "device.address",
};

impl Network {
    /// Describes the network behind a hub.
    pub fn new(hub: Arc<dyn VpnGateway>, plan: Arc<dyn NetworkPlan>, range: CurrentNetwork) -> Self {
        Self {
            hub,
            plan,
            range,
            on_record: Mutex::default(),
        }
    }

    /// Returns the address ranges as they are now.
    pub fn range(&self) -> VpnNetwork {
        self.range.get()
    }

    /// Returns the hub's public key; also the question whether the hub answers, and whether it is the right one.
    pub async fn hub_key(&self) -> Result<WireguardKey, AlignError> {
        self.recognise(self.found_hub_key().await?).await
    }

    /// Whether a key is the hub's own; while the hub is away, the one on record counts.
    pub(super) async fn is_hubs_own(&self, key: WireguardKey) -> Result<bool, StoreError> {
        let hub_key = match self.hub_key().await {
            Ok(hub_key) => Some(hub_key),
            Err(AlignError::Upstream(_)) => self.plan.find_hub().await?,
            Err(AlignError::Store(error)) => return Err(error),
        };
        Ok(hub_key == Some(key))
    }

    /// Returns the key that the hub has, right or wrong.
    pub(super) async fn found_hub_key(&self) -> Result<WireguardKey, UpstreamError> {
        within(DEADLINE, self.hub.identity()).await
    }

    /// Returns how the hub is, if it is the right one.
    pub(super) async fn health(&self) -> Result<GatewayHealth, AlignError> {
        let health = within(LONG_DEADLINE, self.hub.health()).await?;
        self.recognise(health.identity).await?;
        Ok(health)
    }

    /// Has the hub serve a network, and uses it when it does. A hub that was restarted is told again.
    pub(super) async fn serve(&self, network: VpnNetwork) -> Result<(), AlignError> {
        if network != self.range() {
            self.hub_key().await?;
        }
        within(LONG_DEADLINE, self.hub.serve(network)).await?;
        self.range.set(network);
        Ok(())
    }

    /// Returns the device as a member; none when its record has no key, or an address that no device may have.
    pub(super) fn member(&self, device: &Device) -> Option<VpnMember> {
        let address = self.range().device_address(device.address?)?;
        Some(VpnMember {
            key: device.wireguard_key?,
            address,
            endpoint: None,
        })
    }

    /// Returns what a member is told.
    pub(super) fn place(&self, member: VpnMember, hub_key: WireguardKey) -> Place {
        let range = self.range();
        Place {
            address: member.address,
            hub_key,
            hub_address: range.hub(),
            hub_ip6: range.hub_ip6(),
        }
    }

    /// Returns a device that belongs on the hub as a member; none when its address is one that no device may have.
    pub(super) fn member_on_record(&self, member: &NetworkMember) -> Option<VpnMember> {
        Some(VpnMember {
            key: member.key,
            address: self.range().device_address(member.address)?,
            endpoint: member.endpoint,
        })
    }

    /// Makes a device a member. The database gave the address to it, so another key that holds the address on the hub is
    /// a leftover and goes, unless the device has lost its place since: then nothing is done, and its record says why.
    pub(super) async fn ensure(&self, device: &Device, directory: &dyn DeviceDirectory) -> Result<(), AlignError> {
        let member = self.member(device).ok_or(NO_PLACE)?;
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
        // Looked at after the hub: whoever has the place now had it then.
        if !self.is_on_record(device, directory).await? {
            return Ok(());
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
        let member = self.member(device).ok_or(NO_PLACE)?;
        self.ensure(device, directory).await?;
        let stays = self.is_on_record(device, directory).await?;
        if !stays {
            self.remove(&[member.key]).await?;
        }
        Ok(stays)
    }

    /// Whether a device still has the place that its record said.
    pub(super) async fn is_on_record(
        &self,
        device: &Device,
        directory: &dyn DeviceDirectory,
    ) -> Result<bool, StoreError> {
        let current = directory.find(&device.id).await?;
        Ok(current.is_some_and(|current| {
            let may_stay = matches!(current.state, DeviceState::Admitted | DeviceState::Enrolled);
            may_stay && self.member(&current) == self.member(device)
        }))
    }

    pub(super) async fn ensure_all(&self, members: &[VpnMember]) -> Result<(), AlignError> {
        self.hub_key().await?;
        let deadline = if members.len() > 1 { LONG_DEADLINE } else { DEADLINE };
        Ok(within(deadline, self.hub.ensure_members(members)).await?)
    }

    pub(super) async fn remove(&self, keys: &[WireguardKey]) -> Result<(), AlignError> {
        self.hub_key().await?;
        Ok(within(LONG_DEADLINE, self.hub.remove_members(keys)).await?)
    }

    pub(super) async fn members(&self) -> Result<Vec<MemberStatus>, UpstreamError> {
        within(LONG_DEADLINE, self.hub.members()).await
    }

    /// A hub with another key than the one that devices were told about is never written to: none of them could reach
    /// it, and it may be somebody else's.
    async fn recognise(&self, found: WireguardKey) -> Result<WireguardKey, AlignError> {
        let remembered = *self.on_record.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered == Some(found) {
            return Ok(found);
        }
        let expected = self.plan.hub_on_record(found).await?;
        *self.on_record.lock().unwrap_or_else(PoisonError::into_inner) = Some(expected);
        if found == expected {
            return Ok(found);
        }
        Err(UpstreamError::unexpected(System::Vpn, AnotherHub { found, expected }).into())
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

async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let answer = tokio::time::timeout(deadline, answer).await;
    answer.unwrap_or_else(|elapsed| Err(UpstreamError::unavailable(System::Vpn, elapsed)))
}

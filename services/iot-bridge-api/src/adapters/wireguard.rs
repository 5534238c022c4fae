//! The hub of `crates/wireguard`, whichever it is, as [`VpnGateway`].

use std::sync::Arc;

use async_trait::async_trait;
use common::domain::{CurrentNetwork, System, VpnAddress, VpnNetwork, WireguardKey};
use ipnet::IpNet;
use wireguard::{Hub, HubError, PeerConfig, PeerStatus};

use crate::ports::{GatewayHealth, MemberStatus, UpstreamError, VpnGateway, VpnMember};

/// A WireGuard hub.
pub struct WireguardHub {
    hub: Arc<dyn Hub>,
    range: CurrentNetwork,
}

impl WireguardHub {
    /// Speaks to a hub; `range` tells which addresses a device may have.
    pub fn new(hub: Arc<dyn Hub>, range: CurrentNetwork) -> Self {
        Self { hub, range }
    }

    fn status(&self, peer: PeerStatus) -> MemberStatus {
        MemberStatus {
            key: peer.key,
            address: self.only_address(&peer),
            last_handshake_at: peer.last_handshake,
            endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()),
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
        }
    }

    fn only_address(&self, peer: &PeerStatus) -> Option<VpnAddress> {
        let ip4 = peer.allowed_addresses.iter().find_map(|net| match net {
            IpNet::V4(net) => Some(net.addr()),
            IpNet::V6(_) => None,
        });
        let address = self.range.get().device_address(ip4?)?;
        peer.has_only(address).then_some(address)
    }
}

#[async_trait]
impl VpnGateway for WireguardHub {
    async fn identity(&self) -> Result<WireguardKey, UpstreamError> {
        self.hub.identity().await.map_err(upstream)
    }

    async fn ensure_members(&self, members: &[VpnMember]) -> Result<(), UpstreamError> {
        let peers: Vec<_> = members
            .iter()
            .map(|member| PeerConfig::new(member.key, member.address).last_seen_at(member.endpoint))
            .collect();
        self.hub.ensure_peers(&peers).await.map_err(upstream)
    }

    async fn remove_members(&self, keys: &[WireguardKey]) -> Result<(), UpstreamError> {
        self.hub.remove_peers(keys).await.map_err(upstream)
    }

    async fn members(&self) -> Result<Vec<MemberStatus>, UpstreamError> {
        let peers = self.hub.peers().await.map_err(upstream)?;
        Ok(peers.into_iter().map(|peer| self.status(peer)).collect())
    }

    async fn health(&self) -> Result<GatewayHealth, UpstreamError> {
        let health = self.hub.health().await.map_err(upstream)?;
        Ok(GatewayHealth {
            identity: health.identity,
            members: health.peers,
        })
    }

    async fn serve(&self, network: VpnNetwork) -> Result<(), UpstreamError> {
        self.hub.serve(network).await.map_err(upstream)
    }
}

impl std::fmt::Debug for WireguardHub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WireguardHub")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

fn upstream(error: HubError) -> UpstreamError {
    match error {
        HubError::Unavailable { source } => UpstreamError::unavailable(System::Vpn, source),
        HubError::NotApplied { .. } => UpstreamError::unavailable(System::Vpn, error),
        HubError::WrongIdentity { .. } => UpstreamError::unexpected(System::Vpn, error),
        HubError::AddressTaken { .. } | HubError::InvalidPeer { .. } => UpstreamError::refused(System::Vpn, error),
    }
}

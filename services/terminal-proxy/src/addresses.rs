//! Which addresses may be dialled: those of the configured prefix, and of prefixes that were added since.

use std::net::Ipv4Addr;
use std::sync::Arc;

use common::domain::{NetworkPlan, StoreError, VpnAddress, VpnNetwork};

/// The device network as it is planned. Clones are cheap.
#[derive(Clone)]
pub(crate) struct Addresses {
    configured: VpnNetwork,
    plan: Arc<dyn NetworkPlan>,
}

impl Addresses {
    pub(crate) fn new(configured: VpnNetwork, plan: Arc<dyn NetworkPlan>) -> Self {
        Self { configured, plan }
    }

    /// Accepts the address of a device's record; none when no device can have it. The plan is read only when the
    /// configured prefix does not know the address.
    pub(crate) async fn of_device(&self, address: Option<Ipv4Addr>) -> Result<Option<VpnAddress>, StoreError> {
        let Some(address) = address else { return Ok(None) };
        if let Some(address) = self.configured.device_address(address) {
            return Ok(Some(address));
        }
        let prefixes = self.plan.further_prefixes().await?;
        let network = prefixes.into_iter().try_fold(self.configured, VpnNetwork::and);
        Ok(network.ok().and_then(|network| network.device_address(address)))
    }
}

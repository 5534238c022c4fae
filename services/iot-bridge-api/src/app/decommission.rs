//! How a device's life ends: everywhere, for good, and again if someone asks again.

use std::sync::Arc;

use common::domain::{Actor, Device, DeviceId, DeviceRegistry, RetireError};

use super::jobs::{Jobs, Said};

/// A device that is out of service.
#[derive(Debug)]
pub struct Decommissioned {
    /// As it is now.
    pub device: Device,
    /// What each system said.
    pub systems: Vec<Said>,
}

/// Decommissions devices.
pub struct Decommission {
    registry: Arc<dyn DeviceRegistry>,
    jobs: Arc<Jobs>,
}

impl Decommission {
    /// Prepares the end.
    pub fn new(registry: Arc<dyn DeviceRegistry>, jobs: Arc<Jobs>) -> Self {
        Self { registry, jobs }
    }

    /// Takes a device out of service for good. From the moment it is on record every door of ours is shut; then
    /// each system is told, now if it answers, else by a job.
    pub async fn decommission(&self, id: &DeviceId, by: &Actor) -> Result<Decommissioned, RetireError> {
        let systems = self.jobs.systems();
        let retired = self.registry.retire(id, by, &systems).await?;
        let systems = self.jobs.carry_out_now(id, &systems).await?;
        tracing::info!(device.id = %id, by = %by, "Decommissioned `{id}`");
        Ok(Decommissioned {
            device: retired.device,
            systems,
        })
    }
}

impl std::fmt::Debug for Decommission {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Decommission")
    }
}

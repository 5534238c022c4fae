//! What people see of the fleet and change in it.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{
    Actor, Clock, Device, DeviceChanges, DeviceDirectory, DeviceFilter, DeviceId, DevicePage, DeviceRegistry,
    DeviceView, Operator, RegistryError, StoreError, System, Timestamp,
};

use super::jobs::Jobs;

/// How long a device may enroll again when nobody says otherwise.
pub const DEFAULT_REENROLL_WINDOW: Duration = Duration::from_hours(1);
/// Longest time for which a new enrollment can be allowed.
pub const MAX_REENROLL_WINDOW: Duration = Duration::from_hours(24 * 7);

/// Shows devices, shuts them out and lets them back in.
pub struct Fleet {
    directory: Arc<dyn DeviceDirectory>,
    registry: Arc<dyn DeviceRegistry>,
    clock: Arc<dyn Clock>,
    jobs: Arc<Jobs>,
}

impl Fleet {
    /// Watches over the devices on record.
    pub fn new(
        directory: Arc<dyn DeviceDirectory>,
        registry: Arc<dyn DeviceRegistry>,
        clock: Arc<dyn Clock>,
        jobs: Arc<Jobs>,
    ) -> Self {
        Self {
            directory,
            registry,
            clock,
            jobs,
        }
    }

    /// Returns the time that ages are counted from.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lists the devices that this person may see.
    pub async fn list(&self, viewer: &Operator, filter: DeviceFilter) -> Result<DevicePage, StoreError> {
        let groups = viewer.seen_groups(filter.groups);
        self.directory.list(&DeviceFilter { groups, ..filter }).await
    }

    /// Shows a device; none when there is none, or this person may not know.
    pub async fn show(&self, viewer: &Operator, id: &DeviceId) -> Result<Option<DeviceView>, StoreError> {
        let view = self.directory.view(id).await?;
        Ok(view.filter(|view| viewer.may_see(&view.device)))
    }

    /// Shuts a device out until it is released: its peer goes at once where the hub answers, else by a job.
    pub async fn quarantine(&self, id: &DeviceId, by: &Actor) -> Result<Device, RegistryError> {
        let device = self.registry.quarantine(id, by, &self.doors()).await?;
        self.jobs.carry_out_now(id, &self.doors()).await?;
        Ok(device)
    }

    /// Lets a device back in.
    pub async fn release(&self, id: &DeviceId, by: &Actor) -> Result<Device, RegistryError> {
        let device = self.registry.release(id, by, &self.doors()).await?;
        self.jobs.carry_out_now(id, &self.doors()).await?;
        Ok(device)
    }

    /// Changes a device's group and names; the neighbours that show them are told.
    pub async fn describe(&self, id: &DeviceId, by: &Actor, changes: DeviceChanges) -> Result<Device, RegistryError> {
        let shown_by = [System::DevicePlatform, System::UpdateServer];
        let systems = self.jobs.systems().into_iter();
        let told = systems.filter(|system| shown_by.contains(system)).collect();
        self.registry.describe(id, by, &DeviceChanges { told, ..changes }).await
    }

    /// Allows a device to enroll once more with new keys, for a while; returns until when.
    pub async fn allow_reenroll(
        &self,
        id: &DeviceId,
        by: &Actor,
        window: Duration,
    ) -> Result<Timestamp, RegistryError> {
        let until = self.clock.now() + window.min(MAX_REENROLL_WINDOW);
        self.registry.allow_reenroll(id, by, until).await?;
        Ok(until)
    }

    /// The systems that let a device in; the authority is not one of them, so that release is possible.
    fn doors(&self) -> Vec<System> {
        let systems = self.jobs.systems().into_iter();
        systems
            .filter(|system| *system != System::CertificateAuthority)
            .collect()
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Fleet")
    }
}

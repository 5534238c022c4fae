//! The systems beside us that know devices too, brought in line with one device's record.

use std::sync::Arc;

use common::domain::{
    CertificateState, DeviceDirectory, DeviceId, DeviceState, DeviceView, StoreError, System, UpdateLedger,
};

use super::alignment::{AlignError, Aligned};
use super::metrics::MetricsAccess;
use crate::ports::{DevicePlatform, Neighbour, Passport, UpdateServer};

/// How often a device is looked at again that changes while a neighbour is told about it.
const LOOKS: u8 = 3;

/// The neighbours that are configured, and what they are told.
pub struct Neighbours {
    pub(super) platform: Option<Arc<dyn DevicePlatform>>,
    pub(super) updates: Option<Arc<dyn UpdateServer>>,
    metrics: Option<Arc<MetricsAccess>>,
    directory: Arc<dyn DeviceDirectory>,
    ledger: Arc<dyn UpdateLedger>,
}

impl Neighbours {
    /// Knows these neighbours; one that is not configured is never told anything.
    pub fn new(
        platform: Option<Arc<dyn DevicePlatform>>,
        updates: Option<Arc<dyn UpdateServer>>,
        directory: Arc<dyn DeviceDirectory>,
        ledger: Arc<dyn UpdateLedger>,
    ) -> Self {
        Self {
            platform,
            updates,
            metrics: None,
            directory,
            ledger,
        }
    }

    /// Has devices' keys to the metrics store kept in line too.
    #[must_use]
    pub fn with_metrics(self, metrics: Option<Arc<MetricsAccess>>) -> Self {
        Self { metrics, ..self }
    }

    /// Returns those that are configured.
    pub fn systems(&self) -> Vec<System> {
        let known = [System::DevicePlatform, System::UpdateServer, System::MetricsStore];
        known
            .into_iter()
            .filter(|system| self.find(*system).is_some())
            .collect()
    }

    pub(super) fn find(&self, system: System) -> Option<Arc<dyn Neighbour>> {
        match system {
            System::DevicePlatform => self.platform.clone().map(|platform| platform as Arc<dyn Neighbour>),
            System::UpdateServer => self.updates.clone().map(|updates| updates as Arc<dyn Neighbour>),
            System::MetricsStore => self.metrics.clone().map(|metrics| metrics as Arc<dyn Neighbour>),
            System::CertificateAuthority | System::Vpn => None,
        }
    }

    /// Brings one neighbour in line for one device; again, when the device changed meanwhile.
    pub(super) async fn align(&self, system: System, view: &DeviceView) -> Result<Aligned, AlignError> {
        let Some(neighbour) = self.find(system) else {
            return Ok(Aligned::Nothing);
        };
        let mut view = view.clone();
        for _ in 1..LOOKS {
            let aligned = self.align_once(system, neighbour.as_ref(), &view).await?;
            match self.directory.view(&view.device.id).await? {
                Some(now) if !is_same(&now, &view) => view = now,
                Some(_) | None => return Ok(aligned),
            }
        }
        self.align_once(system, neighbour.as_ref(), &view).await
    }

    async fn align_once(
        &self,
        system: System,
        neighbour: &dyn Neighbour,
        view: &DeviceView,
    ) -> Result<Aligned, AlignError> {
        let id = &view.device.id;
        match view.device.state {
            DeviceState::Admitted => Ok(Aligned::Nothing),
            DeviceState::Enrolled => {
                let passport = self.passport(view).await?;
                let Some(passport) = passport.filter(|_| is_expected(system, view)) else {
                    return Ok(Aligned::Nothing);
                };
                neighbour.ensure(&passport).await?;
                if system == System::DevicePlatform {
                    self.publish(id).await?;
                }
                Ok(Aligned::Ensured)
            }
            DeviceState::Quarantined => Ok(neighbour.shut_out(id).await.map(|()| Aligned::Removed)?),
            DeviceState::Retired => Ok(neighbour.remove(id).await.map(|()| Aligned::Removed)?),
        }
    }

    /// Returns what neighbours are told of a device in service; none while it has no certificate in use.
    pub(super) async fn passport(&self, view: &DeviceView) -> Result<Option<Passport>, StoreError> {
        let DeviceView {
            device, certificate, ..
        } = view;
        let active = certificate
            .as_ref()
            .filter(|certificate| certificate.state == CertificateState::Active);
        let (Some(certificate), Some(address)) = (active.and_then(|it| it.issued.clone()), device.address) else {
            return Ok(None);
        };
        Ok(Some(Passport {
            id: device.id.clone(),
            display_name: device.display_name.clone(),
            device_type: device.device_type.clone(),
            group: device.group.clone(),
            address,
            certificate,
            update: self.ledger.updates_of(&device.id).await?.latest,
        }))
    }

    /// Tells the platform the steps of updates that it was not told yet.
    async fn publish(&self, id: &DeviceId) -> Result<(), AlignError> {
        let Some(platform) = &self.platform else {
            return Ok(());
        };
        loop {
            let steps = self.ledger.updates_of(id).await?.untold;
            if steps.is_empty() {
                return Ok(());
            }
            platform.publish(id, &steps).await?;
            self.ledger.mark_told(&steps).await?;
        }
    }
}

/// Whether a system has to have an entry of a device in service. The update server gets one when the device has
/// connected for the first time.
pub(super) fn is_expected(system: System, view: &DeviceView) -> bool {
    system != System::UpdateServer || view.device.last_connected_at.is_some()
}

fn is_same(now: &DeviceView, before: &DeviceView) -> bool {
    now.device.state == before.device.state
        && now.device.epoch == before.device.epoch
        && now.certificate.as_ref().map(|it| it.intent.id) == before.certificate.as_ref().map(|it| it.intent.id)
}

impl std::fmt::Debug for Neighbours {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Neighbours").field(&self.systems()).finish()
    }
}

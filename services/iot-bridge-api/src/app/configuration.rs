//! What the agents on a device need to work with the systems beside us.

use std::sync::Arc;

use common::domain::DeviceId;
use secrecy::SecretString;
use url::Url;

use super::alignment::AlignError;
use super::metrics::MetricsAccess;
use crate::ports::{MetricsPlace, UpdateServer};

/// Where devices find the systems beside us, as devices see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePlaces {
    /// The device platform's MQTT.
    pub mqtt: Option<Url>,
    /// The update server.
    pub updates: Option<UpdatePlace>,
}

/// Where devices look for updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePlace {
    /// Its address.
    pub url: Url,
    /// Whose devices they are there.
    pub tenant: String,
}

/// What one device needs; what it does not have yet is missing.
#[derive(Debug)]
pub struct Configuration {
    /// Where it reports.
    pub mqtt: Option<Url>,
    /// Where it looks for updates, and with what.
    pub updates: Option<(UpdatePlace, SecretString)>,
    /// Where it writes what it measures, and with what.
    pub metrics: Option<(MetricsPlace, SecretString)>,
}

/// Knows what devices need.
pub struct Configurations {
    places: DevicePlaces,
    updates: Option<Arc<dyn UpdateServer>>,
    metrics: Option<Arc<MetricsAccess>>,
}

impl Configurations {
    /// Knows these places and asks these systems.
    pub fn new(
        places: DevicePlaces,
        updates: Option<Arc<dyn UpdateServer>>,
        metrics: Option<Arc<MetricsAccess>>,
    ) -> Self {
        Self {
            places,
            updates,
            metrics,
        }
    }

    /// Returns what a device needs. A system that does not answer is an error: the device keeps what it had.
    pub async fn of(&self, id: &DeviceId) -> Result<Configuration, AlignError> {
        let updates = match (&self.places.updates, &self.updates) {
            (Some(place), Some(server)) => server.credential(id).await?.map(|secret| (place.clone(), secret)),
            _ => None,
        };
        let metrics = match &self.metrics {
            Some(metrics) => metrics.of(id).await?,
            None => None,
        };
        Ok(Configuration {
            mqtt: self.places.mqtt.clone(),
            updates,
            metrics,
        })
    }
}

impl std::fmt::Debug for Configurations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Configurations").field(&self.places).finish()
    }
}

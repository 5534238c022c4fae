//! What devices are told about the systems beside us, and the metrics store.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use common::chassis::config::{ConfigError, secret};
use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use super::neighbours::{NeighbourSettings, address};
use crate::adapters::influxdb::{InfluxDb, InfluxDbOptions};
use crate::app::configuration::{DevicePlaces, UpdatePlace};
use crate::ports::{MetricsPlace, MetricsStore};

/// Where devices find the systems beside us, and the metrics store.
#[derive(Debug, Args)]
pub struct AgentSettings {
    /// Where devices find ThingsBoard's MQTT, for example `mqtts://things.example.com:8883`.
    #[arg(long, env = "MQTT_URL", global = true)]
    pub mqtt_url: Option<Url>,
    /// Where devices find hawkBit; `HAWKBIT_URL` unless set.
    #[arg(long, env = "HAWKBIT_DEVICE_URL", global = true)]
    pub hawkbit_device_url: Option<Url>,
    /// The tenant of hawkBit that devices belong to.
    #[arg(long, env = "HAWKBIT_TENANT", default_value = "DEFAULT", global = true)]
    pub hawkbit_tenant: String,
    /// InfluxDB's address; without it devices get no key to it.
    #[arg(long, env = "INFLUXDB_URL", global = true)]
    pub influxdb_url: Option<Url>,
    /// Where devices find InfluxDB; `INFLUXDB_URL` unless set.
    #[arg(long, env = "INFLUXDB_DEVICE_URL", global = true)]
    pub influxdb_device_url: Option<Url>,
    /// The organization that the metrics belong to.
    #[arg(long, env = "INFLUXDB_ORG", default_value = "iot", global = true)]
    pub influxdb_org: String,
    /// The bucket that devices write to.
    #[arg(long, env = "INFLUXDB_BUCKET", default_value = "telemetry", global = true)]
    pub influxdb_bucket: String,
    /// A token that may make and delete authorizations of the organization, and read its buckets.
    #[arg(long, env = "INFLUXDB_TOKEN", hide_env_values = true, global = true)]
    pub influxdb_token: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "INFLUXDB_TOKEN_FILE", global = true)]
    pub influxdb_token_file: Option<PathBuf>,
}

impl AgentSettings {
    /// Returns where devices find the systems.
    pub(super) fn places(&self, neighbours: &NeighbourSettings) -> Result<DevicePlaces, ConfigError> {
        if let Some(url) = self.mqtt_url.as_ref()
            && (!matches!(url.scheme(), "mqtt" | "mqtts") || url.host().is_none())
        {
            return Err(ConfigError::new("`MQTT_URL` must be an mqtt or mqtts address."));
        }
        let hawkbit = address("HAWKBIT_DEVICE_URL", self.hawkbit_device_url.as_ref())?;
        let updates = hawkbit.or_else(|| neighbours.hawkbit_url.clone());
        Ok(DevicePlaces {
            mqtt: self.mqtt_url.clone(),
            updates: updates.map(|url| UpdatePlace {
                url,
                tenant: self.hawkbit_tenant.clone(),
            }),
        })
    }

    /// Returns the metrics store; none when it has no address.
    pub(super) fn influxdb(&self, client: &Client) -> Result<Option<Arc<dyn MetricsStore>>, ConfigError> {
        let Some(url) = address("INFLUXDB_URL", self.influxdb_url.as_ref())? else {
            return Ok(None);
        };
        let token = secret(
            "INFLUXDB_TOKEN",
            self.influxdb_token.as_ref(),
            self.influxdb_token_file.as_deref(),
        )?;
        let device_url = address("INFLUXDB_DEVICE_URL", self.influxdb_device_url.as_ref())?;
        let options = InfluxDbOptions {
            token: token.ok_or_else(|| ConfigError::new("`INFLUXDB_URL` needs `INFLUXDB_TOKEN`."))?,
            place: MetricsPlace {
                url: device_url.unwrap_or_else(|| url.clone()),
                organization: self.influxdb_org.clone(),
                bucket: self.influxdb_bucket.clone(),
            },
            url,
        };
        Ok(Some(Arc::new(InfluxDb::new(client.clone(), options))))
    }
}

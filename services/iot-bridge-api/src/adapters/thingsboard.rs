//! ThingsBoard CE 4.3 as [`DevicePlatform`].
//!
//! What it is like: a device is believed by the exact leaf that stands in its credentials, and by nothing else,
//! because the profile's provisioning is disabled: its chain-of-certificates provisioning would let one device take
//! another's name. It has no revocation list, so shutting out is replacing the credentials. A device that is made
//! without credentials gets an access token, so device and leaf are made in one request. Product words (entity,
//! credentials, scope) stay in here.

mod entity;
pub mod provision;
mod session;

use std::collections::BTreeMap;

use async_trait::async_trait;
use common::domain::{DeviceId, DriftKind, System, UpdateReport, UpdateStatus, rfc3339};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use self::entity::{AttributeValue, CredentialsType, Device, DeviceCredentials, Page};
use self::session::Session;
pub use self::session::ThingsBoardLogin;
use super::rest::{Answer, Rest, random_token};
use crate::ports::{DevicePlatform, Neighbour, Passport, UpstreamError};

/// Devices on a page of a list.
const PAGE: &str = "100";
/// The longest list that is read, in pages.
const MAX_PAGES: u32 = 10_000;

/// How to reach ThingsBoard.
#[derive(Debug)]
pub struct ThingsBoardOptions {
    /// Its address.
    pub url: Url,
    /// Who we are there: a tenant administrator.
    pub login: ThingsBoardLogin,
    /// The name of the profile that our devices have.
    pub profile: String,
}

/// A ThingsBoard.
#[derive(Debug)]
pub struct ThingsBoard {
    session: Session,
    profile: String,
}

impl ThingsBoard {
    /// Speaks to a ThingsBoard.
    pub fn new(client: Client, options: ThingsBoardOptions) -> Self {
        let rest = Rest::new(client, options.url, System::DevicePlatform);
        Self {
            session: Session::new(rest, options.login),
            profile: options.profile,
        }
    }

    async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Answer, UpstreamError> {
        self.session.call(Method::GET, segments, query, None).await
    }

    async fn post(&self, segments: &[&str], body: &Value) -> Result<Answer, UpstreamError> {
        self.session.call(Method::POST, segments, &[], Some(body)).await
    }

    async fn find(&self, id: &DeviceId) -> Result<Option<Device>, UpstreamError> {
        let query = [("deviceName", id.as_str())];
        let device: Option<Device> = self.get(&["api", "tenant", "device"], &query).await?.json_if_found()?;
        match device {
            Some(device) if device.name != id.as_str() => {
                Err(unexpected("it answered with another device than the one asked for"))
            }
            found => Ok(found),
        }
    }

    async fn create(&self, passport: &Passport) -> Result<(), UpstreamError> {
        let body = json!({
            "device": {
                "name": passport.id,
                "type": self.profile,
                "label": passport.display_name,
                "additionalInfo": { "description": "Kept by iot-bridge" },
            },
            "credentials": {
                "credentialsType": CredentialsType::X509Certificate,
                "credentialsValue": passport.certificate.leaf_pem,
            },
        });
        self.post(&["api", "device-with-credentials"], &body).await?.done()
    }

    async fn credentials(&self, device: &Device) -> Result<DeviceCredentials, UpstreamError> {
        let answer = self.get(&["api", "device", &device.id.id, "credentials"], &[]).await?;
        answer.json(StatusCode::OK)
    }

    async fn replace_credentials(&self, credentials: &DeviceCredentials) -> Result<(), UpstreamError> {
        let body = serde_json::to_value(credentials).expect("credentials are text");
        self.post(&["api", "device", "credentials"], &body).await?.done()
    }

    async fn attributes(&self, device: &Device, wanted: &Attributes) -> Result<Vec<AttributeValue>, UpstreamError> {
        let keys = wanted.keys().copied().collect::<Vec<_>>().join(",");
        let path = [
            "api",
            "plugins",
            "telemetry",
            "DEVICE",
            &device.id.id,
            "values",
            "attributes",
            "SERVER_SCOPE",
        ];
        self.get(&path, &[("keys", &keys)]).await?.json(StatusCode::OK)
    }

    /// Returns what of the attributes is not as wanted.
    async fn wrong_attributes(&self, device: &Device, passport: &Passport) -> Result<Attributes, UpstreamError> {
        let mut wanted = attributes(passport);
        let present = self.attributes(device, &wanted).await?;
        wanted.retain(|key, value| !present.iter().any(|it| it.key == *key && it.value == *value));
        Ok(wanted)
    }

    async fn page(&self, number: u32) -> Result<Page, UpstreamError> {
        let number = number.to_string();
        let query = [
            ("pageSize", PAGE),
            ("page", number.as_str()),
            ("type", self.profile.as_str()),
            ("sortProperty", "name"),
            ("sortOrder", "ASC"),
        ];
        let answer = self.get(&["api", "tenant", "devices"], &query).await?;
        answer.json(StatusCode::OK)
    }
}

#[async_trait]
impl Neighbour for ThingsBoard {
    async fn ensure(&self, passport: &Passport) -> Result<(), UpstreamError> {
        let device = if let Some(device) = self.find(&passport.id).await? {
            let mut credentials = self.credentials(&device).await?;
            if !credentials.believe(&passport.certificate.leaf_pem) {
                credentials.set_leaf(&passport.certificate.leaf_pem);
                self.replace_credentials(&credentials).await?;
            }
            device
        } else {
            self.create(passport).await?;
            let created = self.find(&passport.id).await?;
            created.ok_or_else(|| unexpected("a device that it made is not there"))?
        };
        let wrong = self.wrong_attributes(&device, passport).await?;
        if wrong.is_empty() {
            return Ok(());
        }
        let path = [
            "api",
            "plugins",
            "telemetry",
            "DEVICE",
            &device.id.id,
            "attributes",
            "SERVER_SCOPE",
        ];
        self.post(&path, &json!(wrong)).await?.done()
    }

    async fn differences(&self, passport: &Passport) -> Result<Vec<DriftKind>, UpstreamError> {
        let Some(device) = self.find(&passport.id).await? else {
            return Ok(vec![DriftKind::Missing]);
        };
        let mut found = Vec::new();
        let credentials = self.credentials(&device).await?;
        if !credentials.believe(&passport.certificate.leaf_pem) {
            found.push(DriftKind::WrongCredentials);
        }
        if !self.wrong_attributes(&device, passport).await?.is_empty() {
            found.push(DriftKind::WrongMetadata);
        }
        Ok(found)
    }

    async fn shut_out(&self, id: &DeviceId) -> Result<(), UpstreamError> {
        let Some(device) = self.find(id).await? else {
            return Ok(());
        };
        let mut credentials = self.credentials(&device).await?;
        if credentials.credentials_type != CredentialsType::X509Certificate {
            return Ok(());
        }
        credentials.set_token(&random_token());
        self.replace_credentials(&credentials).await
    }

    async fn admits(&self, id: &DeviceId) -> Result<bool, UpstreamError> {
        let Some(device) = self.find(id).await? else {
            return Ok(false);
        };
        let credentials = self.credentials(&device).await?;
        Ok(credentials.credentials_type == CredentialsType::X509Certificate)
    }

    async fn remove(&self, id: &DeviceId) -> Result<(), UpstreamError> {
        let Some(device) = self.find(id).await? else {
            return Ok(());
        };
        let path = ["api", "device", &device.id.id];
        self.session.call(Method::DELETE, &path, &[], None).await?.gone()
    }

    async fn names(&self) -> Result<Vec<String>, UpstreamError> {
        let mut names = Vec::new();
        for number in 0..MAX_PAGES {
            let page = self.page(number).await?;
            names.extend(page.data.into_iter().map(|device| device.name));
            if !page.has_next {
                return Ok(names);
            }
        }
        Err(unexpected("its list of devices has no end"))
    }
}

#[async_trait]
impl DevicePlatform for ThingsBoard {
    async fn publish(&self, id: &DeviceId, steps: &[UpdateReport]) -> Result<(), UpstreamError> {
        let points: Vec<_> = steps.iter().filter_map(point).collect();
        if points.is_empty() {
            return Ok(());
        }
        let device = self.find(id).await?;
        let device = device.ok_or_else(|| self.session.unavailable("the device is not there any more"))?;
        let path = [
            "api",
            "plugins",
            "telemetry",
            "DEVICE",
            &device.id.id,
            "timeseries",
            "ANY",
        ];
        self.post(&path, &Value::Array(points)).await?.done()
    }
}

type Attributes = BTreeMap<&'static str, Value>;

/// What people see of a device beside what it reports itself.
fn attributes(passport: &Passport) -> Attributes {
    let Passport {
        certificate,
        group,
        address,
        ..
    } = passport;
    let mut attributes = BTreeMap::from([
        ("vpnAddress", json!(address)),
        ("fleetGroup", json!(group)),
        ("certificateSerial", json!(certificate.serial)),
        ("certificateNotAfter", json!(rfc3339(certificate.not_after))),
    ]);
    if let Some(update) = &passport.update {
        attributes.insert("otaStatus", json!(update.status.as_str()));
        attributes.insert("otaAction", json!(update.action_id));
        attributes.insert("otaChangedAt", json!(rfc3339(update.changed_at)));
        attributes.insert("otaSubject", json!(update.subject.as_deref().unwrap_or("")));
    }
    attributes
}

/// A point of telemetry. What a device says of updates under the same key is about the time between these points.
fn point(step: &UpdateReport) -> Option<Value> {
    let is_told = matches!(
        step.status,
        UpdateStatus::Running | UpdateStatus::Finished | UpdateStatus::Failed
    );
    let milliseconds = step.changed_at.unix_timestamp_nanos().div_euclid(1_000_000);
    is_told.then(|| {
        json!({
            "ts": i64::try_from(milliseconds).unwrap_or(i64::MAX),
            "values": { "ota_status": step.status.as_str(), "ota_action": step.action_id },
        })
    })
}

fn unexpected(what: &'static str) -> UpstreamError {
    UpstreamError::unexpected(System::DevicePlatform, what)
}

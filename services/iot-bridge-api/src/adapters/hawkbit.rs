//! hawkBit 1.1 as [`UpdateServer`].
//!
//! What it is like: a target's attributes are the device's own, so what we say of it is metadata; keys that begin with
//! `bridge_` are ours, all others are left alone. It has no outgoing messages, so its actions are polled, by its own
//! clock. A list of targets that are made in one request fails as a whole, so each is made alone. Product words
//! (target, action, distribution set) stay in here.

mod answers;
mod types;

use std::collections::BTreeMap;

use async_trait::async_trait;
use common::domain::{DeviceId, DriftKind, System, Timestamp, UpdateStatus, rfc3339};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use self::answers::{ActionList, Metadata, MetadataList, Target, TargetList};
use self::types::TargetTypes;
use super::rest::{Answer, Rest, random_token};
use crate::kill_points::{KillPoint, reach};
use crate::ports::{ChangePage, Neighbour, Passport, UpdateServer, UpstreamError};

/// Entries on a page of a list.
const PAGE: usize = 100;
/// Most metadata that a target may have at once; hawkBit's own quota is 100.
const MAX_METADATA: &str = "500";
/// The longest list that is read, in entries.
const MAX_LENGTH: usize = 1_000_000;
/// How our metadata begins.
const OURS: &str = "bridge_";
/// Whether the device is in service; the one that tells a target whose token was thrown away.
const STATE: &str = "bridge_state";
const IN_SERVICE: &str = "in-service";
const SHUT_OUT: &str = "shut-out";

/// How to reach hawkBit.
#[derive(Debug)]
pub struct HawkbitOptions {
    /// Its address.
    pub url: Url,
    /// A user of its management API.
    pub user: String,
    /// The user's password.
    pub password: SecretString,
}

/// A hawkBit.
#[derive(Debug)]
pub struct Hawkbit {
    api: Api,
    types: TargetTypes,
}

/// Its management API.
#[derive(Debug)]
struct Api {
    rest: Rest,
    user: String,
    password: SecretString,
}

impl Api {
    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, UpstreamError> {
        let segments = [&["rest", "v1"], path].concat();
        let request = self.rest.client().request(method, self.rest.url(&segments));
        let request = request
            .query(query)
            .basic_auth(&self.user, Some(self.password.expose_secret()));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.rest.send(request).await
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, UpstreamError> {
        self.call(Method::GET, path, query, None).await
    }

    async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, UpstreamError> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    async fn put(&self, path: &[&str], body: &Value) -> Result<Answer, UpstreamError> {
        self.call(Method::PUT, path, &[], Some(body)).await
    }
}

impl Hawkbit {
    /// Speaks to a hawkBit.
    pub fn new(client: Client, options: HawkbitOptions) -> Self {
        let HawkbitOptions { url, user, password } = options;
        Self {
            api: Api {
                rest: Rest::new(client, url, System::UpdateServer),
                user,
                password,
            },
            types: TargetTypes::default(),
        }
    }

    /// Lets devices fetch their updates with the secret of their target, and look for them every minute. hawkBit lets
    /// nobody in before somebody said how.
    pub async fn provision(&self) -> Result<(), UpstreamError> {
        let settings = json!({ "authentication.targettoken.enabled": true, "pollingTime": "00:01:00" });
        self.api.put(&["system", "configs"], &settings).await?.done()
    }

    async fn find(&self, id: &DeviceId) -> Result<Option<Target>, UpstreamError> {
        let target: Option<Target> = self.api.get(&["targets", id.as_str()], &[]).await?.json_if_found()?;
        match target {
            Some(target) if target.controller_id != id.as_str() => {
                Err(unexpected("it answered with another target than the one asked for"))
            }
            found => Ok(found),
        }
    }

    /// Makes a target; one that was there already, or came between, is as good.
    async fn create(&self, passport: &Passport) -> Result<Target, UpstreamError> {
        let body = json!([{
            "controllerId": passport.id,
            "name": name(passport),
            "description": "Kept by iot-bridge",
            "group": passport.group,
        }]);
        let answer = self.api.post(&["targets"], &body).await?;
        if answer.status != StatusCode::CONFLICT {
            answer.done()?;
        }
        reach(KillPoint::K9).await;
        let created = self.find(&passport.id).await?;
        created.ok_or_else(|| unexpected("a target that it made is not there"))
    }

    async fn metadata(&self, id: &DeviceId) -> Result<BTreeMap<String, String>, UpstreamError> {
        let path = ["targets", id.as_str(), "metadata"];
        let list: Option<MetadataList> = self.api.get(&path, &[("limit", MAX_METADATA)]).await?.json_if_found()?;
        let entries = list.map(|list| list.content).unwrap_or_default();
        Ok(entries
            .into_iter()
            .map(|Metadata { key, value }| (key, value))
            .collect())
    }

    async fn ensure_metadata(&self, passport: &Passport) -> Result<(), UpstreamError> {
        let (wanted, present) = (metadata(passport), self.metadata(&passport.id).await?);
        let path = ["targets", passport.id.as_str(), "metadata"];
        for key in present
            .keys()
            .filter(|key| key.starts_with(OURS) && !wanted.contains_key(key.as_str()))
        {
            let path = ["targets", passport.id.as_str(), "metadata", key];
            self.api.call(Method::DELETE, &path, &[], None).await?.gone()?;
        }
        for (key, value) in wanted
            .iter()
            .filter(|(key, value)| present.get(**key).is_some_and(|it| it != *value))
        {
            let path = ["targets", passport.id.as_str(), "metadata", key];
            self.api.put(&path, &json!({ "value": value })).await?.done()?;
        }
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(key, _)| !present.contains_key(**key))
            .map(|(key, value)| json!({ "key": key, "value": value }))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.api.post(&path, &Value::Array(missing)).await?.done()
    }

    async fn ensure_type(&self, target: &Target, passport: &Passport) -> Result<(), UpstreamError> {
        let Some(key) = passport.device_type.as_deref().and_then(types::key) else {
            return Ok(());
        };
        if target.type_name.as_deref() == Some(key.as_str()) {
            return Ok(());
        }
        let number = self.types.ensure(&self.api, &key).await?;
        let path = ["targets", target.controller_id.as_str(), "targettype"];
        let answer = self.api.post(&path, &json!({ "id": number })).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // Someone deleted the type; the next try makes it again.
            self.types.forget(&key).await;
            return Err(self.api.rest.unavailable("the target type is gone"));
        }
        answer.done()
    }
}

#[async_trait]
impl Neighbour for Hawkbit {
    async fn ensure(&self, passport: &Passport) -> Result<(), UpstreamError> {
        let target = match self.find(&passport.id).await? {
            Some(target) => target,
            None => self.create(passport).await?,
        };
        if !target.is_called(&name(passport), passport.group.as_str()) {
            let body = json!({ "name": name(passport), "group": passport.group });
            self.api.put(&["targets", passport.id.as_str()], &body).await?.done()?;
        }
        self.ensure_type(&target, passport).await?;
        self.ensure_metadata(passport).await
    }

    async fn differences(&self, passport: &Passport) -> Result<Vec<DriftKind>, UpstreamError> {
        let Some(target) = self.find(&passport.id).await? else {
            return Ok(vec![DriftKind::Missing]);
        };
        let present = self.metadata(&passport.id).await?;
        if present.get(STATE).is_some_and(|state| state == SHUT_OUT) {
            return Ok(vec![DriftKind::WrongCredentials]);
        }
        let wanted = metadata(passport);
        let ours = present.iter().filter(|(key, _)| key.starts_with(OURS));
        let is_told = ours
            .map(|(key, value)| (key.as_str(), value))
            .eq(wanted.iter().map(|(key, value)| (*key, value)));
        let kind = passport.device_type.as_deref().and_then(types::key);
        let is_typed = kind.is_none() || target.type_name == kind;
        if is_told && is_typed && target.is_called(&name(passport), passport.group.as_str()) {
            Ok(Vec::new())
        } else {
            Ok(vec![DriftKind::WrongMetadata])
        }
    }

    async fn shut_out(&self, id: &DeviceId) -> Result<(), UpstreamError> {
        if !self.admits(id).await? {
            return Ok(());
        }
        let body = json!({ "securityToken": random_token() });
        self.api.put(&["targets", id.as_str()], &body).await?.done()?;
        let path = ["targets", id.as_str(), "metadata", STATE];
        let changed = self.api.put(&path, &json!({ "value": SHUT_OUT })).await?;
        if changed.status != StatusCode::NOT_FOUND {
            return changed.done();
        }
        let body = json!([{ "key": STATE, "value": SHUT_OUT }]);
        self.api
            .post(&["targets", id.as_str(), "metadata"], &body)
            .await?
            .done()
    }

    async fn admits(&self, id: &DeviceId) -> Result<bool, UpstreamError> {
        if self.find(id).await?.is_none() {
            return Ok(false);
        }
        let metadata = self.metadata(id).await?;
        Ok(metadata.get(STATE).is_none_or(|state| state != SHUT_OUT))
    }

    async fn remove(&self, id: &DeviceId) -> Result<(), UpstreamError> {
        let path = ["targets", id.as_str()];
        self.api.call(Method::DELETE, &path, &[], None).await?.gone()
    }

    async fn names(&self) -> Result<Vec<String>, UpstreamError> {
        let mut names = Vec::new();
        while names.len() < MAX_LENGTH {
            let (limit, offset) = (PAGE.to_string(), names.len().to_string());
            let query = [
                ("limit", limit.as_str()),
                ("offset", offset.as_str()),
                ("sort", "controllerId:ASC"),
            ];
            let page: TargetList = self.api.get(&["targets"], &query).await?.json(StatusCode::OK)?;
            let length = page.content.len();
            names.extend(page.content.into_iter().map(|target| target.controller_id));
            if length < PAGE {
                return Ok(names);
            }
        }
        Err(unexpected("its list of targets has no end"))
    }
}

#[async_trait]
impl UpdateServer for Hawkbit {
    async fn changes(&self, since: Timestamp, skip: usize) -> Result<ChangePage, UpstreamError> {
        let milliseconds = since.unix_timestamp_nanos().div_euclid(1_000_000);
        let (filter, limit, offset) = (
            format!("lastModifiedAt=ge={milliseconds}"),
            PAGE.to_string(),
            skip.to_string(),
        );
        let query = [
            ("q", filter.as_str()),
            ("sort", "lastModifiedAt:ASC"),
            ("limit", limit.as_str()),
            ("offset", offset.as_str()),
            ("representation", "full"),
        ];
        let list: ActionList = self.api.get(&["actions"], &query).await?.json(StatusCode::OK)?;
        list.into_page(PAGE)
    }

    fn status(&self, word: &str) -> Option<UpdateStatus> {
        answers::status(word)
    }

    async fn credential(&self, id: &DeviceId) -> Result<Option<SecretString>, UpstreamError> {
        let target = self.find(id).await?;
        Ok(target.and_then(|target| target.security_token).map(SecretString::from))
    }
}

fn name(passport: &Passport) -> String {
    passport.display_name.clone().unwrap_or_else(|| passport.id.to_string())
}

fn metadata(passport: &Passport) -> BTreeMap<&'static str, String> {
    let Passport {
        certificate,
        group,
        address,
        ..
    } = passport;
    let mut metadata = BTreeMap::from([
        (STATE, IN_SERVICE.to_owned()),
        ("bridge_vpn_address", address.to_string()),
        ("bridge_group", group.to_string()),
        ("bridge_certificate_serial", certificate.serial.clone()),
        ("bridge_certificate_not_after", rfc3339(certificate.not_after)),
    ]);
    if let Some(device_type) = &passport.device_type {
        metadata.insert("bridge_device_type", device_type.clone());
    }
    metadata
}

fn unexpected(what: &'static str) -> UpstreamError {
    UpstreamError::unexpected(System::UpdateServer, what)
}

//! InfluxDB 2 as [`MetricsStore`].
//!
//! What it is like: a token is called authorization there, has a number that is no secret, and is shown when it is
//! made. What it may do is decided then and never changed. Product words (authorization, bucket) stay in here.

use async_trait::async_trait;
use common::domain::{DeviceId, System};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use super::rest::{Answer, Rest};
use crate::ports::{MetricsKey, MetricsPlace, MetricsStore, UpstreamError};

/// How the descriptions of our authorizations begin; the device id comes after it.
const OURS: &str = "iot-bridge ";
/// Largest list of authorizations that is read, in bytes: it has no pages. One takes about 1 kB.
const MAX_LIST: usize = 128 * 1024 * 1024;

/// How to reach InfluxDB.
#[derive(Debug)]
pub struct InfluxDbOptions {
    /// Its address.
    pub url: Url,
    /// A token that may make and delete authorizations of the organization, and read its buckets.
    pub token: SecretString,
    /// Where devices write.
    pub place: MetricsPlace,
}

/// An InfluxDB.
#[derive(Debug)]
pub struct InfluxDb {
    rest: Rest,
    token: SecretString,
    place: MetricsPlace,
    numbers: OnceCell<Numbers>,
}

/// What organization and bucket are called in requests.
#[derive(Debug)]
struct Numbers {
    organization: String,
    bucket: String,
}

#[derive(Deserialize)]
struct Organizations {
    orgs: Vec<Numbered>,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    id: String,
}

#[derive(Deserialize)]
struct Authorizations {
    authorizations: Vec<Authorization>,
}

#[derive(Deserialize)]
struct Authorization {
    #[serde(default)]
    description: String,
    status: String,
    permissions: Vec<Value>,
}

#[derive(Deserialize)]
struct Fresh {
    id: String,
    #[serde(deserialize_with = "secret")]
    token: SecretString,
}

impl InfluxDb {
    /// Speaks to an InfluxDB.
    pub fn new(client: Client, options: InfluxDbOptions) -> Self {
        Self {
            rest: Rest::new(client, options.url, System::MetricsStore),
            token: options.token,
            place: options.place,
            numbers: OnceCell::new(),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, UpstreamError> {
        let segments = [&["api", "v2"], path].concat();
        let request = self
            .rest
            .client()
            .request(method, self.rest.url(&segments))
            .query(query);
        let request = request.header("authorization", format!("Token {}", self.token.expose_secret()));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.rest.send_for_at_most(request, MAX_LIST).await
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, UpstreamError> {
        self.call(Method::GET, path, query, None).await
    }

    async fn numbers(&self) -> Result<&Numbers, UpstreamError> {
        self.numbers.get_or_try_init(|| self.look_up()).await
    }

    async fn look_up(&self) -> Result<Numbers, UpstreamError> {
        let (organization, bucket) = (self.place.organization.as_str(), self.place.bucket.as_str());
        let answer = self.get(&["orgs"], &[("org", organization)]).await?;
        let found: Option<Organizations> = answer.json_if_found()?;
        let organization = only(found.map(|list| list.orgs), "there is no organization of this name")?;
        let query = [("orgID", organization.as_str()), ("name", bucket)];
        let found: Option<Buckets> = self.get(&["buckets"], &query).await?.json_if_found()?;
        let bucket = only(found.map(|list| list.buckets), "there is no bucket of this name")?;
        Ok(Numbers { organization, bucket })
    }

    /// To write to our bucket, and nothing else.
    async fn permission(&self) -> Result<Value, UpstreamError> {
        let Numbers { organization, bucket } = self.numbers().await?;
        let resource = json!({ "type": "buckets", "id": bucket, "orgID": organization });
        Ok(json!({ "action": "write", "resource": resource }))
    }
}

#[async_trait]
impl MetricsStore for InfluxDb {
    async fn create_key(&self, id: &DeviceId) -> Result<MetricsKey, UpstreamError> {
        let permission = self.permission().await?;
        let body = json!({
            "orgID": self.numbers().await?.organization,
            "status": "active",
            "description": format!("{OURS}{id}"),
            "permissions": [permission],
        });
        let answer = self.call(Method::POST, &["authorizations"], &[], Some(&body)).await?;
        let fresh: Fresh = answer.json(StatusCode::CREATED)?;
        Ok(MetricsKey {
            reference: fresh.id,
            secret: fresh.token,
        })
    }

    /// Its permissions come back with more members than they were made with (the names, as they are now).
    async fn is_good(&self, reference: &str) -> Result<bool, UpstreamError> {
        let answer = self.get(&["authorizations", reference], &[]).await?;
        let Some(found) = answer.json_if_found::<Authorization>()? else {
            return Ok(false);
        };
        let wanted = self.permission().await?;
        let [only] = found.permissions.as_slice() else {
            return Ok(false);
        };
        let is_same = |key: &str| only["resource"][key] == wanted["resource"][key];
        let is_ours = only["action"] == wanted["action"] && ["type", "id", "orgID"].into_iter().all(is_same);
        Ok(found.status == "active" && is_ours)
    }

    async fn delete_key(&self, reference: &str) -> Result<(), UpstreamError> {
        let path = ["authorizations", reference];
        self.call(Method::DELETE, &path, &[], None).await?.gone()
    }

    async fn key_holders(&self) -> Result<Vec<String>, UpstreamError> {
        let organization = self.numbers().await?.organization.as_str();
        let answer = self.get(&["authorizations"], &[("orgID", organization)]).await?;
        let list: Authorizations = answer.json(StatusCode::OK)?;
        let descriptions = list.authorizations.into_iter().map(|it| it.description);
        Ok(descriptions
            .filter_map(|text| text.strip_prefix(OURS).map(str::to_owned))
            .collect())
    }

    fn place(&self) -> MetricsPlace {
        self.place.clone()
    }
}

/// A name that nobody has is a setting that a person has to correct.
fn only(found: Option<Vec<Numbered>>, otherwise: &'static str) -> Result<String, UpstreamError> {
    let first = found.and_then(|list| list.into_iter().next());
    first
        .map(|numbered| numbered.id)
        .ok_or_else(|| UpstreamError::refused(System::MetricsStore, otherwise))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

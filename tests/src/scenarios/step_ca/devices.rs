//! Devices with nothing but a request, and the door that they knock at.

use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions, Trust};
use common::domain::WireguardPrivateKey;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use reqwest::{Certificate, Client, Identity, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Notify;
use url::Url;

use crate::failure::{Failure, ensure};
use crate::real::bridge::Bridge;
use crate::real::step_ca::StepCa;

/// How often a device asks again.
const PATIENCE: u32 = 60;

/// The bridge as devices see it, over TLS.
#[derive(Debug, Clone)]
pub(super) struct Door {
    url: Url,
    root_pem: String,
    client: Client,
}

impl Door {
    pub(super) fn open(bridge: &Bridge, authority: &StepCa) -> Result<Self, Failure> {
        let root_pem = authority.root_pem()?;
        Ok(Self {
            url: bridge.devices().clone(),
            client: client(&root_pem)?,
            root_pem,
        })
    }

    /// Posts an enrollment.
    pub(super) async fn enroll(
        &self,
        id: &str,
        token: &SecretString,
        body: &Value,
    ) -> Result<(StatusCode, Value), Failure> {
        let url = self.url.join(&format!("devices/{id}/enroll"))?;
        let request = self.client.post(url).bearer_auth(token.expose_secret()).json(body);
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Returns the door as the holder of a certificate sees it: chain and key, PEM.
    fn as_device(&self, chain: &str, key: &KeyPair) -> Result<Client, Failure> {
        let identity = Identity::from_pem(format!("{chain}{}", key.serialize_pem()).as_bytes())?;
        let roots = Certificate::from_pem_bundle(self.root_pem.as_bytes())?;
        let builder = Client::builder().identity(identity).tls_certs_only(roots).no_proxy();
        Ok(builder.timeout(Duration::from_secs(30)).build()?)
    }

    /// Asks as the holder of a certificate, on a connection of its own.
    pub(super) async fn ask_as(
        &self,
        device: &FieldDevice,
        chain: &str,
        (method, path): (Method, &str),
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let client = self.as_device(chain, &device.key)?;
        let mut request = client.request(method, self.url.join(&format!("devices/{}/{path}", device.id))?);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// The host and port, as programs other than ours want it.
    pub(super) fn authority(&self) -> &str {
        self.url.authority()
    }

    pub(super) async fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let response = self.client.get(self.url.join(path)?).send().await?;
        ensure(response.status() == StatusCode::OK, response.status())?;
        Ok(response.bytes().await?.to_vec())
    }
}

fn client(root_pem: &str) -> Result<Client, Failure> {
    let options = HttpClientOptions {
        total_timeout: Duration::from_secs(30),
        trust: Trust::Only(root_pem.as_bytes().to_vec()),
        ..HttpClientOptions::default()
    };
    Ok(http_client::build(&options)?)
}

/// A device with keys of its own.
#[derive(Debug)]
pub(super) struct FieldDevice {
    id: String,
    key: KeyPair,
    csr: String,
    wireguard_key: String,
}

impl FieldDevice {
    pub(super) fn new(id: &str) -> Result<Self, Failure> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id);
        let key = KeyPair::generate()?;
        Ok(Self {
            id: id.to_owned(),
            csr: params.serialize_request(&key)?.pem()?,
            key,
            wireguard_key: WireguardPrivateKey::generate().public_key().to_base64(),
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn csr(&self) -> &str {
        &self.csr
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// What it posts to enroll.
    pub(super) fn request(&self) -> Value {
        json!({ "csr": self.csr, "wg_public_key": self.wireguard_key })
    }

    /// Enrolls, and asks again as long as it is told to wait, which it lets others know; returns its address.
    pub(super) async fn enroll_patiently(
        &self,
        door: &Door,
        token: &SecretString,
        waits: &Notify,
    ) -> Result<String, Failure> {
        for _ in 0..PATIENCE {
            let (status, answer) = door.enroll(&self.id, token, &self.request()).await?;
            match status {
                StatusCode::OK | StatusCode::CREATED => {
                    return Ok(answer["wireguard_ip"].as_str().unwrap_or_default().to_owned());
                }
                StatusCode::ACCEPTED => {
                    waits.notify_one();
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                status => return Err(Failure::new(format_args!("{}: {status} {answer}", self.id))),
            }
        }
        Err(Failure::new(format_args!("{} was told to wait for too long", self.id)))
    }
}

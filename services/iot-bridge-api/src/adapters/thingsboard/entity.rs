//! The parts of ThingsBoard's answers that matter.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
pub(super) struct Device {
    pub(super) id: EntityId,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct EntityId {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<Device>,
    #[serde(rename = "hasNext")]
    pub(super) has_next: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct AttributeValue {
    pub(super) key: String,
    pub(super) value: Value,
}

/// How a device proves itself. Types that we never set are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CredentialsType {
    #[serde(rename = "ACCESS_TOKEN")]
    AccessToken,
    #[serde(rename = "X509_CERTIFICATE")]
    X509Certificate,
    #[serde(untagged)]
    Other(String),
}

/// What a device is believed by; it is sent back as a whole, with all fields that came.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeviceCredentials {
    #[serde(rename = "credentialsType")]
    pub(super) credentials_type: CredentialsType,
    #[serde(rename = "credentialsId")]
    credentials_id: Option<String>,
    #[serde(rename = "credentialsValue")]
    credentials_value: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl DeviceCredentials {
    /// Whether this leaf is believed.
    pub(super) fn believe(&self, leaf_pem: &str) -> bool {
        let value = self.credentials_value.as_deref();
        self.credentials_type == CredentialsType::X509Certificate
            && value.is_some_and(|value| bare(value) == bare(leaf_pem))
    }

    pub(super) fn set_leaf(&mut self, leaf_pem: &str) {
        self.credentials_type = CredentialsType::X509Certificate;
        self.credentials_id = None;
        self.credentials_value = Some(leaf_pem.to_owned());
    }

    pub(super) fn set_token(&mut self, token: &str) {
        self.credentials_type = CredentialsType::AccessToken;
        self.credentials_id = Some(token.to_owned());
        self.credentials_value = None;
    }
}

/// Returns a certificate as ThingsBoard keeps it: the base64 text alone, without lines and headers.
fn bare(pem: &str) -> String {
    let text = pem
        .replace("-----BEGIN CERTIFICATE-----", "")
        .replace("-----END CERTIFICATE-----", "");
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_recognised_as_it_comes_back() {
        let mut credentials: DeviceCredentials = serde_json::from_value(serde_json::json!({
            "id": { "id": "1" }, "version": 3, "credentialsType": "X509_CERTIFICATE",
            "credentialsId": "hash", "credentialsValue": "QUJDREVG",
        }))
        .unwrap();
        let leaf = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n";

        assert!(credentials.believe(leaf));
        credentials.set_token("t");
        assert!(!credentials.believe(leaf));
        let sent = serde_json::to_value(&credentials).unwrap();
        assert_eq!(
            (&sent["version"], &sent["credentialsType"]),
            (&3.into(), &"ACCESS_TOKEN".into())
        );
    }

    #[test]
    fn a_kind_of_credentials_that_we_never_set_is_read() {
        let kind: CredentialsType = serde_json::from_str("\"MQTT_BASIC\"").unwrap();
        assert_eq!(kind, CredentialsType::Other("MQTT_BASIC".to_owned()));
    }
}

//! The certificate authority: step-ca.

use std::path::PathBuf;

use clap::Args;
use common::chassis::config::ConfigError;
use url::Url;

use crate::adapters::step_ca::{ProvisionerKey, RootFingerprint, StepCaOptions};

/// How to reach step-ca, and with which provisioner.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub struct StepCaSettings {
    /// Its address; the host must be one of its DNS names.
    #[arg(long, env = "STEP_CA_URL")]
    pub step_ca_url: Option<Url>,
    /// SHA-256 of its root certificate, hex; several during a rotation, separated by commas.
    #[arg(long, env = "STEP_CA_FINGERPRINT", value_delimiter = ',')]
    pub step_ca_fingerprint: Vec<String>,
    /// The name of the JWK provisioner for devices.
    #[arg(long, env = "STEP_CA_PROVISIONER_NAME", default_value = "iot-bridge")]
    pub step_ca_provisioner_name: String,
    /// A file with the provisioner's private JWK (P-256).
    #[arg(long, env = "STEP_CA_PROVISIONER_KEY_FILE")]
    pub step_ca_provisioner_key_file: Option<PathBuf>,
}

impl StepCaSettings {
    /// Checks the settings and reads the key.
    pub fn options(&self) -> Result<StepCaOptions, ConfigError> {
        let missing = |name: &str| ConfigError::new(format!("`{name}` is missing; nobody could sign."));
        let url = self.step_ca_url.clone().ok_or_else(|| missing("STEP_CA_URL"))?;
        if url.scheme() != "https" || url.host_str().is_none() || url.query().is_some() {
            return Err(ConfigError::new("`STEP_CA_URL` must be an https address."));
        }
        if self.step_ca_fingerprint.is_empty() {
            return Err(missing("STEP_CA_FINGERPRINT"));
        }
        let fingerprints = self.step_ca_fingerprint.iter().map(|text| RootFingerprint::parse(text));
        let fingerprints = fingerprints.collect::<Option<Vec<_>>>();
        let file = self
            .step_ca_provisioner_key_file
            .as_ref()
            .ok_or_else(|| missing("STEP_CA_PROVISIONER_KEY_FILE"))?;
        let bytes = std::fs::read(file).map_err(|error| {
            let (file, reason) = (file.display(), error.kind());
            ConfigError::new(format!(
                "`STEP_CA_PROVISIONER_KEY_FILE` names `{file}`, which cannot be read: {reason}."
            ))
        })?;
        let key = ProvisionerKey::from_jwk(&bytes);
        Ok(StepCaOptions {
            url,
            fingerprints: fingerprints
                .ok_or_else(|| ConfigError::new("`STEP_CA_FINGERPRINT` must be 64 hex digits (SHA-256)."))?,
            provisioner: self.step_ca_provisioner_name.clone(),
            key: key.ok_or_else(|| ConfigError::new("`STEP_CA_PROVISIONER_KEY_FILE` holds no private P-256 JWK."))?,
        })
    }
}

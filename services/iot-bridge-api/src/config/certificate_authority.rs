//! The certificate authority: step-ca.

use std::path::{Path, PathBuf};

use clap::Args;
use common::chassis::config::{ConfigError, strong_secret};
use secrecy::SecretString;
use url::Url;

use crate::adapters::step_ca::{ProvisionerKey, ProvisionerSecret, RootFingerprint, StepCaOptions};

/// How to reach step-ca, and with which provisioner.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub struct StepCaSettings {
    /// step-ca's address; the host must be one of its DNS names.
    #[arg(long, env = "STEP_CA_URL", global = true)]
    pub step_ca_url: Option<Url>,
    /// SHA-256 of step-ca's root certificate, hex; several during a rotation, separated by commas.
    #[arg(long, env = "STEP_CA_FINGERPRINT", value_delimiter = ',', global = true)]
    pub step_ca_fingerprint: Vec<String>,
    /// The name of the JWK provisioner for devices.
    #[arg(long, env = "STEP_CA_PROVISIONER_NAME", default_value = "iot-bridge", global = true)]
    pub step_ca_provisioner_name: String,
    /// A file with the provisioner's private JWK (P-256): the better way, because step-ca then need not publish it.
    #[arg(long, env = "STEP_CA_PROVISIONER_KEY_FILE", global = true)]
    pub step_ca_provisioner_key_file: Option<PathBuf>,
    /// The password of the provisioner's private key that step-ca publishes: long and random, because whoever reaches
    /// step-ca can try others at leisure.
    #[arg(long, env = "STEP_CA_PROVISIONER_PASSWORD", hide_env_values = true, global = true)]
    pub step_ca_provisioner_password: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "STEP_CA_PROVISIONER_PASSWORD_FILE", global = true)]
    pub step_ca_provisioner_password_file: Option<PathBuf>,
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
        Ok(StepCaOptions {
            url,
            fingerprints: fingerprints
                .ok_or_else(|| ConfigError::new("`STEP_CA_FINGERPRINT` must be 64 hex digits (SHA-256)."))?,
            provisioner: self.step_ca_provisioner_name.clone(),
            secret: self.secret()?,
        })
    }

    fn secret(&self) -> Result<ProvisionerSecret, ConfigError> {
        let password = strong_secret(
            "STEP_CA_PROVISIONER_PASSWORD",
            self.step_ca_provisioner_password.as_ref(),
            self.step_ca_provisioner_password_file.as_deref(),
        )?;
        match (&self.step_ca_provisioner_key_file, password) {
            (Some(file), None) => read_key(file).map(ProvisionerSecret::Key),
            (None, Some(password)) => Ok(ProvisionerSecret::Password(password)),
            (None, None) => Err(ConfigError::new(
                "`STEP_CA_PROVISIONER_KEY_FILE` is missing, and so is `STEP_CA_PROVISIONER_PASSWORD_FILE`; nobody could \
                 sign.",
            )),
            (Some(_), Some(_)) => Err(ConfigError::new(
                "`STEP_CA_PROVISIONER_KEY_FILE` and `STEP_CA_PROVISIONER_PASSWORD` are both set; set one of them.",
            )),
        }
    }
}

fn read_key(file: &Path) -> Result<ProvisionerKey, ConfigError> {
    let bytes = std::fs::read(file).map_err(|error| {
        let (file, reason) = (file.display(), error.kind());
        ConfigError::new(format!(
            "`STEP_CA_PROVISIONER_KEY_FILE` names `{file}`, which cannot be read: {reason}."
        ))
    })?;
    ProvisionerKey::from_jwk(&bytes)
        .ok_or_else(|| ConfigError::new("`STEP_CA_PROVISIONER_KEY_FILE` holds no private P-256 JWK."))
}

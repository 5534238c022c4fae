//! What the bridge answers, as the files that the other programs read.

use std::path::{Path, PathBuf};

use common::domain::{DeviceId, Digest};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::enroll::CERTIFICATE_FILE;
use crate::identity::KEY_FILE;

/// For Telegraf's folder of further settings (`telegraf.d`): who writes, and where.
pub const TELEGRAF_FILE: &str = "telegraf.conf";
/// For rauc-hawkbit-updater (`-c`), whole.
pub const UPDATER_FILE: &str = "rauc-hawkbit-updater.conf";
/// For an MQTT client: where, and which files it proves itself with.
pub const MQTT_FILE: &str = "mqtt.json";

/// Where the updater puts a bundle while it loads.
const BUNDLE: &str = "/var/tmp/update.raucb";

/// The answer cannot be written into files, and nothing of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the configuration from the bridge is not used: {0}")]
pub struct UnusableConfiguration(&'static str);

/// What the bridge answers; what is null is not there, or not yet.
#[derive(Deserialize)]
struct Answer {
    mqtt_url: Option<String>,
    hawkbit: Option<Hawkbit>,
    influx: Option<Influx>,
}

#[derive(Deserialize)]
struct Hawkbit {
    url: String,
    tenant: String,
    target_token: String,
}

#[derive(Deserialize)]
struct Influx {
    url: String,
    org: String,
    bucket: String,
    token: String,
}

/// What the device proves itself with, for programs that want files.
#[derive(Debug)]
pub(super) struct Paths {
    certificate: PathBuf,
    key: PathBuf,
    /// Tells the certificate from the one before, so that a renewal is a change too.
    fingerprint: Digest,
}

impl Paths {
    pub(super) fn below(state: &Path, certificate_pem: &str) -> Self {
        Self {
            certificate: state.join(CERTIFICATE_FILE),
            key: state.join(KEY_FILE),
            fingerprint: Digest::of(certificate_pem.as_bytes()),
        }
    }
}

/// The content of each file; one without content is not to be there.
#[derive(Debug)]
pub(super) struct Files {
    telegraf: Option<String>,
    updater: Option<String>,
    mqtt: Option<String>,
}

impl Files {
    /// Makes the files of an answer.
    pub(super) fn of(id: &DeviceId, body: &[u8], paths: &Paths) -> Result<Self, UnusableConfiguration> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_malformed| UnusableConfiguration("it is not one"))?;
        Ok(Self {
            telegraf: answer.influx.map(|influx| telegraf(id, &influx)).transpose()?,
            updater: answer.hawkbit.map(|hawkbit| updater(id, &hawkbit)).transpose()?,
            mqtt: answer.mqtt_url.map(|url| mqtt(id, &url, paths)).transpose()?,
        })
    }

    pub(super) fn all(&self) -> [(&'static str, Option<&String>); 3] {
        [
            (TELEGRAF_FILE, self.telegraf.as_ref()),
            (UPDATER_FILE, self.updater.as_ref()),
            (MQTT_FILE, self.mqtt.as_ref()),
        ]
    }

    /// Everything in one text, to tell one state from another.
    pub(super) fn everything(&self) -> String {
        let parts = self.all().map(|(name, content)| format!("{name}\n{content:?}\n"));
        parts.concat()
    }
}

/// TOML; a JSON string without control characters is one of TOML's too (TOML 1.0, basic strings).
fn telegraf(id: &DeviceId, influx: &Influx) -> Result<String, UnusableConfiguration> {
    let Influx {
        url,
        org,
        bucket,
        token,
    } = influx;
    for value in [org, bucket, token] {
        plain(value)?;
    }
    let (url, org, bucket, token) = (
        json!(address(url)?.as_str().trim_end_matches('/')),
        json!(org),
        json!(bucket),
        json!(token),
    );
    Ok(format!(
        "[global_tags]\n  device_id = \"{id}\"\n\n[[outputs.influxdb_v2]]\n  urls = [{url}]\n  organization = {org}\n  \
         bucket = {bucket}\n  token = {token}\n  timeout = \"5s\"\n"
    ))
}

/// A key file of `GLib`; it says `host:port` and TLS apart (rauc-hawkbit-updater 1.4, `config-file.c`).
fn updater(id: &DeviceId, hawkbit: &Hawkbit) -> Result<String, UnusableConfiguration> {
    let Hawkbit {
        url,
        tenant,
        target_token,
    } = hawkbit;
    let url = address(url)?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    let host = url
        .host_str()
        .filter(|_| is_bare && matches!(url.scheme(), "http" | "https"));
    let host = host.ok_or(UnusableConfiguration("the update server has no plain address"))?;
    for value in [tenant, target_token] {
        if value.is_empty() || plain(value)?.contains(['\\', ';']) {
            return Err(UnusableConfiguration(
                "a value has characters that mean something in its file",
            ));
        }
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let is_tls = url.scheme() == "https";
    Ok(format!(
        "[client]\nhawkbit_server = {host}{port}\nssl = {is_tls}\nssl_verify = true\ntenant_id = {tenant}\n\
         target_name = {id}\nauth_token = {target_token}\nbundle_download_location = {BUNDLE}\nconnect_timeout = 20\n\
         timeout = 60\nretry_wait = 60\nlog_level = message\n\n[device]\nserialnumber = {id}\n"
    ))
}

fn mqtt(id: &DeviceId, url: &str, paths: &Paths) -> Result<String, UnusableConfiguration> {
    let file = json!({
        "url": address(url)?.as_str(), "client_id": id, "certificate": paths.certificate, "key": paths.key,
        "certificate_fingerprint": paths.fingerprint.to_string(),
    });
    Ok(format!("{file:#}\n"))
}

fn address(text: &str) -> Result<Url, UnusableConfiguration> {
    text.parse()
        .map_err(|_malformed| UnusableConfiguration("an address is none"))
}

/// A value stays on its line.
fn plain(value: &str) -> Result<&str, UnusableConfiguration> {
    if value.chars().any(char::is_control) || value.trim() != value {
        return Err(UnusableConfiguration("a value would not stay on its line"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_program_finds_what_it_needs() {
        let files = files(&answer()).unwrap();

        assert_eq!(
            files.telegraf.unwrap(),
            "[global_tags]\n  device_id = \"pump-7\"\n\n[[outputs.influxdb_v2]]\n  urls = [\"http://10.8.0.1:8086\"]\n  \
             organization = \"iot\"\n  bucket = \"telemetry\"\n  token = \"write==\"\n  timeout = \"5s\"\n"
        );
        let updater = files.updater.unwrap();
        for line in [
            "hawkbit_server = updates.example.com:8443",
            "ssl = true",
            "tenant_id = DEFAULT",
            "target_name = pump-7",
            "auth_token = secret-of-the-target",
        ] {
            assert!(updater.lines().any(|it| it == line), "{updater}");
        }
        let mqtt: Value = serde_json::from_str(&files.mqtt.unwrap()).unwrap();
        assert_eq!(mqtt["url"], "mqtts://things.example.com:8883");
        assert_eq!(mqtt["certificate"], "/state/certificate.pem");
    }

    #[test]
    fn what_is_null_has_no_file() {
        let files = files(&json!({ "mqtt_url": null, "hawkbit": null, "influx": null, "server_time": "…" })).unwrap();
        assert!(files.all().iter().all(|(_, content)| content.is_none()));
    }

    #[test]
    fn a_value_cannot_become_a_second_line() {
        let bad = [
            ("influx", "token", "a\n[[outputs.file]]"),
            ("influx", "org", " a"),
            ("hawkbit", "target_token", "a\nauth_token = b"),
            ("hawkbit", "tenant", "a\\nb"),
            ("hawkbit", "tenant", ""),
            ("hawkbit", "url", "https://updates.example.com/below"),
            ("hawkbit", "url", "ftp://updates.example.com"),
            ("hawkbit", "url", "https://name:password@updates.example.com"),
        ];
        for (part, key, value) in bad {
            let mut answer = answer();
            answer[part][key] = json!(value);
            assert!(files(&answer).is_err(), "{part} {key} {value}");
        }
        let mut quoted = answer();
        quoted["influx"]["org"] = json!("a \"b\" c");
        assert!(
            files(&quoted)
                .unwrap()
                .telegraf
                .unwrap()
                .contains(r#"organization = "a \"b\" c""#)
        );
    }

    fn answer() -> Value {
        json!({
            "mqtt_url": "mqtts://things.example.com:8883",
            "hawkbit": { "url": "https://updates.example.com:8443", "tenant": "DEFAULT",
                         "target_token": "secret-of-the-target" },
            "influx": { "url": "http://10.8.0.1:8086/", "org": "iot", "bucket": "telemetry", "token": "write==" },
            "server_time": "2026-05-01T12:00:00Z",
        })
    }

    fn files(answer: &Value) -> Result<Files, UnusableConfiguration> {
        let id = DeviceId::parse("pump-7").unwrap();
        Files::of(
            &id,
            answer.to_string().as_bytes(),
            &Paths::below(Path::new("/state"), "the certificate"),
        )
    }
}

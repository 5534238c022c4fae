//! ThingsBoard CE 4.3's REST interface, as far as the bridge uses it: the same paths, bodies and statuses, and the
//! same quirks. A device that is made without credentials gets an access token; a leaf is kept as bare base64 and
//! named by its SHA3-256; credentials belong to one device; a list is paged; nothing is ever sent twice.

mod accounts;
mod chains;
mod routes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use common::domain::Digest;
use serde_json::{Value, json};

pub use crate::mischief::Behaviour;
use crate::mischief::Mischief;
use crate::serving::{ANY_PORT, Serving};

/// A ThingsBoard that runs until it is dropped.
#[derive(Debug)]
pub struct FakeThingsBoard {
    tenant: Arc<Tenant>,
    mischief: Arc<Mischief>,
    serving: Serving,
}

/// What a tenant has.
#[derive(Debug, Default)]
struct Tenant {
    devices: Mutex<BTreeMap<String, FakeDevice>>,
    /// The names of devices by their ids, also of some that are gone.
    names: Mutex<BTreeMap<String, String>>,
    /// The tokens that are believed now.
    tokens: Mutex<Vec<String>>,
    /// Rule chains and device profiles by list and name.
    kept: Mutex<BTreeMap<(&'static str, String), Value>>,
    /// Passwords by e-mail address.
    accounts: Mutex<BTreeMap<String, String>>,
    counter: AtomicUsize,
}

/// A device as the tenant sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeDevice {
    /// Its id there.
    pub id: String,
    /// The name of its profile.
    pub profile: String,
    /// What people call it.
    pub label: Option<String>,
    /// `X509_CERTIFICATE` or `ACCESS_TOKEN`.
    pub credentials_type: String,
    /// The hash of the leaf, or the token.
    pub credentials_id: String,
    /// The leaf as bare base64.
    pub credentials_value: Option<String>,
    /// Attributes of the scope `SERVER_SCOPE`.
    pub attributes: BTreeMap<String, Value>,
    /// Points of telemetry by time and key; a point that comes again takes its own place.
    pub telemetry: BTreeMap<(i64, String), Value>,
}

impl FakeThingsBoard {
    /// The API key of the bridge.
    pub const API_KEY: &str = "tb_a-key-of-a-fake";
    /// The tenant administrator.
    pub const USER: &str = "tenant@example.com";
    /// The tenant administrator's password.
    pub const PASSWORD: &str = "a password of a fake";

    /// The system administrator, who has the password of a fresh installation.
    pub const SYSADMIN: &str = "sysadmin@thingsboard.org";

    /// Starts an empty tenant on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::start_with_seed(1).await
    }

    /// As [`start`](Self::start); the seed decides which answers are trouble.
    pub async fn start_with_seed(seed: u64) -> Self {
        Self::serve(seed, ANY_PORT).await
    }

    /// As [`start`](Self::start), at this address and without trouble: for a stage of real programs.
    pub async fn start_at(address: &str) -> Self {
        let platform = Self::serve(1, address).await;
        platform.behaves(Behaviour::Good);
        platform
    }

    async fn serve(seed: u64, address: &str) -> Self {
        let (tenant, mischief) = (Arc::new(Tenant::default()), Arc::new(Mischief::new(seed)));
        for (email, password) in [(Self::USER, Self::PASSWORD), (Self::SYSADMIN, "sysadmin")] {
            tenant.accounts().insert(email.to_owned(), password.to_owned());
        }
        let serving = Serving::start_at(address, routes::router(Arc::clone(&tenant)), &mischief).await;
        Self {
            tenant,
            mischief,
            serving,
        }
    }

    /// Returns its address.
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// Changes how it answers from now on.
    pub fn behaves(&self, behaviour: Behaviour) {
        self.mischief.set(behaviour);
    }

    /// Returns how many requests came.
    pub fn requests(&self) -> usize {
        self.mischief.requests()
    }

    /// Returns a device as it is now.
    pub fn device(&self, name: &str) -> Option<FakeDevice> {
        self.tenant.devices().get(name).cloned()
    }

    /// Lists the names of all devices.
    pub fn names(&self) -> Vec<String> {
        self.tenant.devices().keys().cloned().collect()
    }

    /// Deletes a device by hand.
    pub fn delete(&self, name: &str) {
        self.tenant.devices().remove(name);
    }

    /// Changes a device by hand, or makes one with an access token.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut FakeDevice)) {
        let fresh = self.tenant.fresh_device("iot-bridge");
        let mut devices = self.tenant.devices();
        let device = devices.entry(name.to_owned()).or_insert(fresh);
        self.tenant.names().insert(device.id.clone(), name.to_owned());
        change(device);
    }

    /// Returns a rule chain with its `metadata`, by its name.
    pub fn rule_chain(&self, name: &str) -> Option<Value> {
        self.tenant.kept().get(&("ruleChains", name.to_owned())).cloned()
    }

    /// Returns a device profile, by its name.
    pub fn device_profile(&self, name: &str) -> Option<Value> {
        self.tenant.kept().get(&("deviceProfiles", name.to_owned())).cloned()
    }

    /// Returns what is kept in a list (`tenants`, `users`, `clients`, `domains`, `dashboards`, `widgetTypes` …) under a
    /// name.
    pub fn kept(&self, list: &'static str, name: &str) -> Option<Value> {
        self.tenant.kept().get(&(list, name.to_owned())).cloned()
    }

    /// Whether somebody can log in so.
    pub fn accepts(&self, email: &str, password: &str) -> bool {
        self.tenant.accounts().get(email).is_some_and(|known| known == password)
    }

    /// Ends every token that was given out; refresh tokens stay good.
    pub fn expire_tokens(&self) {
        self.tenant.tokens().clear();
    }

    /// Returns the device that is let in with this leaf (PEM), as the MQTT transport finds it.
    pub fn lets_in(&self, leaf_pem: &str) -> Option<String> {
        let wanted = hash(&bare(leaf_pem));
        let devices = self.tenant.devices();
        let mut known = devices.iter();
        known
            .find(|(_, device)| device.credentials_type == X509 && device.credentials_id == wanted)
            .map(|(name, _)| name.clone())
    }

    /// Returns what our rule chain sends when a device connects: the five times of `CONNECT_EVENT`, with the name
    /// beside.
    pub fn connect_event(name: &str, milliseconds: i64) -> Value {
        json!({
            "event": "CONNECT_EVENT", "deviceName": name, "deviceType": "iot-bridge",
            "lastConnectTime": milliseconds, "lastActivityTime": milliseconds, "lastDisconnectTime": 0,
            "lastInactivityAlarmTime": 0, "inactivityTimeout": 600_000,
        })
    }
}

const X509: &str = "X509_CERTIFICATE";
const ACCESS_TOKEN: &str = "ACCESS_TOKEN";

impl Tenant {
    fn devices(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, FakeDevice>> {
        self.devices.lock().expect("no test panics while it holds the devices")
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.names.lock().expect("no test panics while it holds the names")
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.tokens.lock().expect("no test panics while it holds the tokens")
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, String), Value>> {
        self.kept.lock().expect("no test panics while it holds what is kept")
    }

    fn accounts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.accounts
            .lock()
            .expect("no test panics while it holds the accounts")
    }

    fn number(&self) -> usize {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn fresh_device(&self, profile: &str) -> FakeDevice {
        let number = self.number();
        FakeDevice {
            id: format!("784f394c-42b6-435a-983c-{number:012x}"),
            profile: profile.to_owned(),
            label: None,
            credentials_type: ACCESS_TOKEN.to_owned(),
            credentials_id: format!("generated-token-{number}"),
            credentials_value: None,
            attributes: BTreeMap::new(),
            telemetry: BTreeMap::new(),
        }
    }
}

/// A certificate without lines and headers.
fn bare(pem: &str) -> String {
    let text = pem
        .replace("-----BEGIN CERTIFICATE-----", "")
        .replace("-----END CERTIFICATE-----", "");
    text.replace(['\n', '\r'], "")
}

fn hash(bare: &str) -> String {
    let digest = digest::digest(&digest::SHA3_256, bare.as_bytes());
    let bytes: [u8; 32] = digest.as_ref().try_into().expect("SHA3-256 has 32 bytes");
    Digest(bytes).to_string()
}

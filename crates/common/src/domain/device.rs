use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DeviceId, Timestamp, WireguardKey};

/// A device's passport: the one record that every other system is brought in line with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "`type` is a keyword, and `device_type` is its name everywhere"
)]
pub struct Device {
    /// Its name in every system.
    pub id: DeviceId,
    /// Where it is in its life.
    pub state: DeviceState,
    /// The fleet it belongs to; decides who may see and open it.
    pub group: GroupName,
    /// What kind of device it is, as it or its token said.
    pub device_type: Option<String>,
    /// What people call it.
    pub display_name: Option<String>,
    /// Grows with every change of identity; an open session belongs to one epoch.
    pub epoch: i64,
    /// Its address as stored; [`super::VpnNetwork::device_address`] turns it into something to dial.
    pub address: Option<Ipv4Addr>,
    /// Its WireGuard public key.
    pub wireguard_key: Option<WireguardKey>,
    /// When its record was made.
    pub created_at: Timestamp,
    /// When its first enrollment was complete.
    pub enrolled_at: Option<Timestamp>,
    /// When it was decommissioned.
    pub retired_at: Option<Timestamp>,
    /// When it last proved itself (MQTT connect or mTLS).
    pub last_connected_at: Option<Timestamp>,
}

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Its intent is on record, certificate or network are not complete.
    Admitted,
    /// In service.
    Enrolled,
    /// Shut out everywhere, may come back.
    Quarantined,
    /// Decommissioned for good.
    Retired,
}

impl DeviceState {
    /// Every state, in the order of a device's life.
    pub const ALL: [Self; 4] = [Self::Admitted, Self::Enrolled, Self::Quarantined, Self::Retired];

    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Enrolled => "enrolled",
            Self::Quarantined => "quarantined",
            Self::Retired => "retired",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// The name of a fleet; a token's `groups` entry `/fleets/<name>` opens it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

/// The text is not a group name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group name is 1 to 63 characters of a-z, 0-9 and '-', and neither starts nor ends with '-'")]
pub struct InvalidGroupName;

impl GroupName {
    /// Reads a group name; its grammar is a device id's.
    pub fn parse(text: &str) -> Result<Self, InvalidGroupName> {
        DeviceId::parse(text)
            .map(|name| Self(name.into()))
            .map_err(|_| InvalidGroupName)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for GroupName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for GroupName {
    type Error = InvalidGroupName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0
    }
}

/// How long after its last handshake a tunnel can be up: WireGuard renews a used session every 120 s, and gives it up
/// after 180 s (`REJECT_AFTER_TIME`, WireGuard paper §6.1).
const TUNNEL_LIFETIME: Duration = Duration::from_mins(3);

/// Whether a device is online: its tunnel was made, and can still be up. Devices keep packets flowing.
pub fn is_online(last_handshake_at: Option<Timestamp>, now: Timestamp) -> bool {
    last_handshake_at.is_some_and(|at| now - at <= TUNNEL_LIFETIME)
}

/// What the hub last saw of a device's tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFacts {
    /// Whose tunnel.
    pub device_id: DeviceId,
    /// The key that it is made with: the device's present one, or these facts are out of date.
    pub key: WireguardKey,
    /// When the last handshake was complete; none since the peer was added.
    pub last_handshake_at: Option<Timestamp>,
    /// Where its packets come from, `address:port`.
    pub endpoint: Option<String>,
    /// Bytes from the device since the peer was added.
    pub received_bytes: i64,
    /// Bytes to the device since the peer was added.
    pub sent_bytes: i64,
}

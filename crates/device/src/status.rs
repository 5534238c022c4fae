//! What a device knows about itself.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

use common::domain::{DeviceId, Timestamp, WireguardKey};
use serde::Serialize;

use crate::enroll::Enrollment;
use crate::identity::{Identity, IdentityError};
use crate::state::StateDirectory;

/// Facts about a device, without secrets; printed as one JSON object.
#[derive(Debug, Serialize)]
pub struct Status {
    device_id: DeviceId,
    wireguard_public_key: WireguardKey,
    enrolled: bool,
    #[serde(flatten)]
    place: Option<Place>,
}

/// What came with the enrollment.
#[derive(Debug, Serialize)]
struct Place {
    address: Ipv4Addr,
    hub_endpoint: String,
    #[serde(with = "time::serde::rfc3339")]
    certificate_not_after: Timestamp,
}

impl Status {
    /// Reads the facts from a state directory, also while an agent runs with it. Blocks on the disk.
    pub fn read(directory: &Path) -> Result<Self, IdentityError> {
        let state = StateDirectory::look_at(directory)?;
        let identity = Identity::load(&state)?;
        let place = Enrollment::load(&state, &identity)?.map(|enrollment| Place {
            address: enrollment.address(),
            hub_endpoint: enrollment.network().hub_endpoint.to_string(),
            certificate_not_after: enrollment.not_after(),
        });
        Ok(Self {
            device_id: identity.id().clone(),
            wireguard_public_key: identity.wireguard_key().public_key(),
            enrolled: place.is_some(),
            place,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).expect("strings and numbers can be written as JSON");
        formatter.write_str(&json)
    }
}

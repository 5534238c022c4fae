use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Device, DeviceState, GroupName, Timestamp};

/// What a person may do, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees the devices of their groups.
    Viewer,
    /// Also opens them.
    Operator,
    /// Also changes them, and sees all groups.
    Admin,
}

/// A person whose access token was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The issuer's stable name of the person (`sub`).
    pub subject: String,
    /// The name that people know (`preferred_username`).
    pub username: String,
    /// The strongest role that the token carries.
    pub role: Role,
    /// The fleets of the token (`groups`: `/fleets/<name>`).
    pub groups: BTreeSet<GroupName>,
    /// When the token ends; nothing that it allowed outlives it.
    #[serde(with = "time::serde::timestamp")]
    pub expires_at: Timestamp,
}

impl Operator {
    /// Whether this person may know that the device exists.
    pub fn may_see(&self, device: &Device) -> bool {
        self.sees_group(&device.group)
    }

    /// Whether this person may have a shell on the device: operator or admin, of the device's group,
    /// and the device is in service. Every door to a shell asks this and nothing else.
    pub fn may_open(&self, device: &Device) -> bool {
        self.role >= Role::Operator && self.may_see(device) && device.state == DeviceState::Enrolled
    }

    /// Whether this person sees a group's devices.
    pub fn sees_group(&self, group: &GroupName) -> bool {
        self.role == Role::Admin || self.groups.contains(group)
    }
}

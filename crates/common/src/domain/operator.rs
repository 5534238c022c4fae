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

    /// The groups of a list that this person sees, out of those `wanted`; none means all, in and out.
    pub fn seen_groups(&self, wanted: Option<BTreeSet<GroupName>>) -> Option<BTreeSet<GroupName>> {
        match (self.role, wanted) {
            (Role::Admin, wanted) => wanted,
            (Role::Viewer | Role::Operator, None) => Some(self.groups.clone()),
            (Role::Viewer | Role::Operator, Some(wanted)) => Some(self.groups.intersection(&wanted).cloned().collect()),
        }
    }

    /// Whether this person sees a group's devices.
    pub fn sees_group(&self, group: &GroupName) -> bool {
        self.role == Role::Admin || self.groups.contains(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_no_groups_but_those_that_a_person_sees() {
        let groups = |names: &[&str]| -> BTreeSet<_> { names.iter().map(|it| GroupName::parse(it).unwrap()).collect() };
        let seen = |role, wanted: Option<&[&str]>| {
            let operator = Operator {
                subject: "1".to_owned(),
                username: "ann".to_owned(),
                role,
                groups: groups(&["north", "south"]),
                expires_at: Timestamp::UNIX_EPOCH,
            };
            operator.seen_groups(wanted.map(groups))
        };

        for role in [Role::Viewer, Role::Operator] {
            assert_eq!(seen(role, None), Some(groups(&["north", "south"])));
            assert_eq!(seen(role, Some(&["north", "east"])), Some(groups(&["north"])));
            assert_eq!(seen(role, Some(&["east"])), Some(groups(&[])));
        }
        assert_eq!(seen(Role::Admin, None), None);
        assert_eq!(seen(Role::Admin, Some(&["east"])), Some(groups(&["east"])));
    }
}

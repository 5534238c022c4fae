use std::collections::BTreeMap;
use std::str::FromStr;

use common::domain::GroupName;

/// Whether sessions are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum RecordingPolicy {
    /// They are not.
    #[default]
    Off,
    /// They are; when that fails, they go on without.
    On,
    /// They are; what cannot be recorded does not begin, and ends when the recording does.
    Required,
}

/// Which sessions are recorded, by the fleet of their device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordingRules {
    /// For every fleet that has no rule of its own.
    pub policy: RecordingPolicy,
    /// The fleets that have one.
    pub by_group: BTreeMap<GroupName, RecordingPolicy>,
    /// Whether keys are recorded as well as output. Passwords are among them.
    pub with_input: bool,
    /// Longest recording, in bytes.
    pub max_bytes: u64,
}

/// The text is not `group=off|on|required,…`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form `group=off`, `group=on` or `group=required`")]
pub struct InvalidRecordingRules(String);

impl RecordingRules {
    /// Reads rules of single fleets, separated by commas.
    pub fn parse_groups(text: &str) -> Result<BTreeMap<GroupName, RecordingPolicy>, InvalidRecordingRules> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(parse_group).collect()
    }

    pub(crate) fn policy_for(&self, group: &GroupName) -> RecordingPolicy {
        self.by_group.get(group).copied().unwrap_or(self.policy)
    }

    /// Whether anything is ever recorded.
    pub fn record_anything(&self) -> bool {
        let policies = self.by_group.values().chain([&self.policy]);
        policies.into_iter().any(|policy| *policy != RecordingPolicy::Off)
    }
}

impl FromStr for RecordingPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        <Self as clap::ValueEnum>::from_str(text, false).map_err(drop)
    }
}

fn parse_group(entry: &str) -> Result<(GroupName, RecordingPolicy), InvalidRecordingRules> {
    let parsed = entry
        .split_once('=')
        .and_then(|(group, policy)| Some((GroupName::parse(group.trim()).ok()?, policy.trim().parse().ok()?)));
    parsed.ok_or_else(|| InvalidRecordingRules(entry.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_has_its_own_rule_or_everybodys() {
        let rules = RecordingRules {
            policy: RecordingPolicy::On,
            by_group: RecordingRules::parse_groups("prod=required, lab = off").unwrap(),
            ..RecordingRules::default()
        };
        let policy = |group| rules.policy_for(&GroupName::parse(group).unwrap());

        assert_eq!(policy("prod"), RecordingPolicy::Required);
        assert_eq!(policy("lab"), RecordingPolicy::Off);
        assert_eq!(policy("default"), RecordingPolicy::On);
        for wrong in ["prod", "prod=maybe", "Prod=on", "=on", "prod=on=off"] {
            assert!(RecordingRules::parse_groups(wrong).is_err(), "{wrong}");
        }
    }
}

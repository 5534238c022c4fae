use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use common::chassis::config::ConfigError;

use crate::adapters::RecordingFolder;
use crate::ports::RecordingShelf;
use crate::recording::{RecordingPolicy, RecordingRules};

/// What is recorded, and where.
#[derive(Debug, Clone, Args)]
pub struct RecordingSettings {
    /// Whether sessions are recorded. With `required`, what cannot be recorded does not begin, and ends when the
    /// recording does.
    #[arg(long, env = "RECORDING", value_enum, default_value_t = RecordingPolicy::Off, global = true)]
    pub recording: RecordingPolicy,
    /// Fleets with a rule of their own, separated by commas, for example `production=required,lab=off`.
    #[arg(long, env = "RECORDING_BY_GROUP", default_value = "", global = true)]
    pub recording_by_group: String,
    /// The folder of the recordings; made when it is missing, and readable by its owner only.
    #[arg(long, env = "RECORDING_DIR", global = true)]
    pub recording_dir: Option<PathBuf>,
    /// Whether keys are recorded as well as output. Passwords are among them.
    #[arg(long, env = "RECORDING_INPUT", default_value_t = false, action = clap::ArgAction::Set, global = true)]
    pub recording_input: bool,
    /// How long recordings are kept, in days; 0 for ever.
    #[arg(long, env = "RECORDING_RETENTION_DAYS", default_value_t = 30, global = true)]
    pub recording_retention_days: u32,
    /// Longest recording, in MiB; then it counts as failed.
    #[arg(long, env = "RECORDING_MAX_MIB", default_value_t = 1024, global = true)]
    pub recording_max_mib: u32,
}

impl RecordingSettings {
    pub(super) fn rules(&self) -> Result<RecordingRules, ConfigError> {
        let by_group = RecordingRules::parse_groups(&self.recording_by_group)
            .map_err(|error| ConfigError::new(format!("`RECORDING_BY_GROUP` is wrong: {error}.")))?;
        let rules = RecordingRules {
            policy: self.recording,
            by_group,
            with_input: self.recording_input,
            max_bytes: u64::from(self.recording_max_mib) * 1024 * 1024,
        };
        if rules.record_anything() && self.recording_dir.is_none() {
            return Err(ConfigError::new(
                "Sessions are to be recorded, and `RECORDING_DIR` does not say where.",
            ));
        }
        if self.recording_max_mib == 0 {
            return Err(ConfigError::new("`RECORDING_MAX_MIB` has to be at least 1."));
        }
        Ok(rules)
    }

    pub(super) fn retention(&self) -> Option<Duration> {
        let days = self.recording_retention_days;
        (days > 0).then(|| Duration::from_hours(24 * u64::from(days)))
    }

    /// Opens the folder, if there is one.
    pub fn open(&self) -> Result<Option<Arc<dyn RecordingShelf>>, ConfigError> {
        let Some(folder) = &self.recording_dir else {
            return Ok(None);
        };
        match RecordingFolder::open(folder) {
            Ok(opened) => Ok(Some(Arc::new(opened))),
            Err(error) => Err(ConfigError::new(format!("`RECORDING_DIR` cannot be used: {error}."))),
        }
    }
}

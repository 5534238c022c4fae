//! What the scenarios are told from outside.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::scenarios::{SCENARIOS, Scenario};

/// Plays scenarios against the real servers, which `tests/real/run` installs.
#[derive(Debug, Parser)]
pub(crate) struct Config {
    /// The scenarios to play; all of them without a name.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|(name, _)| *name)))]
    names: Vec<String>,
    /// Play campaigns in full size, which takes up to half an hour each.
    #[arg(long)]
    pub(crate) full: bool,
    /// Where the servers are installed [default: iot-bridge-real in the user's cache folder].
    #[arg(long, env = "IOT_BRIDGE_REAL_CACHE")]
    cache: Option<PathBuf>,
    /// The user's cache folder (XDG Base Directory specification).
    #[arg(long, env = "XDG_CACHE_HOME", hide = true)]
    user_cache: Option<PathBuf>,
    /// The user's home.
    #[arg(long, env = "HOME", hide = true)]
    home: PathBuf,
}

impl Config {
    /// Returns the chosen rows of the table, in its order.
    pub(crate) fn scenarios(&self) -> Vec<(&'static str, Scenario)> {
        let chosen = |name: &str| self.names.is_empty() || self.names.iter().any(|chosen| chosen == name);
        SCENARIOS.iter().copied().filter(|(name, _)| chosen(name)).collect()
    }

    /// Returns the folder that the servers are installed in.
    pub(crate) fn cache(&self) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| {
            let user_cache = self.user_cache.clone().unwrap_or_else(|| self.home.join(".cache"));
            user_cache.join("iot-bridge-real")
        })
    }
}

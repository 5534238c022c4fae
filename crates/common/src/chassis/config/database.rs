//! Where the database is.

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ConfigError, secret};

/// The database of a service.
#[derive(Debug, Clone, Args)]
pub struct DatabaseSettings {
    /// The database: `sqlite:///absolute/path` for one process, `postgres://user@host/database` for more, shared by
    /// both services; `sqlite:///var/lib/iot-bridge/bridge.db` unless set.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// A file with it: where it has a password in it, nobody then sees that among the process's settings.
    #[arg(long, global = true, env = "DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
}

impl DatabaseSettings {
    /// What is used when nobody says otherwise.
    pub const DEFAULT: &str = "sqlite:///var/lib/iot-bridge/bridge.db";

    /// Returns the database's address.
    pub fn url(&self) -> Result<SecretString, ConfigError> {
        let url = secret(
            "DATABASE_URL",
            self.database_url.as_ref(),
            self.database_url_file.as_deref(),
        )?;
        let url = url.unwrap_or_else(|| Self::DEFAULT.into());
        let scheme = url.expose_secret().split_once(':').map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| ["sqlite", "postgres", "postgresql"].contains(&scheme)) {
            return Err(ConfigError::new(
                "`DATABASE_URL` has to begin with `sqlite:` or `postgres://`.",
            ));
        }
        Ok(url)
    }

    /// Whether it is a file, which belongs to one process.
    pub fn is_file(&self) -> Result<bool, ConfigError> {
        Ok(self.url()?.expose_secret().starts_with("sqlite:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_comes_from_a_setting_or_from_a_file_and_not_from_both() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "postgres://bridge:hunter2@db/bridge\n").unwrap();
        let settings = |url: Option<&str>, file: Option<&PathBuf>| DatabaseSettings {
            database_url: url.map(SecretString::from),
            database_url_file: file.cloned(),
        };
        let url = |settings: DatabaseSettings| settings.url().map(|url| url.expose_secret().to_owned());

        assert_eq!(url(settings(None, None)).unwrap(), DatabaseSettings::DEFAULT);
        assert_eq!(url(settings(Some("sqlite:///a"), None)).unwrap(), "sqlite:///a");
        assert_eq!(
            url(settings(None, Some(&file))).unwrap(),
            "postgres://bridge:hunter2@db/bridge"
        );
        assert!(url(settings(Some("sqlite:///a"), Some(&file))).is_err());
        assert!(url(settings(Some("mysql://root@db/bridge"), None)).is_err());
        assert!(url(settings(Some("/var/lib/bridge.db"), None)).is_err());
        assert!(!format!("{:?}", settings(Some("postgres://x:hunter2@db/b"), None)).contains("hunter2"));
    }
}

//! Secrets from a setting or from the file that its twin `…_FILE` names.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::ConfigError;

/// Shortest secret that machines share with us, in bytes.
const SHORTEST_STRONG: usize = 16;

/// What products and examples come with, in lower case; whoever scans the net tries these first.
const KNOWN_DEFAULTS: [&str; 18] = [
    "123456",
    "12345678",
    "admin",
    "adminadmin",
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "changemechangeme",
    "default",
    "demo",
    "insecure",
    "password",
    "secret",
    "supersecret",
    "sysadmin",
    "tenant",
    "test",
];

/// Reads a secret that another system defines, such as a password there. `name` is the setting; the value
/// and the file are what was given for it and for its twin `<name>_FILE`.
///
/// Refused are both at once, an empty one, and passwords that products come with.
pub fn secret(
    name: &'static str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ConfigError> {
    let secret = match (value, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(ConfigError::new(format!(
                "`{name}` and `{name}_FILE` are both set; set one of them."
            )));
        }
        (Some(value), None) => value.clone(),
        (None, Some(file)) => read_file(name, file)?,
    };
    check_not_default(name, secret.expose_secret())?;
    Ok(Some(secret))
}

/// Reads a secret that we define, such as a webhook secret: as [`secret`], and at least 16 bytes.
pub fn strong_secret(
    name: &'static str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ConfigError> {
    let secret = secret(name, value, file)?;
    if secret
        .as_ref()
        .is_some_and(|secret| secret.expose_secret().len() < SHORTEST_STRONG)
    {
        return Err(ConfigError::new(format!(
            "`{name}` is shorter than {SHORTEST_STRONG} bytes; `openssl rand -hex 32` makes a good one."
        )));
    }
    Ok(secret)
}

/// One line end at the end belongs to the editor, anything else to the secret.
fn read_file(name: &str, file: &Path) -> Result<SecretString, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let (file, reason) = (file.display(), error.kind());
        ConfigError::new(format!(
            "`{name}_FILE` names `{file}`, which cannot be read as text: {reason}."
        ))
    })?;
    let text = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(text.into())
}

fn check_not_default(name: &str, secret: &str) -> Result<(), ConfigError> {
    if secret.is_empty() {
        return Err(ConfigError::new(format!("`{name}` is empty; set it or leave it out.")));
    }
    if KNOWN_DEFAULTS.contains(&secret.to_ascii_lowercase().as_str()) {
        return Err(ConfigError::new(format!(
            "`{name}` is a well-known default; choose a secret of your own."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const NAME: &str = "WEBHOOK_SECRET";

    #[test]
    fn a_secret_comes_from_the_setting_or_from_its_file() {
        let file = file_with("0123456789abcdef\n");

        let from_setting = strong_secret(NAME, Some(&"0123456789abcdef".into()), None)
            .unwrap()
            .unwrap();
        let from_file = strong_secret(NAME, None, Some(file.path())).unwrap().unwrap();

        assert_eq!(from_setting.expose_secret(), from_file.expose_secret());
        assert!(strong_secret(NAME, None, None).unwrap().is_none());
    }

    #[test]
    fn one_line_end_of_a_file_is_dropped_and_nothing_else() {
        for (content, expected) in [("x y", "x y"), ("x y\r\n", "x y"), ("x y\n\n", "x y\n"), (" x ", " x ")] {
            let file = file_with(content);
            let read = secret(NAME, None, Some(file.path())).unwrap().unwrap();
            assert_eq!(read.expose_secret(), expected, "{content:?}");
        }
    }

    #[test]
    fn both_at_once_is_a_mistake() {
        let file = file_with("0123456789abcdef");

        let error = secret(NAME, Some(&"0123456789abcdef".into()), Some(file.path())).unwrap_err();

        assert_eq!(
            error.to_string(),
            "`WEBHOOK_SECRET` and `WEBHOOK_SECRET_FILE` are both set; set one of them."
        );
    }

    #[test]
    fn defaults_are_refused_and_the_sentence_does_not_repeat_them() {
        for default in ["changeme", "Admin", "PASSWORD", "secret", ""] {
            let error = secret(NAME, Some(&default.into()), None).unwrap_err().to_string();
            assert!(error.starts_with("`WEBHOOK_SECRET` is "), "{error}");
            assert!(
                default.is_empty() || !error.contains(default) || default == "secret",
                "{error}"
            );
        }
    }

    #[test]
    fn a_short_secret_is_refused_only_where_we_define_it() {
        assert!(secret(NAME, Some(&"tr0ub4dor".into()), None).is_ok());
        assert!(strong_secret(NAME, Some(&"tr0ub4dor".into()), None).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = secret(NAME, None, Some(Path::new("/nonexistent/webhook"))).unwrap_err();

        assert!(error.to_string().contains("/nonexistent/webhook"), "{error}");
    }

    fn file_with(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }
}

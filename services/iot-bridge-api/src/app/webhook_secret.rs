//! The secrets of those who send us messages: several are good at a time, so that one can be replaced by the next.

use aws_lc_rs::{constant_time, digest};
use secrecy::{ExposeSecret as _, SecretString};

/// The secrets of one sender; none means that nobody may send.
#[derive(Debug, Default)]
pub struct WebhookSecrets(Vec<SecretString>);

impl WebhookSecrets {
    /// Accepts any of these.
    pub fn new(secrets: Vec<SecretString>) -> Self {
        Self(secrets)
    }

    /// Whether the text is one of the secrets; how long that takes tells nothing about them.
    pub fn accept(&self, text: &str) -> bool {
        let presented = digest::digest(&digest::SHA256, text.as_bytes());
        let same = |secret: &&SecretString| {
            let known = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
            constant_time::verify_slices_are_equal(known.as_ref(), presented.as_ref()).is_ok()
        };
        self.0.iter().filter(same).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_secrets_is_good_and_nothing_else_is() {
        let secrets = WebhookSecrets::new(vec!["new".into(), "old".into()]);
        assert!(secrets.accept("new") && secrets.accept("old"));
        assert!(!secrets.accept("") && !secrets.accept("older") && !secrets.accept("ne"));
        assert!(!WebhookSecrets::default().accept(""));
    }
}

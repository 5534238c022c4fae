use std::collections::HashMap;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::config::UserConfig;
use crate::random::random_bytes;

/// The users' passwords, as tags under a key that lives and dies with the process.
pub(crate) struct Passwords {
    key: hmac::Key,
    tags: HashMap<String, hmac::Tag>,
    /// The tag of nobody's password: an unknown name costs what a wrong password costs.
    nobody: hmac::Tag,
}

impl Passwords {
    pub(crate) fn new(users: &[UserConfig]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes());
        let tag = |user: &UserConfig| hmac::sign(&key, user.password.expose_secret().as_bytes());
        let tags = users.iter().map(|user| (user.username.clone(), tag(user))).collect();
        Self {
            tags,
            nobody: hmac::sign(&key, &random_bytes()),
            key,
        }
    }

    /// Whether this is the user's password; takes as long whether it is or not.
    pub(crate) fn match_user(&self, username: &str, password: &SecretString) -> bool {
        let expected = self.tags.get(username).unwrap_or(&self.nobody);
        // `hmac::verify` compares in constant time.
        hmac::verify(&self.key, password.expose_secret().as_bytes(), expected.as_ref()).is_ok()
    }
}

//! Secrets of devices that the database keeps for us without knowing them.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use common::domain::DeviceId;
use secrecy::{ExposeSecret as _, SecretString};

/// Seals (AES-256-GCM), for one device each: what was sealed for one does not open for another.
pub struct Seal(RandomizedNonceKey);

impl Seal {
    /// Length of the key, in bytes.
    pub const KEY_LENGTH: usize = 32;

    /// Takes a key that is used for nothing else.
    pub fn new(key: &[u8; Self::KEY_LENGTH]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key has the cipher's length"))
    }

    /// Returns what is stored: the nonce, and the secret sealed under it.
    pub fn close(&self, id: &DeviceId, secret: &SecretString) -> Vec<u8> {
        let mut sealed = secret.expose_secret().as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(id.as_str()), &mut sealed)
            .expect("a secret is far shorter than the cipher's limit");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Returns the secret; none when it was sealed under another key, or for another device, or is damaged.
    pub fn open(&self, id: &DeviceId, stored: &[u8]) -> Option<SecretString> {
        let (nonce, sealed) = stored.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(id.as_str()), &mut sealed).ok()?;
        std::str::from_utf8(plain).ok().map(SecretString::from)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_and_only_for_the_same_device() {
        let id = |text| DeviceId::parse(text).unwrap();
        let (seal, other) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));

        let stored = seal.close(&id("pump-7"), &"a secret".into());

        assert_eq!(seal.open(&id("pump-7"), &stored).unwrap().expose_secret(), "a secret");
        assert!(seal.open(&id("pump-8"), &stored).is_none());
        assert!(other.open(&id("pump-7"), &stored).is_none());
        assert!(seal.open(&id("pump-7"), &stored[1..]).is_none());
        assert!(seal.open(&id("pump-7"), b"").is_none());
        assert_ne!(seal.close(&id("pump-7"), &"a secret".into()), stored);
    }
}

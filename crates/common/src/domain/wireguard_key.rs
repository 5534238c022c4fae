use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};

/// A WireGuard public key (Curve25519, RFC 7748) in its canonical form.
///
/// Refused are keys that are not 32 bytes of canonical base64, not below 2^255 − 19, or of low order:
/// several encodings of one key would get past a uniqueness check, and a low-order key makes every
/// shared secret zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireguardKey([u8; 32]);

/// The text is not a usable WireGuard public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable WireGuard public key (44 characters of base64 for a canonical Curve25519 point)")]
pub struct InvalidWireguardKey;

impl WireguardKey {
    /// Reads the base64 form that `wg pubkey` prints.
    pub fn parse(text: &str) -> Result<Self, InvalidWireguardKey> {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidWireguardKey)?;
        Self::from_bytes(bytes.try_into().map_err(|_| InvalidWireguardKey)?)
    }

    /// Checks 32 raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidWireguardKey> {
        if is_canonical(&bytes) && !LOW_ORDER.contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(InvalidWireguardKey)
        }
    }

    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the base64 form.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

/// The points of low order on Curve25519 and its twist, in their canonical form: 0, 1, the two of order 8, and p − 1
/// (<https://cr.yp.to/ecdh.html#validate>). A list, because trying one costs as much as a handshake and a hub has 60,000.
#[rustfmt::skip]
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
        0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
        0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

/// Whether the little-endian number is below the field prime 2^255 − 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    bytes.iter().rev().lt(prime.iter().rev())
}

impl fmt::Display for WireguardKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_base64())
    }
}

impl fmt::Debug for WireguardKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WireguardKey({self})")
    }
}

impl TryFrom<String> for WireguardKey {
    type Error = InvalidWireguardKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<WireguardKey> for String {
    fn from(key: WireguardKey) -> Self {
        key.to_base64()
    }
}

/// A WireGuard private key; it is wiped when dropped and never printed.
pub struct WireguardPrivateKey(SecretBox<[u8; 32]>);

impl WireguardPrivateKey {
    /// Makes a fresh key from the operating system's randomness.
    pub fn generate() -> Self {
        Self(SecretBox::init_with_mut(|bytes: &mut [u8; 32]| {
            aws_lc_rs::rand::fill(bytes).expect("the operating system gives randomness");
        }))
    }

    /// Reads the base64 form that `wg genkey` prints.
    pub fn parse(text: &str) -> Result<Self, InvalidWireguardKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidWireguardKey)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| InvalidWireguardKey)?;
        Ok(Self(SecretBox::new(Box::new(bytes))))
    }

    /// Returns the public half.
    pub fn public_key(&self) -> WireguardKey {
        let secret = StaticSecret::from(*self.0.expose_secret());
        WireguardKey(PublicKey::from(&secret).to_bytes())
    }

    /// Returns the raw bytes, for the tunnel implementation only.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// Returns the base64 form, for a key file or a device's configuration only.
    pub fn to_base64(&self) -> SecretString {
        SecretString::from(STANDARD.encode(self.0.expose_secret()))
    }
}

impl fmt::Debug for WireguardPrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WireguardPrivateKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_survives_its_text_form() {
        let private = WireguardPrivateKey::generate();
        let public = private.public_key();

        assert_eq!(WireguardKey::parse(&public.to_base64()), Ok(public));
        let again = WireguardPrivateKey::parse(private.to_base64().expose_secret()).unwrap();
        assert_eq!(again.public_key(), public);
    }

    #[test]
    fn low_order_and_non_canonical_points_are_refused() {
        let mut prime = [0xff_u8; 32];
        prime[0] = 0xed;
        prime[31] = 0x7f;
        let mut prime_plus_one = prime;
        prime_plus_one[0] = 0xee;
        let mut high_bit = *WireguardPrivateKey::generate().public_key().as_bytes();
        high_bit[31] |= 0x80;
        for bytes in LOW_ORDER {
            // What makes them so: any clamped scalar sends them to zero (RFC 7748 §6.1).
            let probe = StaticSecret::from([0x42; 32]).diffie_hellman(&PublicKey::from(bytes));
            assert!(!probe.was_contributory() && is_canonical(&bytes), "{bytes:02x?}");
        }
        let others = [prime, prime_plus_one, high_bit, [0xff; 32]];
        for bytes in LOW_ORDER.into_iter().chain(others) {
            assert_eq!(
                WireguardKey::from_bytes(bytes),
                Err(InvalidWireguardKey),
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn text_that_is_more_than_one_key_is_refused() {
        let key = WireguardPrivateKey::generate().public_key().to_base64();
        for text in [
            "",
            "AAAA",
            &format!("{key}\n"),
            &format!("{key}\nAllowedIPs = 0.0.0.0/0"),
            &format!(" {key}"),
        ] {
            assert_eq!(WireguardKey::parse(text), Err(InvalidWireguardKey), "{text:?}");
        }
    }

    #[test]
    fn a_private_key_is_not_printed() {
        let private = WireguardPrivateKey::generate();
        assert!(!format!("{private:?}").contains(private.to_base64().expose_secret()));
    }
}

//! A ticket carries the access token behind it to whichever process redeems it, and the database does not learn it: the
//! token is sealed with the ticket's secret, of which the record holds the hash only.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use common::domain::Digest;
use secrecy::{ExposeSecret as _, SecretString};

/// Sets the key apart from the hash under which the ticket is on record.
const PURPOSE: &[u8] = b"the access token behind a ticket\0";

/// Seals a token with a ticket's secret.
pub(super) fn seal(token: &SecretString, secret: &SecretString) -> Vec<u8> {
    let mut sealed = token.expose_secret().as_bytes().to_vec();
    let nonce = key(secret)
        .seal_in_place_append_tag(Aad::empty(), &mut sealed)
        .expect("a token is short");
    [nonce.as_ref().as_slice(), &sealed].concat()
}

/// Opens what was sealed with this secret; none when it was not.
pub(super) fn unseal(sealed: &[u8], secret: &SecretString) -> Option<SecretString> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut sealed = sealed.to_vec();
    let token = key(secret)
        .open_in_place(Nonce::from(nonce), Aad::empty(), &mut sealed)
        .ok()?;
    std::str::from_utf8(token).ok().map(SecretString::from)
}

fn key(secret: &SecretString) -> RandomizedNonceKey {
    let key = Digest::of(&[PURPOSE, secret.expose_secret().as_bytes()].concat());
    RandomizedNonceKey::new(&AES_256_GCM, &key.0).expect("a hash has the length of a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_out_with_the_secret_that_it_went_in_with_and_no_other() {
        let (token, secret) = ("header.claims.signature".into(), "secret of a ticket".into());
        let mut sealed = seal(&token, &secret);

        assert_eq!(unseal(&sealed, &secret).unwrap().expose_secret(), token.expose_secret());
        assert!(!sealed.windows(6).any(|bytes| bytes == b"claims"));
        assert!(unseal(&sealed, &"another".into()).is_none());
        assert!(unseal(&sealed[..5], &secret).is_none());
        sealed[20] ^= 1;
        assert!(unseal(&sealed, &secret).is_none());
    }
}

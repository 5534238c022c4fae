use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::failure::Failure;

/// Makes a password that nobody guesses and no file holds.
pub(crate) fn random_password() -> Result<SecretString, Failure> {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).map_err(|_| Failure::new("the operating system has no random numbers"))?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}

use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::MAX_KEY_ID_LENGTH;
use super::{Algorithm, TokenError};
use crate::chassis::json;

/// What counts of a JOSE header (RFC 7515 §4).
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

/// Members that change what the token means (`crit`, `b64`, `zip`; RFC 7515 §4.1.11, RFC 7797, RFC 7516
/// §4.1.3) or that bring a key along (`jwk`). `jku`, `x5u` and the rest are not looked at: they say where a
/// key might be, and keys come from nowhere but the configured issuer (RFC 8725 §3.10).
const REFUSED_MEMBERS: [&str; 4] = ["crit", "b64", "zip", "jwk"];

#[derive(Deserialize)]
struct Members {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        let members: Map<String, Value> =
            json::parse(bytes).map_err(|_| TokenError::Invalid("the header is no strict JSON object"))?;
        if REFUSED_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(TokenError::Invalid("header member not allowed"));
        }
        let Members { alg, kid, typ } = serde_json::from_value(Value::Object(members))
            .map_err(|_| TokenError::Invalid("a header member is missing or malformed"))?;
        let algorithm = Algorithm::parse(&alg).ok_or(TokenError::Invalid("algorithm not allowed"))?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KEY_ID_LENGTH) {
            return Err(TokenError::Invalid("key id too long"));
        }
        if !typ.is_none_or(|typ| is_access_token_type(&typ)) {
            return Err(TokenError::Invalid("header type is not an access token's"));
        }
        Ok(Self { algorithm, key_id: kid })
    }
}

/// Keycloak writes `JWT`, RFC 9068 §2.1 asks for `at+jwt`; media types are case-insensitive.
fn is_access_token_type(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt")
}

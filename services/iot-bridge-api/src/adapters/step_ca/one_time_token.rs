//! step-ca's one-time tokens: a JWT (RFC 7519) that allows one thing once, signed with the provisioner's key.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::domain::{DeviceId, Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

/// How long a token is good: what smallstep's own client uses.
const LIFETIME_SECONDS: i64 = 300;

/// A JWK provisioner's private key (P-256), and the name that step-ca finds its public half by.
pub struct ProvisionerKey {
    key: EcdsaKeyPair,
    kid: String,
}

/// A private JWK (RFC 7517, RFC 7518 §6.2); what else it says does not matter.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    d: String,
    kid: Option<String>,
}

impl ProvisionerKey {
    /// Reads a private JWK; none when it is another kind of key, or its halves do not belong together.
    pub fn from_jwk(json: &[u8]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_slice(json).ok()?;
        if jwk.kty != "EC" || jwk.crv != "P-256" {
            return None;
        }
        let [x, y, d] = [&jwk.x, &jwk.y, &jwk.d].map(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let point = [&[4][..], &x?, &y?].concat();
        let key = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d?, &point).ok()?;
        Some(Self {
            key,
            kid: jwk.kid.unwrap_or_else(|| thumbprint(&jwk.x, &jwk.y)),
        })
    }
}

impl std::fmt::Debug for ProvisionerKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ProvisionerKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// RFC 7638, which step-ca uses as key id.
fn thumbprint(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(Digest::of(canonical.as_bytes()).0)
}

/// What a token says (RFC 7519 §4.1), with step-ca's own two.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: String,
    sub: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    /// The names that may be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    sans: Option<[&'a str; 1]>,
    /// The only request that may be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

#[derive(Serialize)]
struct Confirmation {
    #[serde(rename = "x5rt#S256")]
    request: String,
}

/// Makes tokens.
#[derive(Debug)]
pub struct Minter {
    key: ProvisionerKey,
    /// The header of every token, encoded.
    header: String,
    public_key: Digest,
    provisioner: String,
    base: String,
}

impl Minter {
    /// Speaks for a provisioner of the authority at this address.
    pub fn new(key: ProvisionerKey, provisioner: String, url: &Url) -> Self {
        let public_key = key.key.public_key().as_der().expect("a P-256 key can be written");
        let header = json!({ "alg": "ES256", "kid": key.kid, "typ": "JWT" });
        Self {
            public_key: Digest::of(public_key.as_ref()),
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            key,
            provisioner,
            base: url.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// Returns the digest of the provisioner's public key (subject public key info).
    pub(super) fn public_key(&self) -> Digest {
        self.public_key
    }

    /// Allows one certificate for these names and this one request, which only `cnf` binds.
    pub fn for_signing(&self, id: &DeviceId, csr_der: &[u8], now: Timestamp) -> String {
        let request = URL_SAFE_NO_PAD.encode(Digest::of(csr_der).0);
        self.sign(&Claims {
            sans: Some([id.as_str()]),
            cnf: Some(Confirmation { request }),
            ..self.claims("1.0/sign", id.as_str(), now)
        })
    }

    /// Allows to revoke one serial number (decimal).
    pub(super) fn for_revoking(&self, serial: &str, now: Timestamp) -> String {
        self.sign(&self.claims("1.0/revoke", serial, now))
    }

    fn claims<'a>(&'a self, path: &str, subject: &'a str, now: Timestamp) -> Claims<'a> {
        let now = now.unix_timestamp();
        Claims {
            iss: &self.provisioner,
            aud: format!("{}/{path}", self.base),
            sub: subject,
            iat: now,
            nbf: now,
            exp: now + LIFETIME_SECONDS,
            jti: random_id(),
            sans: None,
            cnf: None,
        }
    }

    fn sign(&self, claims: &Claims<'_>) -> String {
        let claims = serde_json::to_vec(claims).expect("there are only texts and integers");
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .key
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .expect("a P-256 key can sign");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// 128 random bits: step-ca spends an id before it checks the signature, so nobody may guess one.
fn random_id() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    const NOW: Timestamp = datetime!(2026-05-01 12:00 UTC);
    /// The key of RFC 7517 appendix A.2.
    const JWK: &str = r#"{"kty":"EC","crv":"P-256","use":"enc","kid":"1",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

    #[test]
    fn a_token_for_signing_allows_one_request_and_its_names_only() {
        let token = minter("https://ca.example:9000/").for_signing(&id(), b"csr", NOW);
        let (header, claims) = verify(&token);

        assert_eq!(header, json!({ "alg": "ES256", "kid": "1", "typ": "JWT" }));
        assert_eq!(claims["iss"], "iot-bridge");
        assert_eq!(claims["aud"], "https://ca.example:9000/1.0/sign");
        assert_eq!(
            (&claims["sub"], &claims["sans"]),
            (&json!("pump-7"), &json!(["pump-7"]))
        );
        assert_eq!(claims["cnf"]["x5rt#S256"], URL_SAFE_NO_PAD.encode(Digest::of(b"csr").0));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert_eq!(claims["nbf"], claims["iat"]);
    }

    #[test]
    fn a_token_for_revoking_is_for_the_serial_and_has_no_names() {
        let (_, claims) = verify(&minter("https://ca.example").for_revoking("7982", NOW));

        assert_eq!(claims["aud"], "https://ca.example/1.0/revoke");
        assert_eq!(claims["sub"], "7982");
        assert!(claims.get("sans").is_none());
    }

    #[test]
    fn two_tokens_have_different_random_ids() {
        let minter = minter("https://ca.example");
        let ids = [(); 2].map(|()| verify(&minter.for_signing(&id(), b"csr", NOW)).1["jti"].clone());

        assert_ne!(ids[0], ids[1]);
        assert_eq!(URL_SAFE_NO_PAD.decode(ids[0].as_str().unwrap()).unwrap().len(), 16);
    }

    #[test]
    fn a_key_without_a_name_is_called_by_its_thumbprint() {
        let key = ProvisionerKey::from_jwk(JWK.replace(r#""kid":"1","#, "").as_bytes()).unwrap();
        assert_eq!(key.kid, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn what_is_no_private_p256_key_is_refused() {
        for bad in [
            "",
            "{}",
            &JWK.replace("P-256", "P-384"),
            &JWK.replace("\"d\"", "\"e\""),
            &JWK.replace("870MB", "870MC"),
        ] {
            assert!(ProvisionerKey::from_jwk(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    fn id() -> DeviceId {
        DeviceId::parse("pump-7").unwrap()
    }

    fn minter(url: &str) -> Minter {
        let key = ProvisionerKey::from_jwk(JWK.as_bytes()).unwrap();
        Minter::new(key, "iot-bridge".to_owned(), &url.parse().unwrap())
    }

    fn verify(token: &str) -> (Value, Value) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let key = ProvisionerKey::from_jwk(JWK.as_bytes()).unwrap().key;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref().to_vec());
        key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
            .unwrap();
        let decode = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        (decode(header), decode(claims))
    }
}

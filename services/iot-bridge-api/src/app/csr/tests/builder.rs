//! Puts requests together byte by byte.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};

pub(super) const CN: &str = "2.5.4.3";
pub(super) const ORGANIZATION: &str = "2.5.4.10";
pub(super) const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";

/// Type, tag and value of a part of the subject.
pub(super) type Attribute<'a> = (&'a str, u8, &'a [u8]);
/// Tag and value of an alternative name.
pub(super) type Name<'a> = (u8, &'a [u8]);

#[derive(Clone)]
pub(super) enum Key {
    Ec(Arc<EcdsaKeyPair>, &'static str),
    Ed25519(Arc<Ed25519KeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

impl Key {
    pub(super) fn p256() -> Self {
        Self::Ec(
            Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
            P256,
        )
    }

    pub(super) fn p384() -> Self {
        Self::Ec(
            Arc::new(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap()),
            P384,
        )
    }

    pub(super) fn ed25519() -> Self {
        Self::Ed25519(Arc::new(Ed25519KeyPair::generate().unwrap()))
    }

    pub(super) fn rsa2048() -> Self {
        Self::Rsa(Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ec(key, curve) => ec_spki(Some(curve), key.public_key().as_ref()),
            Self::Ed25519(key) => spki(ED25519, &[], key.public_key().as_ref()),
            Self::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_, P384) => "1.2.840.10045.4.3.3",
            Self::Ec(..) => "1.2.840.10045.4.3.2",
            Self::Ed25519(_) => ED25519,
            Self::Rsa(_) => "1.2.840.113549.1.1.11",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(key, _) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

pub(super) struct Csr {
    version: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    attributes: Option<Vec<u8>>,
    algorithm: &'static str,
    spoil: bool,
    key: Key,
}

impl Csr {
    pub(super) fn new(id: &str, key: Key) -> Self {
        let csr = Self {
            version: vec![0],
            subject: Vec::new(),
            spki: key.spki(),
            attributes: Some(der(0xa0, &[])),
            algorithm: key.algorithm(),
            spoil: false,
            key,
        };
        csr.subject(&[(CN, 0x0c, id.as_bytes())])
    }

    pub(super) fn version(self, version: &[u8]) -> Self {
        Self {
            version: version.to_vec(),
            ..self
        }
    }

    pub(super) fn subject(self, attributes: &[Attribute<'_>]) -> Self {
        let parts: Vec<u8> = attributes
            .iter()
            .flat_map(|(oid, tag, value)| der(0x31, &attribute(oid, *tag, value)))
            .collect();
        self.raw_subject(der(0x30, &parts))
    }

    pub(super) fn raw_subject(self, subject: Vec<u8>) -> Self {
        Self { subject, ..self }
    }

    pub(super) fn raw_spki(self, spki: Vec<u8>) -> Self {
        Self { spki, ..self }
    }

    pub(super) fn extensions(self, extensions: &[Vec<u8>]) -> Self {
        self.attributes(&[extension_request(extensions)])
    }

    pub(super) fn attributes(self, attributes: &[Vec<u8>]) -> Self {
        Self {
            attributes: Some(der(0xa0, &attributes.concat())),
            ..self
        }
    }

    pub(super) fn without_attributes(self) -> Self {
        Self {
            attributes: None,
            ..self
        }
    }

    pub(super) fn signature_algorithm(self, algorithm: &'static str) -> Self {
        Self { algorithm, ..self }
    }

    pub(super) fn bad_signature(self) -> Self {
        Self { spoil: true, ..self }
    }

    pub(super) fn der(&self) -> Vec<u8> {
        let attributes = self.attributes.clone().unwrap_or_default();
        let info = der(
            0x30,
            &[
                der(0x02, &self.version),
                self.subject.clone(),
                self.spki.clone(),
                attributes,
            ]
            .concat(),
        );
        let mut signed = info.clone();
        if self.spoil {
            signed.push(0);
        }
        let signature = [&[0][..], &self.key.sign(&signed)].concat();
        let algorithm = der(0x30, &oid(self.algorithm));
        der(0x30, &[info, algorithm, der(0x03, &signature)].concat())
    }

    pub(super) fn pem(&self) -> String {
        pem(&self.der())
    }
}

pub(super) fn pem(bytes: &[u8]) -> String {
    pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, bytes).unwrap()
}

pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, u8::try_from(length).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => [&[tag, 0x82][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    };
    [head, content.to_vec()].concat()
}

pub(super) fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u32> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let groups = (0..5)
            .rev()
            .map(|index| u8::try_from(arc >> (7 * index) & 0x7f).unwrap());
        let mut groups: Vec<u8> = groups.skip_while(|group| *group == 0).collect();
        let last = groups.pop().unwrap_or(0);
        content.extend(groups.iter().map(|group| group | 0x80));
        content.push(last);
    }
    der(0x06, &content)
}

pub(super) fn attribute(kind: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    der(0x30, &[oid(kind), der(tag, value)].concat())
}

pub(super) fn attribute_of(kind: &str, values: &[u8]) -> Vec<u8> {
    der(0x30, &[oid(kind), der(0x31, values)].concat())
}

pub(super) fn extension_request(extensions: &[Vec<u8>]) -> Vec<u8> {
    attribute_of("1.2.840.113549.1.9.14", &der(0x30, &extensions.concat()))
}

pub(super) fn extension(kind: &str, critical: Option<bool>, value: &[u8]) -> Vec<u8> {
    let critical = if critical == Some(true) {
        vec![0x01, 0x01, 0xff]
    } else {
        Vec::new()
    };
    der(0x30, &[oid(kind), critical, der(0x04, value)].concat())
}

pub(super) fn names(names: &[Name<'_>]) -> Vec<u8> {
    der(
        0x30,
        &names.iter().flat_map(|(tag, name)| der(*tag, name)).collect::<Vec<_>>(),
    )
}

pub(super) fn spki(algorithm: &str, parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[oid(algorithm), parameters.to_vec()].concat());
    der(0x30, &[algorithm, der(0x03, &[&[0], key].concat())].concat())
}

/// Without a curve the parameters are explicit.
pub(super) fn ec_spki(curve: Option<&str>, point: &[u8]) -> Vec<u8> {
    let parameters = curve.map_or_else(|| der(0x30, &[0x02, 0x01, 0x01]), oid);
    spki(EC, &parameters, point)
}

pub(super) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let positive = |number: &[u8]| {
        let pad: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
        der(0x02, &[pad, number].concat())
    };
    let key = der(0x30, &[positive(modulus), positive(exponent)].concat());
    spki(RSA, &[0x05, 0x00], &key)
}

pub(super) fn odd_number(bits: usize) -> Vec<u8> {
    let mut number = even_number(bits);
    *number.last_mut().unwrap() |= 1;
    number
}

pub(super) fn even_number(bits: usize) -> Vec<u8> {
    let mut number = vec![0x5a; bits.div_ceil(8)];
    number[0] = match bits % 8 {
        0 => 0x80,
        rest => 1 << (rest - 1),
    };
    number
}

//! Which public keys are good enough for an identity.
//!
//! Sources: RFC 8410 (Ed25519), RFC 5480 (EC), the CA/Browser Forum's baseline requirements §6.1.6 (RSA), and the
//! checks that Let's Encrypt makes (small factors, Fermat, ROCA: CVE-2017-15361).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use x509_parser::asn1_rs::Tag;
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::CsrRejection;

/// The only exponent; 65537 is what every generator of the last twenty years uses.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// Fermat's method finds primes that are this close in so many rounds (the number is Let's Encrypt's).
const FERMAT_ROUNDS: usize = 110;
/// Trial division finds factors below this.
const SMALLEST_ALLOWED_FACTOR: u32 = 752;
/// A modulus of the faulty Infineon library is a power of 65537 modulo each of these primes.
const ROCA_PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// What kind of key it is, as far as the key usages depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    Other,
}

/// Accepts P-256, P-384, Ed25519 and sound RSA keys of 2048, 3072 or 4096 bits.
pub(super) fn check(key: &SubjectPublicKeyInfo<'_>) -> Result<KeyKind, CsrRejection> {
    let algorithm = &key.algorithm.algorithm;
    let bytes = &key.subject_public_key.data;
    if key.subject_public_key.unused_bits != 0 {
        return Err(CsrRejection::UnsupportedKey);
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        return check_ec(key, bytes).map(|()| KeyKind::Other);
    }
    if *algorithm == OID_SIG_ED25519 && key.algorithm.parameters.is_none() {
        return check_point(&ED25519, bytes).map(|()| KeyKind::Other);
    }
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return check_rsa(key).map(|()| KeyKind::Rsa);
    }
    Err(CsrRejection::UnsupportedKey)
}

fn check_ec(key: &SubjectPublicKeyInfo<'_>, point: &[u8]) -> Result<(), CsrRejection> {
    let parameters = key.algorithm.parameters.as_ref().ok_or(CsrRejection::UnsupportedKey)?;
    let curve = parameters.as_oid().map_err(|_| CsrRejection::UnsupportedKey)?;
    let (algorithm, length): (&'static dyn VerificationAlgorithm, _) = if curve == OID_EC_P256 {
        (&ECDSA_P256_SHA256_ASN1, 65)
    } else if curve == OID_NIST_EC_P384 {
        (&ECDSA_P384_SHA384_ASN1, 97)
    } else {
        return Err(CsrRejection::UnsupportedKey);
    };
    if point.len() != length || point.first() != Some(&4) {
        return Err(CsrRejection::UnsupportedKey); // compressed, or the point at infinity
    }
    check_point(algorithm, point)
}

/// The library checks that the point is on its curve.
fn check_point(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> Result<(), CsrRejection> {
    ParsedPublicKey::new(algorithm, bytes)
        .map(drop)
        .map_err(|_| CsrRejection::UnsupportedKey)
}

fn check_rsa(key: &SubjectPublicKeyInfo<'_>) -> Result<(), CsrRejection> {
    // Without this, one key could be written, and counted as new, in two ways (RFC 3279 §2.3.1 wants NULL).
    let has_null = key
        .algorithm
        .parameters
        .as_ref()
        .is_some_and(|parameters| parameters.tag() == Tag::Null);
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return Err(CsrRejection::UnsupportedKey);
    };
    if !has_null {
        return Err(CsrRejection::UnsupportedKey);
    }
    let modulus = BigUint::from_bytes_be(rsa.modulus);
    match modulus.bits() {
        0..2048 => return Err(CsrRejection::WeakKey),
        2048 | 3072 | 4096 => {}
        _ => return Err(CsrRejection::UnsupportedKey),
    }
    let exponent = rsa.exponent.strip_prefix(&[0]).unwrap_or(rsa.exponent);
    if exponent != RSA_EXPONENT || has_small_factor(&modulus) || is_roca(&modulus) || falls_to_fermat(&modulus) {
        return Err(CsrRejection::WeakKey);
    }
    Ok(())
}

fn has_small_factor(modulus: &BigUint) -> bool {
    (2..SMALLEST_ALLOWED_FACTOR).any(|factor| remainder(modulus, factor) == 0)
}

fn is_roca(modulus: &BigUint) -> bool {
    ROCA_PRIMES
        .iter()
        .all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn is_power_of_65537(number: u32, prime: u32) -> bool {
    std::iter::successors(Some(1), |power| Some(power * (65537 % prime) % prime))
        .take(prime as usize)
        .any(|power| power == number)
}

/// Whether the modulus is a² − b² for an a just above its square root: its primes are close together.
fn falls_to_fermat(modulus: &BigUint) -> bool {
    let mut a = modulus.sqrt();
    (0..FERMAT_ROUNDS).any(|_| {
        a += 1_u32;
        let square = &a * &a - modulus;
        let root = square.sqrt();
        &root * &root == square
    })
}

fn remainder(number: &BigUint, divisor: u32) -> u32 {
    let rest = number % divisor;
    rest.iter_u32_digits().next().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^n − k is prime for these (the primes below powers of two).
    fn prime_below_power(bits: u32, k: u32) -> BigUint {
        (BigUint::from(1_u32) << bits) - k
    }

    #[test]
    fn primes_that_are_close_together_fall_to_fermat() {
        let p = prime_below_power(521, 1);
        let q = &p + 1200_u32; // not prime, which Fermat's method does not care about
        assert!(falls_to_fermat(&(&p * &q)));
    }

    #[test]
    fn primes_that_are_far_apart_do_not() {
        assert!(!falls_to_fermat(
            &(prime_below_power(521, 1) * prime_below_power(607, 1))
        ));
    }

    #[test]
    fn small_factors_are_found() {
        assert!(has_small_factor(&(prime_below_power(521, 1) * 751_u32)));
        assert!(!has_small_factor(
            &(prime_below_power(521, 1) * prime_below_power(127, 1))
        ));
    }

    #[test]
    fn the_fingerprint_of_the_faulty_library_is_found() {
        let product = ROCA_PRIMES
            .iter()
            .fold(BigUint::from(1_u32), |product, prime| product * *prime);
        let modulus = product * 12345_u32 + 65537_u32;
        assert!(is_roca(&modulus));
        assert!(!is_roca(&(modulus + 1_u32)));
    }
}

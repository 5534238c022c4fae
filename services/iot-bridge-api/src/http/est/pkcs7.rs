//! Certificates as PKCS #7: a `SignedData` that signs nothing (RFC 5652 §5.1, RFC 8951 §3.1 "certs-only").

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const CONTEXT_0: u8 = 0xa0;
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.7.1
const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const VERSION_1: &[u8] = &[0x02, 0x01, 0x01];

/// Packs certificates (DER), the first one first.
pub(super) fn certs_only(certificates: &[Vec<u8>]) -> Vec<u8> {
    let signed_data = element(
        SEQUENCE,
        &[
            VERSION_1,
            &element(SET, &[]),
            &element(SEQUENCE, &[DATA]),
            &element(CONTEXT_0, &certificates.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            &element(SET, &[]),
        ],
    );
    element(SEQUENCE, &[SIGNED_DATA, &element(CONTEXT_0, &[&signed_data])])
}

/// Writes a tag, the length in as few bytes as it needs (X.690 §10.1), and the parts.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let (_, length) = length.split_at(significant);
    let mut encoded = vec![tag];
    match length {
        [short @ 0..=0x7f] => encoded.push(*short),
        long => {
            encoded.push(0x80 | u8::try_from(long.len()).expect("a length has at most eight bytes"));
            encoded.extend_from_slice(long);
        }
    }
    encoded.extend(content);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        assert_eq!(element(0x04, &[&[0; 0]]), [0x04, 0x00]);
        assert_eq!(element(0x04, &[&[1; 127]])[..2], [0x04, 0x7f]);
        assert_eq!(element(0x04, &[&[1; 128]])[..3], [0x04, 0x81, 0x80]);
        assert_eq!(element(0x04, &[&[1; 256]])[..4], [0x04, 0x82, 0x01, 0x00]);
    }

    #[test]
    fn the_certificates_stand_in_it_as_they_are() {
        let packed = certs_only(&[b"first".to_vec(), b"second".to_vec()]);

        assert!(packed.windows(11).any(|window| window == b"firstsecond"));
        assert_eq!(usize::from(packed[1]) + 2, packed.len());
    }
}

//! The CSR rules, row by row. Requests are put together byte by byte, since no tool makes most of them.

mod builder;

use builder::{Attribute, Csr, Key, Name, der, extension, names};

use super::*;

const ID: &str = "pump-7";

fn verdict(pem: &str) -> Result<AcceptedCsr, CsrRejection> {
    accept(&DeviceId::parse(ID).unwrap(), pem)
}

fn code(pem: &str) -> &'static str {
    verdict(pem).map_or_else(CsrRejection::code, |_| "accepted")
}

#[test]
fn a_plain_request_of_every_key_type_is_accepted() {
    for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa2048()] {
        let pem = Csr::new(ID, key).pem();
        let accepted = verdict(&pem).unwrap();
        assert_eq!(accepted.digest, Digest::of(&accepted.der));
    }
}

#[test]
fn what_common_tools_ask_for_is_accepted() {
    let extensions = [
        extension("2.5.29.17", None, &names(&[(0x82, ID.as_bytes())])),
        extension("2.5.29.19", None, &der(0x30, &[])),
        extension("2.5.29.15", Some(true), &[0x03, 0x02, 0x07, 0x80]),
        extension("2.5.29.37", None, &der(0x30, &builder::oid("1.3.6.1.5.5.7.3.2"))),
        extension("2.5.29.14", None, &der(0x04, &[7; 20])),
    ];
    assert_eq!(
        code(&Csr::new(ID, Key::p256()).extensions(&extensions).pem()),
        "accepted"
    );
    assert_eq!(
        code(
            &Csr::new(ID, Key::p256())
                .subject(&[(builder::CN, 0x13, ID.as_bytes())])
                .pem()
        ),
        "accepted"
    );
    assert_eq!(code(&rcgen_csr(ID)), "accepted");
    assert_eq!(
        code(
            &Csr::new(ID, Key::p256())
                .pem()
                .replace("N CERTIFICATE", "N NEW CERTIFICATE")
                .replace("END CERTIFICATE", "END NEW CERTIFICATE")
        ),
        "accepted"
    );
    assert_eq!(code(&Csr::new(ID, Key::p256()).pem().replace('\n', "\r\n")), "accepted");
    assert_eq!(code(Csr::new(ID, Key::p256()).pem().trim_end()), "accepted");
}

#[test]
fn the_same_key_has_the_same_digest_in_two_requests() {
    let key = Key::p256();
    let (first, second) = (
        verdict(&Csr::new(ID, key.clone()).pem()).unwrap(),
        verdict(&Csr::new(ID, key).pem()).unwrap(),
    );
    assert_eq!(first.key_digest, second.key_digest);
    assert_ne!(first.digest, second.digest); // ECDSA signatures are random
}

#[test]
fn a_subject_that_is_not_the_id_alone_is_rejected() {
    use builder::{CN, ORGANIZATION};
    const UTF8: u8 = 0x0c;
    let id = ID.as_bytes();
    let cases: &[(&str, &[Attribute<'_>])] = &[
        ("cn-mismatch", &[(CN, UTF8, b"pump-8")]),
        ("cn-mismatch", &[(CN, UTF8, b"Pump-7")]),
        ("cn-mismatch", &[(CN, UTF8, b"pump-7 ")]),
        ("no-identity", &[]),
        ("subject-not-allowed", &[(CN, UTF8, id), (CN, UTF8, id)]),
        ("subject-not-allowed", &[(CN, 0x1e, b"\0p\0u\0m\0p\0-\x007")]),
        ("subject-not-allowed", &[(CN, UTF8, b"pump-7\0.evil")]),
        ("subject-not-allowed", &[(CN, UTF8, id), (ORGANIZATION, UTF8, b"Evil")]),
        ("subject-not-allowed", &[(ORGANIZATION, UTF8, b"Evil"), (CN, UTF8, id)]),
        ("subject-not-allowed", &[("2.5.4.5", 0x13, id)]),
        ("subject-not-allowed", &[("1.2.840.113549.1.9.1", 0x16, b"a@b.c")]),
    ];
    for (expected, subject) in cases {
        assert_eq!(
            code(&Csr::new(ID, Key::p256()).subject(subject).pem()),
            *expected,
            "{subject:?}"
        );
    }
}

#[test]
fn two_names_in_one_part_of_the_subject_are_rejected() {
    let attribute = builder::attribute(builder::CN, 0x0c, ID.as_bytes());
    let subject = der(0x30, &der(0x31, &[attribute.clone(), attribute].concat()));
    let csr = Csr::new(ID, Key::p256()).raw_subject(subject);
    assert_eq!(code(&csr.pem()), "subject-not-allowed");
    assert_eq!(requested_id(&csr.der()).unwrap_err().code(), "subject-not-allowed");
}

#[test]
fn alternative_names_other_than_the_id_are_rejected() {
    const DNS: u8 = 0x82;
    let cases: &[(&str, &[Name<'_>])] = &[
        ("san-mismatch", &[(DNS, b"*.x")]),
        ("san-mismatch", &[(DNS, b"pump-7.")]),
        ("san-mismatch", &[(DNS, b"PUMP-7")]),
        ("san-mismatch", &[(DNS, b"xn--pump-7")]),
        ("san-mismatch", &[(DNS, b"pump-7"), (DNS, b"pump-8")]),
        ("san-mismatch", &[(DNS, b"pump-7"), (DNS, b"pump-7")]),
        ("san-mismatch", &[]),
        ("san-not-allowed", &[(0x87, &[10, 8, 0, 1])]),
        ("san-not-allowed", &[(DNS, b"pump-7"), (0x87, &[127, 0, 0, 1])]),
        ("san-not-allowed", &[(0x86, b"spiffe://fleet/admin")]),
        ("san-not-allowed", &[(0x81, b"root@example.com")]),
        ("san-not-allowed", &[(0x88, &[0x2a, 0x03])]),
        ("too-many-names", &[(DNS, b"a" as &[u8]); 9]),
    ];
    for (expected, list) in cases {
        let csr = Csr::new(ID, Key::p256()).extensions(&[extension("2.5.29.17", None, &names(list))]);
        assert_eq!(code(&csr.pem()), *expected, "{list:?}");
    }
}

#[test]
fn wishes_beyond_the_profile_are_rejected() {
    let eku = |purpose: &str| der(0x30, &builder::oid(purpose));
    let ca = |path_length: &[u8]| der(0x30, &[&[0x01, 0x01, 0xff], path_length].concat());
    let cases: Vec<(&str, &str, Option<bool>, Vec<u8>)> = vec![
        ("ca-not-allowed", "2.5.29.19", None, ca(&[])),
        ("ca-not-allowed", "2.5.29.19", Some(true), ca(&[])),
        ("ca-not-allowed", "2.5.29.19", Some(true), ca(&[0x02, 0x01, 0x00])),
        ("ca-not-allowed", "2.5.29.19", Some(true), ca(&[0x02, 0x01, 0xff])),
        ("ca-not-allowed", "2.5.29.19", None, der(0x30, &[0x02, 0x01, 0x05])),
        ("key-usage-not-allowed", "2.5.29.15", None, vec![0x03, 0x02, 0x02, 0x04]), // keyCertSign
        ("key-usage-not-allowed", "2.5.29.15", None, vec![0x03, 0x02, 0x01, 0x02]), // cRLSign
        ("key-usage-not-allowed", "2.5.29.15", None, vec![0x03, 0x02, 0x05, 0xa0]), // keyEncipherment, EC key
        (
            "key-usage-not-allowed",
            "2.5.29.15",
            None,
            vec![0x03, 0x04, 0x00, 0x80, 0x00, 0x01],
        ), // far behind the named ones
        ("eku-not-allowed", "2.5.29.37", None, eku("1.3.6.1.5.5.7.3.1")),
        ("eku-not-allowed", "2.5.29.37", None, eku("2.5.29.37.0")),
        ("eku-not-allowed", "2.5.29.37", None, eku("1.3.6.1.5.5.7.3.3")),
        ("eku-not-allowed", "2.5.29.37", None, eku("1.2.3.4")),
        ("extension-not-allowed", "1.2.3.4", Some(true), vec![0x05, 0x00]),
        ("extension-not-allowed", "1.2.3.4", None, vec![0x05, 0x00]),
        ("extension-not-allowed", "2.5.29.30", Some(true), der(0x30, &[])),
        (
            "extension-not-allowed",
            "2.5.29.32",
            None,
            der(0x30, &der(0x30, &builder::oid("1.2.3"))),
        ),
        (
            "extension-not-allowed",
            "1.3.6.1.4.1.311.20.2",
            None,
            vec![0x0c, 0x01, b'x'],
        ),
        ("extension-not-allowed", "2.5.29.14", Some(true), der(0x04, &[7; 20])),
        ("malformed", "2.5.29.17", None, vec![0x30, 0x80, 0x00, 0x00]),
    ];
    for (expected, oid, critical, value) in cases {
        let csr = Csr::new(ID, Key::p256()).extensions(&[extension(oid, critical, &value)]);
        assert_eq!(code(&csr.pem()), expected, "{oid} {value:02x?}");
    }
}

#[test]
fn a_second_place_for_extensions_is_rejected() {
    let harmless = extension("2.5.29.19", None, &der(0x30, &[]));
    let ca = extension("2.5.29.19", None, &der(0x30, &[0x01, 0x01, 0xff]));
    let request = builder::extension_request(std::slice::from_ref(&harmless));
    let second = builder::extension_request(std::slice::from_ref(&ca));
    let twice = Csr::new(ID, Key::p256()).attributes(&[request.clone(), second]).pem();
    assert_eq!(verdict(&twice), Err(CsrRejection::AmbiguousExtensions));

    let same_oid_twice = Csr::new(ID, Key::p256()).extensions(&[harmless, ca]).pem();
    assert_eq!(verdict(&same_oid_twice), Err(CsrRejection::AmbiguousExtensions));

    let two_values = builder::attribute_of("1.2.840.113549.1.9.14", &[der(0x30, &[]), der(0x30, &[])].concat());
    assert_eq!(
        verdict(&Csr::new(ID, Key::p256()).attributes(&[two_values]).pem()),
        Err(CsrRejection::Malformed)
    );

    let microsofts = builder::attribute_of("1.3.6.1.4.1.311.2.1.14", &der(0x30, &[]));
    assert_eq!(
        code(&Csr::new(ID, Key::p256()).attributes(&[microsofts]).pem()),
        "extension-not-allowed"
    );
}

#[test]
fn what_another_parser_reads_otherwise_is_malformed() {
    let (kind, id) = (builder::oid(builder::CN), der(0x0c, ID.as_bytes()));
    let with_name = |parts: &[&[u8]]| {
        let subject = der(0x30, &der(0x31, &der(0x30, &parts.concat())));
        Csr::new(ID, Key::p256()).raw_subject(subject)
    };
    let with_key = |key: Key, element: &[u8]| {
        let spki = in_another_class(&key.spki(), element);
        Csr::new(ID, key).raw_spki(spki)
    };
    let with_extension = |parts: &[&[u8]]| Csr::new(ID, Key::p256()).extensions(&[der(0x30, &parts.concat())]);
    let with_value = |kind: &str, value: &[u8], element: &[u8]| {
        let extension = extension(kind, None, &in_another_class(value, element));
        Csr::new(ID, Key::p256()).extensions(&[extension])
    };
    let (constraints, none) = (builder::oid("2.5.29.19"), der(0x04, &der(0x30, &[])));
    let purpose = builder::oid("1.3.6.1.5.5.7.3.2");
    let name = names(&[(0x82, ID.as_bytes())]);
    let cases = [
        ("a name", with_name(&[&kind, &in_another_class(&id, &id)])),
        ("a name's type", with_name(&[&in_another_class(&kind, &kind), &id])),
        ("two names of one type", with_name(&[&kind, &id, &id])),
        ("a type without a name", with_name(&[&kind])),
        ("a curve", with_key(Key::p256(), &builder::oid(builder::P256))),
        ("no parameters", with_key(Key::rsa2048(), &[0x05, 0x00])),
        (
            "an extension of four parts",
            with_extension(&[&constraints, &none, &none]),
        ),
        (
            "an extension's type",
            with_extension(&[&in_another_class(&constraints, &constraints), &none]),
        ),
        ("critical", with_extension(&[&constraints, &[0x81, 0x01, 0x00], &none])),
        ("a list of names", with_value("2.5.29.17", &name, &name)),
        ("a purpose", with_value("2.5.29.37", &der(0x30, &purpose), &purpose)),
    ];
    for (what, csr) in cases {
        assert_eq!(verdict(&csr.pem()), Err(CsrRejection::Malformed), "{what}");
    }
}

#[test]
fn weak_rsa_keys_are_rejected() {
    let odd = builder::odd_number;
    let cases: [(&str, Vec<u8>, &[u8]); 10] = [
        ("weak-key", odd(512), &[1, 0, 1]),
        ("weak-key", odd(1024), &[1, 0, 1]),
        ("weak-key", odd(2047), &[1, 0, 1]),
        ("unsupported-key", odd(2049), &[1, 0, 1]),
        ("unsupported-key", odd(16384), &[1, 0, 1]),
        ("weak-key", odd(2048), &[1]),
        ("weak-key", odd(2048), &[3]),
        ("weak-key", odd(2048), &[1, 0, 0]),
        ("weak-key", odd(2048), &[1, 0, 0, 0, 0, 0]),
        ("weak-key", builder::even_number(2048), &[1, 0, 1]),
    ];
    for (expected, modulus, exponent) in cases {
        let spki = builder::rsa_spki(&modulus, exponent);
        let name = format!("{} bytes, e = {exponent:?}", modulus.len());
        assert_eq!(
            code(&Csr::new(ID, Key::p256()).raw_spki(spki).pem()),
            expected,
            "{name}"
        );
    }
}

#[test]
fn keys_of_other_kinds_are_rejected() {
    let p256 = |point: &[u8]| builder::ec_spki(Some(builder::P256), point);
    let curve = |oid: &str, length: usize| builder::ec_spki(Some(oid), &vec![4; length]);
    let nothing = der(0x30, &[]);
    let cases = [
        ("P-192", curve("1.2.840.10045.3.1.1", 49)),
        ("P-224", curve("1.3.132.0.33", 57)),
        ("secp256k1", curve("1.3.132.0.10", 65)),
        ("brainpool", curve("1.3.36.3.3.2.8.1.1.7", 65)),
        ("explicit parameters", builder::ec_spki(None, &[4; 65])),
        ("compressed", p256(&[&[2][..], &[7; 32]].concat())),
        ("off the curve", p256(&[&[4][..], &[7; 64]].concat())),
        ("infinity", p256(&[0])),
        ("DSA", builder::spki("1.2.840.10040.4.1", &nothing, &[2, 1, 5])),
        ("DH", builder::spki("1.2.840.113549.1.3.1", &nothing, &[2, 1, 5])),
        ("RSA-PSS", builder::spki("1.2.840.113549.1.1.10", &[], &nothing)),
        ("Ed448", builder::spki("1.3.101.113", &[], &[7; 57])),
        ("X25519", builder::spki("1.3.101.110", &[], &[7; 32])),
        ("Ed25519, too short", builder::spki("1.3.101.112", &[], &[7; 31])),
        (
            "Ed25519 with parameters",
            builder::spki("1.3.101.112", &[5, 0], &[7; 32]),
        ),
    ];
    for (name, spki) in cases {
        let pem = Csr::new(ID, Key::p256()).raw_spki(spki).pem();
        assert_eq!(verdict(&pem), Err(CsrRejection::UnsupportedKey), "{name}");
    }
}

#[test]
fn a_request_that_its_key_did_not_sign_is_rejected() {
    let other = Key::p256().spki();
    assert_eq!(code(&Csr::new(ID, Key::p256()).raw_spki(other).pem()), "bad-signature");
    assert_eq!(code(&Csr::new(ID, Key::p256()).bad_signature().pem()), "bad-signature");
    let (sha1, sha512) = ("1.2.840.10045.4.1", "1.2.840.10045.4.3.4");
    for algorithm in [sha1, sha512] {
        let csr = Csr::new(ID, Key::p256()).signature_algorithm(algorithm);
        assert_eq!(code(&csr.pem()), "bad-signature");
    }
    assert!(
        CsrRejection::BadSignature
            .to_string()
            .contains("ECDSA with SHA-256 or SHA-384")
    );
}

#[test]
fn anything_but_one_request_in_one_block_is_malformed() {
    let good = Csr::new(ID, Key::p256());
    let (pem, bytes) = (good.pem(), good.der());
    let as_pem = builder::pem;
    let cases = [
        ("nothing", String::new()),
        ("no PEM", "hello".to_owned()),
        ("two blocks", format!("{pem}{pem}")),
        ("text before", format!("Certificate Request:\n{pem}")),
        ("text after", format!("{pem}hello")),
        ("another label", pem.replace(" REQUEST", "")),
        ("only the head", pem.lines().take(2).collect::<Vec<_>>().join("\n")),
        ("headers", pem.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1)),
        ("empty block", as_pem(&[])),
        ("empty sequence", as_pem(&[0x30, 0x00])),
        ("trailing byte", as_pem(&[&bytes[..], &[0]].concat())),
        (
            "indefinite length",
            as_pem(&[&[0x30, 0x80][..], &bytes[4..], &[0, 0]].concat()),
        ),
        ("two gigabytes", as_pem(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff])),
        ("too long", as_pem(&der(0x30, &vec![0; MAX_DER_LENGTH]))),
        ("version 1", Csr::new(ID, Key::p256()).version(&[1]).pem()),
        ("version −1", Csr::new(ID, Key::p256()).version(&[0xff]).pem()),
        ("no attributes", Csr::new(ID, Key::p256()).without_attributes().pem()),
        ("not a sequence", as_pem(&[&[0x31], &bytes[1..]].concat())),
    ];
    for (name, pem) in cases {
        assert_eq!(verdict(&pem), Err(CsrRejection::Malformed), "{name}");
    }
}

#[test]
fn a_private_key_is_called_burnt() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for pem in [key.clone(), format!("{}{key}", Csr::new(ID, Key::p256()).pem())] {
        assert_eq!(verdict(&pem), Err(CsrRejection::PrivateKey));
    }
    assert!(CsrRejection::PrivateKey.to_string().contains("burnt"));
}

#[test]
fn no_byte_can_be_changed_unnoticed() {
    let bytes = Csr::new(ID, Key::ed25519()).der();
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x01;
        assert!(verdict(&builder::pem(&changed)).is_err(), "byte {index}");
        assert!(verdict(&builder::pem(&bytes[..index])).is_err(), "cut at {index}");
    }
}

/// Gives an element that is in there a tag of the same number that is a structure's own: some parsers look at the number
/// alone.
fn in_another_class(bytes: &[u8], element: &[u8]) -> Vec<u8> {
    let place = bytes.windows(element.len()).position(|window| window == element);
    let mut bytes = bytes.to_vec();
    bytes[place.unwrap()] |= 0x80;
    bytes
}

fn rcgen_csr(id: &str) -> String {
    let mut params = rcgen::CertificateParams::new([id.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, id);
    params
        .serialize_request(&rcgen::KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap()
}

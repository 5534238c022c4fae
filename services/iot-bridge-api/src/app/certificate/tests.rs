//! An authority that answers with something else is not believed, whatever it is.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use time::macros::datetime;

use super::*;

/// What is believed by whoever believed nothing before.
fn verify(
    intent: &CertificateIntent,
    chain: &SignedChain,
    roots_pem: &str,
    now: Timestamp,
) -> Result<IssuedCertificate, BadCertificate> {
    Believer::default().verify(intent, chain, roots_pem, now)
}

const NOW: Timestamp = datetime!(2026-05-01 12:00 UTC);

#[test]
fn the_certificate_that_was_asked_for_is_believed() {
    let world = World::new();
    let chain = world.sign(|_| {});

    let issued = verify(&world.intent(), &chain, &world.root.pem(), NOW).unwrap();

    assert_eq!(issued.serial, "1f2e");
    assert_eq!(issued.intermediates, 1);
    assert_eq!(issued.not_after, NOW + Duration::days(30));
    assert_eq!(
        format!("{}{}", issued.leaf_pem, issued.ca_chain_pem)
            .matches("BEGIN CERTIFICATE")
            .count(),
        3
    );
}

#[test]
fn a_chain_is_believed_up_to_any_pinned_root() {
    let world = World::new();
    let roots = format!("{}{}", World::new().root.pem(), world.root.pem());

    assert!(verify(&world.intent(), &world.sign(|_| {}), &roots, NOW).is_ok());
}

#[test]
fn an_intermediate_is_one_that_leads_to_a_root_in_whatever_order_they_come() {
    let (world, stranger) = (World::new(), World::new());
    let ours = world.intermediate.pem();
    let below = CertifiedIssuer::signed_by(authority("below"), KeyPair::generate().unwrap(), &world.intermediate);
    let below = below.unwrap().pem();
    let candidates = [&stranger.intermediate.pem(), &below, &ours]
        .map(String::as_str)
        .concat();

    let found = intermediates(&candidates, &world.root.pem(), NOW).unwrap();

    assert_eq!(key_digests(&found), key_digests(&(ours + &below)));
    assert!(intermediates("hello", &world.root.pem(), NOW).is_err());
}

#[test]
fn any_other_leaf_is_not_believed() {
    type Evil = fn(&mut CertificateParams);
    let evils: &[(&str, Evil)] = &[
        ("another name", |leaf| leaf.distinguished_name = name("pump-8")),
        ("no name", |leaf| leaf.distinguished_name = DistinguishedName::new()),
        ("two names", |leaf| {
            leaf.distinguished_name.push(DnType::OrganizationName, "Evil");
        }),
        ("another alternative name", |leaf| {
            leaf.subject_alt_names = dns(&["pump-8"]);
        }),
        ("one alternative name too many", |leaf| {
            leaf.subject_alt_names = dns(&["pump-7", "pump-8"]);
        }),
        ("no alternative name", |leaf| leaf.subject_alt_names.clear()),
        ("an address", |leaf| {
            leaf.subject_alt_names = vec![SanType::IpAddress([10, 8, 0, 1].into())];
        }),
        ("an authority", |leaf| {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }),
        ("a server", |leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("a client and a server", |leaf| {
            leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }),
        ("anything", |leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        }),
        ("no purpose", |leaf| leaf.extended_key_usages.clear()),
        ("a signer of certificates", |leaf| {
            leaf.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }),
        ("expired", |leaf| leaf.not_after = NOW - Duration::seconds(1)),
        ("not valid yet", |leaf| leaf.not_before = NOW + Duration::hours(1)),
        ("ten years", |leaf| leaf.not_after = NOW + Duration::days(3650)),
        ("unknown and critical", |leaf| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            leaf.custom_extensions = vec![extension];
        }),
    ];
    for (what, evil) in evils {
        let world = World::new();
        let chain = world.sign(*evil);
        assert!(
            verify(&world.intent(), &chain, &world.root.pem(), NOW).is_err(),
            "{what}"
        );
    }
}

#[test]
fn a_certificate_for_another_key_is_not_believed() {
    let world = World::new();
    let intent = CertificateIntent {
        key_digest: Digest::of(b"another"),
        ..world.intent()
    };
    assert_eq!(
        verify(&intent, &world.sign(|_| {}), &world.root.pem(), NOW),
        Err(BadCertificate("it is for another key"))
    );
}

#[test]
fn any_other_chain_is_not_believed() {
    let (world, other) = (World::new(), World::new());
    // Whoever has seen the good one believes no more than anybody else.
    let believer = Believer::default();
    let verify = |intent: &_, chain: &_, roots: &_, now| believer.verify(intent, chain, roots, now);
    assert!(verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), NOW).is_ok());
    let leaf = world.leaf(|_| {});
    let bad = [
        ("no intermediate", leaf.clone()),
        ("another intermediate", leaf.clone() + &other.intermediate.pem()),
        ("leaf twice", leaf.clone() + &leaf + &world.intermediate.pem()),
        ("wrong order", world.intermediate.pem() + &leaf),
        ("nothing", String::new()),
        ("HTML", "<html>502</html>".to_owned()),
        ("half", leaf.chars().take(200).collect()),
        ("text between", leaf.clone() + "hello" + &world.intermediate.pem()),
        ("a key", leaf.clone() + &world.key.serialize_pem()),
        ("an endless chain", leaf + &world.intermediate.pem().repeat(5)),
    ];
    for (what, pem) in bad {
        assert!(
            verify(&world.intent(), &SignedChain { pem }, &world.root.pem(), NOW).is_err(),
            "{what}"
        );
    }
    assert!(
        verify(&world.intent(), &world.sign(|_| {}), &other.root.pem(), NOW).is_err(),
        "another root"
    );
    assert!(
        verify(&world.intent(), &world.sign(|_| {}), "", NOW).is_err(),
        "no root"
    );
    let later = NOW + Duration::days(10_000);
    assert!(
        verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), later).is_err(),
        "too late"
    );
    assert!(verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), NOW).is_ok());
}

#[test]
fn an_intermediate_that_is_no_authority_is_not_believed() {
    let world = World::with_intermediate(|params| params.is_ca = IsCa::ExplicitNoCa);
    assert!(verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), NOW).is_err());

    let world = World::with_intermediate(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    assert!(verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), NOW).is_err());

    let world = World::with_intermediate(|params| params.not_after = NOW - Duration::seconds(1));
    assert!(verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), NOW).is_err());
}

#[test]
fn issuers_that_were_believed_are_not_believed_when_their_time_is_over() {
    let world = World::with_intermediate(|params| params.not_after = NOW + Duration::hours(1));
    let believer = Believer::default();
    let verify = |now| believer.verify(&world.intent(), &world.sign(|_| {}), &world.root.pem(), now);

    assert!(verify(NOW).is_ok());
    assert!(verify(NOW + Duration::hours(2)).is_err());
}

#[test]
fn the_keys_of_an_authority_are_known() {
    let world = World::new();
    let spki = rcgen::PublicKeyData::subject_public_key_info(world.root.key());
    assert_eq!(key_digests(&world.root.pem()).unwrap(), [Digest::of(&spki)]);
}

struct World {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
}

impl World {
    fn new() -> Self {
        Self::with_intermediate(|_| {})
    }

    fn with_intermediate(change: fn(&mut CertificateParams)) -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let mut params = authority("intermediate");
        change(&mut params);
        let intermediate = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
        Self {
            root,
            intermediate,
            key: KeyPair::generate().unwrap(),
        }
    }

    fn intent(&self) -> CertificateIntent {
        CertificateIntent {
            id: uuid::Uuid::now_v7(),
            device_id: DeviceId::parse("pump-7").unwrap(),
            csr_der: Vec::new(),
            key_digest: Digest::of(&rcgen::PublicKeyData::subject_public_key_info(&self.key)),
        }
    }

    fn sign(&self, change: fn(&mut CertificateParams)) -> SignedChain {
        SignedChain {
            pem: self.leaf(change) + &self.intermediate.pem(),
        }
    }

    fn leaf(&self, change: fn(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("pump-7");
        params.subject_alt_names = dns(&["pump-7"]);
        params.serial_number = Some(rcgen::SerialNumber::from(0x1f2e_u64));
        params.not_before = NOW - Duration::minutes(1);
        params.not_after = NOW + Duration::days(30);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        params.signed_by(&self.key, &self.intermediate).unwrap().pem()
    }
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = NOW - Duration::days(1);
    params.not_after = NOW + Duration::days(3650);
    params
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn dns(names: &[&str]) -> Vec<SanType> {
    names
        .iter()
        .map(|name| SanType::DnsName((*name).try_into().unwrap()))
        .collect()
}

//! What a certificate says, read back by a parser, and that it is made once.

use super::*;
use countersign_jose::{KeySize, PrivateKey};
use x509_cert::{
    ext::pkix::{BasicConstraints, KeyUsage},
    name::RdnSequence,
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const RANDOM: [u8; 16] = [0xff; 16];

const ASYMMETRIC: [Algorithm; 11] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::EdDSA,
    Algorithm::Ed25519,
];

fn key(algorithm: Algorithm, kid: &str) -> (PublicJwk, SigningKey) {
    let private = PrivateKey::generate(algorithm, KeySize::default()).unwrap();
    let jwk = PublicJwk { kid: kid.into(), algorithm, key: private.public_key() };
    (jwk, SigningKey::new(&private, algorithm).unwrap())
}

fn certificate(kid: &str, at: Timestamp, random: [u8; 16]) -> X509 {
    let (jwk, key) = key(Algorithm::EdDSA, kid);
    let made = UnsignedCertificate::new(&jwk, at, random).unwrap().sign(&key).unwrap();
    X509::from_der(made.der()).unwrap()
}

fn subject(kid: &str) -> String {
    let made = certificate(kid, NOW, RANDOM);
    let tbs = made.tbs_certificate();
    assert_eq!(tbs.subject(), tbs.issuer());
    tbs.subject().common_name().unwrap().unwrap().value().into_owned()
}

/// Signatures are checked by openssl in `tests/e2e/test_certificates.py`; here, that the outer
/// algorithm is the inner.
#[test]
fn every_asymmetric_algorithm_has_a_certificate_of_its_own_key() {
    for algorithm in ASYMMETRIC {
        let (jwk, signing) = key(algorithm, "k1");
        let made = UnsignedCertificate::new(&jwk, NOW, RANDOM).unwrap().sign(&signing).unwrap();
        assert!(made.certifies(&jwk.key), "{algorithm}");
        assert!(!made.certifies(&key(algorithm, "k1").0.key), "{algorithm}");
        let read = X509::from_der(made.der()).unwrap();
        assert_eq!(read.to_der().unwrap(), made.der(), "{algorithm}");
        assert_eq!(read.signature_algorithm(), read.tbs_certificate().signature(), "{algorithm}");
    }
}

#[test]
fn it_is_of_version_3_for_signatures_alone_and_no_authority() {
    let made = certificate("k1", NOW, RANDOM);
    let tbs = made.tbs_certificate();
    assert_eq!(tbs.version(), Version::V3);
    let (critical, usage) = tbs.get_extension::<KeyUsage>().unwrap().unwrap();
    assert!(critical && usage == KeyUsage(KeyUsages::DigitalSignature.into()));
    let (critical, constraints) = tbs.get_extension::<BasicConstraints>().unwrap().unwrap();
    assert!(critical && constraints == BasicConstraints { ca: false, path_len_constraint: None });
    assert_eq!(tbs.extensions().unwrap().len(), 2);
}

#[test]
fn the_serial_number_is_positive_and_as_long_whatever_the_randomness() {
    for random in [[0; 16], [0xff; 16], [0x80; 16]] {
        let made = certificate("k1", NOW, random);
        let serial = made.tbs_certificate().serial_number().as_bytes().to_vec();
        assert!(serial.len() == 16 && (0x40..0x80).contains(&serial[0]), "{serial:?}");
        assert_eq!(serial[1..], random[1..]);
    }
}

#[test]
fn it_is_valid_from_a_day_before_the_key_for_twenty_years() {
    let made = certificate("k1", NOW, RANDOM);
    let validity = made.tbs_certificate().validity();
    assert_eq!(validity.not_before.to_string(), NOW.minus(DAY).to_string());
    assert_eq!(validity.not_after.to_string(), NOW.plus(LIFETIME).to_string());
}

#[test]
fn a_time_no_certificate_can_name_becomes_the_nearest_it_can() {
    for (at, from, to) in [
        (i64::MIN, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        (0, "1970-01-01T00:00:00Z", "1989-12-27T00:00:00Z"),
        (i64::MAX, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ] {
        let made = certificate("k1", Timestamp::from_unix_seconds(at), RANDOM);
        let validity = made.tbs_certificate().validity();
        assert_eq!(
            (validity.not_before.to_string(), validity.not_after.to_string()),
            (from.into(), to.into())
        );
    }
}

#[test]
fn dates_from_2050_on_have_four_digits_for_the_year() {
    // Twenty years (of 365 days) before the last second of 2049 and the first of 2050.
    for (at, general) in [(1_893_887_999, false), (1_893_888_000, true)] {
        let made = certificate("k1", Timestamp::from_unix_seconds(at), RANDOM);
        let not_after = made.tbs_certificate().validity().not_after;
        assert_eq!(matches!(not_after, Time::GeneralTime(_)), general, "{not_after}");
    }
}

#[test]
fn the_name_is_the_kid_whatever_characters_it_has() {
    for kid in
        ["k", "vpaas-magic-cookie-1/abc", r#"a,CN=b+O="c";<d>\#=e"#, " spaces around ", &"x".repeat(64)]
    {
        assert_eq!(subject(kid), kid);
    }
    assert_eq!(certificate("a,CN=b", NOW, RANDOM).tbs_certificate().subject().len(), 1);
}

#[test]
fn a_kid_longer_than_a_common_name_is_named_by_its_hash() {
    let long = "x".repeat(65);
    let expected: String = digest::digest(&digest::SHA256, long.as_bytes())
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(subject(&long), expected);
    assert_eq!(subject(&"y".repeat(256)).len(), 64);
}

#[test]
fn the_signature_may_come_from_elsewhere_in_its_form_of_a_jws() {
    let (jwk, signing) = key(Algorithm::ES256, "k1");
    let unsigned = UnsignedCertificate::new(&jwk, NOW, RANDOM).unwrap();
    let signature = signing.sign_bytes(unsigned.to_be_signed()).unwrap();
    let made = unsigned.clone().finish(&signature).unwrap();
    let read = X509::from_der(made.der()).unwrap();
    assert_eq!(read.tbs_certificate().to_der().unwrap(), unsigned.to_be_signed());
    assert_eq!(read.signature().raw_bytes(), ecdsa::to_der(&signature, Algorithm::ES256).unwrap());
    for wrong in [&signature[1..], &ecdsa::to_der(&signature, Algorithm::ES256).unwrap(), &[]] {
        assert_eq!(unsigned.clone().finish(wrong), Err(CertificateError::Signature(Algorithm::ES256)));
    }
}

#[test]
fn an_ecdsa_signature_has_integers_of_the_shortest_form() {
    let signature = [&[0; 31][..], &[1], &[0x80], &[0; 31]].concat();
    let expected = [&[0x30, 38, 2, 1, 1, 2, 33, 0, 0x80][..], &[0; 31]].concat();
    assert_eq!(ecdsa::to_der(&signature, Algorithm::ES256).unwrap(), expected);
}

#[test]
fn a_shared_secret_has_none() {
    let (jwk, _) = key(Algorithm::ES256, "k1");
    let jwk = PublicJwk { algorithm: Algorithm::HS256, ..jwk };
    let why = UnsignedCertificate::new(&jwk, NOW, RANDOM).unwrap_err();
    assert_eq!(why, CertificateError::NoPublicKey(Algorithm::HS256));
}

#[test]
fn it_is_kept_as_base64_and_nothing_else_is_read() {
    let (jwk, signing) = key(Algorithm::EdDSA, "k1");
    let made = UnsignedCertificate::new(&jwk, NOW, RANDOM).unwrap().sign(&signing).unwrap();
    let json = serde_json::to_string(&made).unwrap();
    assert_eq!(json, format!("\"{}\"", made.to_base64()));
    assert_eq!(serde_json::from_str::<Certificate>(&json).unwrap(), made);
    assert!(serde_json::from_str::<Certificate>("\"!\"").is_err());
    assert!(!Certificate(b"no DER".to_vec()).certifies(&jwk.key));
}

#[test]
fn subject_and_issuer_are_one_relative_name() {
    let name: RdnSequence = certificate("k1", NOW, RANDOM).tbs_certificate().subject().clone().into();
    assert_eq!(name.to_string(), "CN=k1");
}

//! Out and in again: the PKCS#8 that is sealed at rest, the SPKI that is published, and the one
//! name of a key.

use super::{
    assert_pair,
    openssl::{KINDS, OpenSsl},
};
use aws_lc_rs::signature::Ed25519KeyPair;
use countersign_jose::{Algorithm, Jwk, KeySize, PrivateKey, PublicJwk, PublicKey};

/// A fresh key of each kind, made here.
fn made_here() -> Vec<PrivateKey> {
    let kinds = [
        (Algorithm::RS256, KeySize::Rsa2048),
        (Algorithm::PS256, KeySize::Rsa3072),
        (Algorithm::ES256, KeySize::default()),
        (Algorithm::ES384, KeySize::default()),
        (Algorithm::ES512, KeySize::default()),
        (Algorithm::EdDSA, KeySize::default()),
    ];
    kinds.map(|(algorithm, size)| PrivateKey::generate(algorithm, size).unwrap()).into()
}

#[test]
fn a_key_made_here_survives_pkcs8_and_openssl_reads_it() {
    let openssl = OpenSsl::new("survives_pkcs8");
    for key in made_here() {
        let der = key.to_pkcs8_der().unwrap();
        let back = PrivateKey::from_pkcs8_der(&der).unwrap();
        assert_eq!(back.public_key(), key.public_key());
        assert_eq!(back.to_pkcs8_der().unwrap(), der);
        assert_pair(&back, &key.public_key(), "own PKCS#8");
        // `-check` also proves the parts of the key consistent, where openssl has a check for its
        // kind.
        let check = if matches!(key.public_key(), PublicKey::Ed25519 { .. }) { "" } else { "-check" };
        openssl.run_with(&format!("pkey -inform DER -noout {check}"), &der);
        let public = openssl.run_with("pkey -inform DER -pubout", &der);
        assert_eq!(String::from_utf8(public).unwrap(), key.public_key().to_pem().unwrap());
    }
}

#[test]
fn the_public_pem_is_byte_for_byte_what_openssl_writes() {
    let openssl = OpenSsl::new("public_pem");
    for key in made_here() {
        let public = key.public_key();
        let pem = public.to_pem().unwrap();
        let theirs = openssl.run_with("pkey -pubin", pem.as_bytes());
        assert_eq!(String::from_utf8(theirs).unwrap(), pem);
        assert_eq!(PublicKey::from_pem(&pem).unwrap(), public);
        let der = openssl.run_with("pkey -pubin -outform DER", pem.as_bytes());
        assert_eq!(der, public.to_spki_der().unwrap());
    }
}

#[test]
fn a_key_made_by_openssl_keeps_its_pkcs8_bytes_or_their_meaning() {
    let openssl = OpenSsl::new("keeps_pkcs8");
    for (name, kind) in KINDS {
        openssl.genpkey(kind, "key.pem");
        let theirs = openssl.run("pkcs8 -topk8 -nocrypt -in key.pem -outform DER");
        let key = PrivateKey::from_pkcs8_der(&theirs).unwrap();
        let ours = key.to_pkcs8_der().unwrap();
        // An EC key is written without its point, which follows from the scalar; openssl can do the
        // same.
        if name.starts_with('p') {
            openssl.run("ec -in key.pem -no_public -out short.pem");
            let theirs = openssl.run("pkcs8 -topk8 -nocrypt -in short.pem -outform DER");
            let again = openssl.run_with("pkcs8 -topk8 -nocrypt -inform DER -outform DER", &ours);
            assert_eq!(again, theirs, "{name}");
        } else {
            assert_eq!(*ours, theirs, "{name}");
        }
    }
}

#[test]
fn a_key_has_one_thumbprint_in_every_format() {
    let openssl = OpenSsl::new("one_thumbprint");
    for (name, kind) in KINDS {
        let private = openssl.genpkey(kind, "key.pem");
        let key = PrivateKey::from_pem(&private).unwrap();
        let thumbprint = key.public_key().thumbprint();
        assert_eq!(thumbprint.len(), 43);
        let algorithm = Algorithm::default_for(key.kind()).unwrap();
        let jwk = PublicJwk { kid: thumbprint.clone(), algorithm, key: key.public_key() };
        let jwk = Jwk::parse(&serde_json::to_vec(&jwk).unwrap()).unwrap();
        let mut same = vec![
            jwk.public_key().unwrap(),
            PublicKey::from_pem(&private).unwrap(),
            PublicKey::from_pem(&openssl.text("pkey -in key.pem -pubout")).unwrap(),
            PrivateKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap().public_key(),
        ];
        if name != "ed25519" {
            same.push(PublicKey::from_pem(&openssl.text("pkey -in key.pem -traditional")).unwrap());
        }
        for key in same {
            assert_eq!(key.thumbprint(), thumbprint, "{name}");
        }
        let other = PrivateKey::generate(algorithm, KeySize::default()).unwrap();
        assert_ne!(other.public_key().thumbprint(), thumbprint);
    }
}

#[test]
fn reads_version_2_of_pkcs8_and_checks_the_public_key_in_it() {
    let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let mut der = document.as_ref().to_vec();
    let key = PrivateKey::from_pkcs8_der(&der).unwrap();
    assert!(key.to_pkcs8_der().unwrap().len() < der.len(), "version 2 also holds the public key");
    assert_pair(&key, &key.public_key(), "version 2");
    *der.last_mut().unwrap() ^= 1;
    assert!(PrivateKey::from_pkcs8_der(&der).is_err());
}

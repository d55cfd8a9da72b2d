//! Key files that are refused: encrypted, cut, of a kind that signs no JWT, weak, or with halves
//! that do not match.

use super::{
    openssl::{KINDS, OpenSsl},
    private_error, public_error,
};
use countersign_jose::{
    Algorithm, Jwk, KeyError, PrivateKey, PublicKey, TokenError, Unverified, VerifyingKey, base64url::encode,
};

#[test]
fn says_that_an_encrypted_key_is_encrypted_in_every_format() {
    let openssl = OpenSsl::new("says_encrypted");
    for (name, kind) in KINDS {
        openssl.genpkey(kind, "key.pem");
        let mut texts = vec![openssl.text("pkcs8 -topk8 -in key.pem -passout pass:secret")];
        if name != "ed25519" {
            texts.push(openssl.text("pkey -in key.pem -traditional -aes256 -passout pass:secret"));
        }
        for text in texts {
            assert!(text.contains("ENCRYPTED"), "{text}");
            assert_eq!(private_error(&text), KeyError::Encrypted, "{text}");
            assert_eq!(private_error(&text.replace('\n', "\\n")), KeyError::Encrypted, "{text}");
            assert_eq!(public_error(&text), KeyError::Encrypted, "{text}");
        }
    }
}

#[test]
fn refuses_der_that_is_cut_at_any_byte_or_followed_by_more() {
    let openssl = OpenSsl::new("refuses_cut_der");
    for (name, kind) in KINDS {
        openssl.genpkey(kind, "key.pem");
        let private = openssl.run("pkcs8 -topk8 -nocrypt -in key.pem -outform DER");
        let public = openssl.run("pkey -in key.pem -pubout -outform DER");
        assert!(PrivateKey::from_pkcs8_der(&private).is_ok());
        let step = if private.len() > 500 { 17 } else { 1 };
        for at in (0..private.len()).step_by(step) {
            let cut = PrivateKey::from_pkcs8_der(&private[..at]).unwrap_err();
            assert_eq!(cut, KeyError::MalformedDer, "{name} at {at}");
        }
        let more = [&private[..], &[0]].concat();
        assert_eq!(PrivateKey::from_pkcs8_der(&more).unwrap_err(), KeyError::MalformedDer);
        for at in (0..public.len()).step_by(step) {
            let text = pem::encode(&pem::Pem::new("PUBLIC KEY", &public[..at]));
            assert_eq!(public_error(&text), KeyError::MalformedDer, "{name} at {at}");
        }
        // The right structure under the wrong label.
        for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY", "RSA PUBLIC KEY"] {
            let text = pem::encode(&pem::Pem::new(label, &private[..]));
            assert_eq!(private_error(&text), KeyError::MalformedDer, "{name} as {label}");
        }
    }
}

#[test]
fn refuses_keys_of_a_kind_that_signs_no_jwt_here() {
    let openssl = OpenSsl::new("refuses_foreign_kinds");
    for (kind, said) in [
        ("X25519", "an X25519 key"),
        ("X448", "an X448 key"),
        ("ED448", "an Ed448 key"),
        ("EC -pkeyopt ec_paramgen_curve:secp256k1", "secp256k1"),
        ("EC -pkeyopt ec_paramgen_curve:P-192", "P-192"),
        ("EC -pkeyopt ec_paramgen_curve:P-224", "P-224"),
        ("EC -pkeyopt ec_paramgen_curve:brainpoolP256r1", "brainpoolP256r1"),
        ("EC -pkeyopt ec_paramgen_curve:brainpoolP320r1", "brainpoolP320r1"),
        ("EC -pkeyopt ec_paramgen_curve:brainpoolP384r1", "brainpoolP384r1"),
        ("EC -pkeyopt ec_paramgen_curve:brainpoolP512r1", "brainpoolP512r1"),
        ("EC -pkeyopt ec_paramgen_curve:SM2", "SM2"),
        ("RSA-PSS -pkeyopt rsa_keygen_bits:2048", "an RSA key for PSS alone"),
        // One that has no name here.
        ("EC -pkeyopt ec_paramgen_curve:sect283k1", "unsupported key type or curve; RSA"),
    ] {
        let private = openssl.genpkey(kind, "key.pem");
        for why in [private_error(&private), public_error(&openssl.text("pkey -in key.pem -pubout"))] {
            assert!(matches!(why, KeyError::UnsupportedKind { .. }), "{kind}: {why:?}");
            assert!(why.to_string().contains(said), "{kind}: {why}");
        }
    }
    // A curve spelled out in place of its name could be any curve (CVE-2020-0601).
    openssl.run("ecparam -name prime256v1 -param_enc explicit -genkey -noout -out key.pem");
    for text in [openssl.read("key.pem"), openssl.text("pkcs8 -topk8 -nocrypt -in key.pem")] {
        assert_eq!(private_error(&text), KeyError::MalformedDer, "{text}");
    }
    assert_eq!(public_error(&openssl.text("ec -in key.pem -pubout")), KeyError::MalformedDer);
    let three_primes = openssl.genpkey("RSA -pkeyopt rsa_keygen_primes:3", "key.pem");
    assert!(private_error(&three_primes).to_string().contains("more than two primes"));
}

#[test]
fn refuses_rsa_of_1024_bits_for_signing_and_verifying_unless_asked_for_by_name() {
    let openssl = OpenSsl::new("refuses_weak_rsa");
    openssl.run("genrsa -out key.pem 1024");
    let weak = KeyError::RsaTooSmall { bits: 1024 };
    assert_eq!(private_error(&openssl.read("key.pem")), weak);
    assert_eq!(private_error(&openssl.text("rsa -in key.pem -traditional")), weak);
    let public = PublicKey::from_pem(&openssl.text("rsa -in key.pem -pubout")).unwrap();
    for alg in Algorithm::ALL.into_iter().filter(|a| a.key_kind() == public.kind()) {
        assert_eq!(VerifyingKey::new(&public, alg, None).unwrap_err(), weak, "{alg}");
    }
    let PublicKey::Rsa { n, e } = &public else { unreachable!() };
    let jwk = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, encode(n), encode(e));
    assert_eq!(Jwk::parse(jwk.as_bytes()).unwrap().verifying_key(None).unwrap_err(), weak);

    for (alg, digest) in [(Algorithm::RS256, "sha256"), (Algorithm::RS512, "sha512")] {
        let input = format!("{}.{}", encode(format!(r#"{{"alg":"{alg}"}}"#).as_bytes()), encode(b"{}"));
        let signature = openssl.run_with(&format!("dgst -{digest} -sign key.pem"), input.as_bytes());
        let token = format!("{input}.{}", encode(&signature));
        let key = VerifyingKey::legacy_weak_rsa(&public, alg, None).unwrap();
        assert!(Unverified::parse(&token).unwrap().verify(&key).is_ok(), "{alg}");
        let changed = token.replacen(".e30.", ".e30g.", 1);
        assert_eq!(Unverified::parse(&changed).unwrap().verify(&key), Err(TokenError::BadSignature), "{alg}");
    }
    for alg in Algorithm::ALL.into_iter().filter(|a| !["RS256", "RS512"].contains(&a.name())) {
        let refused = VerifyingKey::legacy_weak_rsa(&public, alg, None).unwrap_err();
        assert_eq!(refused, KeyError::AlgorithmMismatch { algorithm: alg });
    }
}

#[test]
fn the_door_for_weak_rsa_opens_no_further() {
    let openssl = OpenSsl::new("weak_rsa_door");
    openssl.run("genrsa -out key.pem 768");
    let public = PublicKey::from_pem(&openssl.text("rsa -in key.pem -pubout")).unwrap();
    let refused = VerifyingKey::legacy_weak_rsa(&public, Algorithm::RS256, None).unwrap_err();
    assert_eq!(refused, KeyError::RsaTooSmall { bits: 768 });
    openssl.genpkey("ED25519", "key.pem");
    let other = PublicKey::from_pem(&openssl.text("pkey -in key.pem -pubout")).unwrap();
    let refused = VerifyingKey::legacy_weak_rsa(&other, Algorithm::RS256, None).unwrap_err();
    assert_eq!(refused, KeyError::AlgorithmMismatch { algorithm: Algorithm::RS256 });
}

#[test]
fn refuses_a_pkcs8_key_whose_public_half_is_of_another_key() {
    let openssl = OpenSsl::new("refuses_mixed_halves");
    let point = |file: &str| {
        openssl.genpkey(KINDS[2].1, file);
        openssl.run(&format!("pkey -in {file} -pubout -outform DER"))[27..].to_vec()
    };
    let (own, other) = (point("key.pem"), point("other.pem"));
    let mut der = openssl.run("pkcs8 -topk8 -nocrypt -in key.pem -outform DER");
    let at = der.len() - own.len();
    assert_eq!(der[at..], own);
    der[at..].copy_from_slice(&other);
    assert_eq!(PrivateKey::from_pkcs8_der(&der).unwrap_err(), KeyError::Inconsistent);
}

#[test]
fn a_compressed_point_is_told_from_one_that_is_wrong() {
    let openssl = OpenSsl::new("compressed_points");
    for (curve, width) in [("P-256", 32), ("P-384", 48), ("P-521", 66)] {
        openssl.genpkey(&format!("EC -pkeyopt ec_paramgen_curve:{curve}"), "key.pem");
        let compressed = openssl.text("ec -in key.pem -pubout -conv_form compressed");
        assert_eq!(public_error(&compressed), KeyError::CompressedPoint, "{curve}");
        let private = openssl.text("ec -in key.pem -conv_form compressed");
        assert_eq!(private_error(&private), KeyError::CompressedPoint, "{curve}");
        // What the message says to do.
        openssl.run("ec -in key.pem -conv_form uncompressed -out plain.pem");
        let mut der = openssl.run("pkey -in plain.pem -pubout -outform DER");
        assert!(PublicKey::from_spki_der(&der).is_ok());
        let at = der.len() - 2 * width - 1;
        der[at] = 5;
        assert_eq!(PublicKey::from_spki_der(&der).unwrap_err(), KeyError::Inconsistent, "{curve}");
    }
}

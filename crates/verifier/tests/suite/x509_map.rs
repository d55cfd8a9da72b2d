//! Keys from a map of certificates: their keys and dates count, bad entries are skipped.

use crate::support::{AUDIENCE, FakeFetch, ISSUER, Server, Signer, certified, code, today};
use countersign_jose::{Algorithm, KeyError, Timestamp, base64url};
use countersign_verifier::{KeySource, TrustedIssuer, Verifier, public_key};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const DAY: Duration = Duration::from_secs(86_400);

fn claims(now: Timestamp) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now.unix_seconds() + 60 })
}

fn verifier(url: String, fetch: Option<Arc<FakeFetch>>) -> Verifier {
    let issuer = TrustedIssuer::builder(ISSUER).keys(KeySource::X509Map(url)).audiences([AUDIENCE]);
    let issuer = issuer.algorithms([Algorithm::RS256, Algorithm::ES256]).build().unwrap();
    let builder = Verifier::builder().trust(issuer);
    match fetch {
        Some(fetch) => builder.fetch(fetch).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

#[tokio::test]
async fn rsa_and_ec_certificates_verify_and_bad_entries_are_skipped() {
    let (rsa, rsa_certificate) = certified("r", Algorithm::RS256, &["rsa:2048"]);
    let (ec, ec_certificate) = certified("e", Algorithm::ES256, EC);
    let two = format!("{ec_certificate}{rsa_certificate}");
    let cut = rsa_certificate.replace("MII", "MIJ");
    let map = json!({ "bad": "x", "number": 7, "two": two, "cut": cut, "r": rsa_certificate, "e": ec_certificate,
                      "pem": ec.key.public_key().unwrap().to_pem().unwrap() });
    let server = Server::with_jwks(&map.to_string()).await;
    let verifier = verifier(server.url("/jwks"), None);
    let now = today();
    for signer in [&rsa, &ec] {
        assert_eq!(code(&verifier.verify(&signer.token(&claims(now)), now).await), "ok");
    }
    for kid in ["bad", "number", "two", "cut", "pem"] {
        let token = ec.token_named(Some(kid), None, &claims(now));
        assert_eq!(code(&verifier.verify(&token, now).await), "token_no_key", "{kid}");
    }
    let foreign = Signer::new("e").token(&claims(now));
    assert_eq!(code(&verifier.verify(&foreign, now).await), "token_bad_signature");
}

#[tokio::test]
async fn an_entry_is_one_certificate_and_no_other_text() {
    let (ec, certificate) = certified("e", Algorithm::ES256, EC);
    let now = today();
    for (entry, expected) in [
        (certificate.clone(), "ok"),
        (format!("\r\n {} \n\n", certificate.trim()), "ok"),
        (format!("{certificate}text behind it"), "keys_unavailable"),
        (format!("text before it\n{certificate}"), "keys_unavailable"),
        (format!("{certificate}-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"), "keys_unavailable"),
        (format!("{certificate}-----END CERTIFICATE-----"), "keys_unavailable"),
        (format!("-----BEGIN CERTIFICATE-----\n{certificate}"), "keys_unavailable"),
    ] {
        let server = Server::with_jwks(&json!({ "e": entry }).to_string()).await;
        let verifier = verifier(server.url("/jwks"), None);
        assert_eq!(code(&verifier.verify(&ec.token(&claims(now)), now).await), expected, "{entry}");
    }
}

#[tokio::test]
async fn a_certificate_counts_only_within_its_dates() {
    let (ec, certificate) = certified("e", Algorithm::ES256, EC);
    let server = Server::with_jwks(&json!({ "e": certificate }).to_string()).await;
    let now = today();
    for (when, expected) in [
        (now, "ok"),
        (now.plus(DAY * 29), "ok"),
        (now.plus(DAY * 31), "certificate_not_valid"),
        (now.minus(DAY), "certificate_not_valid"),
    ] {
        let verifier = verifier(server.url("/jwks"), None);
        assert_eq!(code(&verifier.verify(&ec.token(&claims(when)), when).await), expected);
    }
}

#[tokio::test]
async fn an_error_document_a_jwks_and_an_empty_map_are_no_keys() {
    let (ec, certificate) = certified("e", Algorithm::ES256, EC);
    let now = today();
    let url = "https://issuer.example/x509";
    for (document, expected) in [
        (json!({ "error": { "code": 403 }, "e": certificate }).to_string(), "fetch_error_document"),
        (json!({}).to_string(), "fetch_no_usable_key"),
        (crate::support::jwks(&[&ec]), "fetch_no_usable_key"),
        (format!(r#"{{"e":{0},"e":{0}}}"#, json!(certificate)), "fetch_not_json"),
    ] {
        let fetch = Arc::new(FakeFetch::default());
        fetch.on(url, &document, None);
        let verifier = verifier(url.into(), Some(fetch));
        assert_eq!(code(&verifier.verify(&ec.token(&claims(now)), now).await), "keys_unavailable");
        assert_eq!(verifier.status(now).remove(0).failure.unwrap().code(), expected);
    }
}

#[tokio::test]
async fn a_certificate_with_a_small_rsa_key_is_skipped() {
    let (_, good) = certified("good", Algorithm::ES256, EC);
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("openssl")
        .current_dir(folder.path())
        .args([
            "req", "-x509", "-nodes", "-subj", "/CN=t", "-newkey", "rsa:1024", "-keyout", "k", "-out", "c",
        ])
        .output()
        .unwrap();
    assert!(made.status.success());
    let small = std::fs::read_to_string(folder.path().join("c")).unwrap();
    let fetch = Arc::new(FakeFetch::default());
    let url = "https://issuer.example/x509";
    fetch.on(url, &json!({ "small": small, "good": good }).to_string(), None);
    let verifier = verifier(url.into(), Some(fetch));
    assert_eq!(verifier.warm(today()).await.remove(0).keys, 1);
}

#[test]
fn the_certificate_of_a_file_is_read_however_it_came_here() {
    let (signer, certificate) = certified("e", Algorithm::ES256, EC);
    let expected = signer.key.public_key().unwrap().clone();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c"), &certificate).unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let shown = command.current_dir(folder.path()).args(arguments).args(["-in", "c"]).output().unwrap();
        assert!(shown.status.success());
        String::from_utf8(shown.stdout).unwrap()
    };
    let packed = |text: &str| base64url::encode(text.as_bytes());
    let plain = certificate.as_str();
    for text in [
        plain.to_owned(),
        openssl(&["x509", "-text"]),
        openssl(&["x509", "-trustout", "-addtrust", "serverAuth"]),
        plain.replace("CERTIFICATE", "X509 CERTIFICATE"),
        plain.replace('\n', "\\n"),
        format!("\"{}\"", plain.replace('\n', "\\n")),
        packed(plain),
    ] {
        assert_eq!(public_key(&text), Ok(expected.clone()), "{text}");
    }
    let two = format!("{certificate}{certificate}");
    assert_eq!(public_key(&two), Err(KeyError::MoreThanOneKey));
    let cut = certificate.replace("MII", "MIJ");
    assert_eq!(public_key(&cut), Err(KeyError::MalformedDer));
}

//! Key servers with authorities of their own: those vouch in place of the system's, and are read
//! again for each request. What a bearer token does is in `tests/e2e/test_key_server.py`, with a
//! server that looks at it.

use crate::{
    support::{Signer, at, code, issuer, jwks, trusting},
    tls::serve,
};
use countersign_verifier::{KeyServer, KeySource, Reread, TrustError, TrustedIssuer};
use std::{fs, path::PathBuf, sync::Arc};

fn file(path: PathBuf) -> Reread {
    Arc::new(move || fs::read_to_string(&path).map(Into::into).map_err(|why| why.to_string()))
}

fn authorities(path: PathBuf) -> KeyServer {
    KeyServer { authorities: Some(file(path)), bearer: None }
}

fn text(text: &str) -> Reread {
    let text = text.to_owned();
    Arc::new(move || Ok(text.clone().into()))
}

#[tokio::test]
async fn the_authorities_of_the_issuer_vouch_for_its_server_and_no_others_do() {
    let signer = Signer::new("k1");
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("jwks"), jwks(&[&signer])).unwrap();
    let (_server, port) = serve(folder.path());
    let (_other, _) = serve(other.path());
    let asked = |host: &str, file: PathBuf| {
        let url = format!("https://{host}:{port}/jwks");
        trusting(issuer(KeySource::JwksUrl(url)).key_server(authorities(file)))
    };
    let pem = folder.path().join("cert.pem");
    let taken = asked("127.0.0.1", pem.clone()).verify(&signer.good(), at(0)).await;
    assert_eq!(code(&taken), "ok", "{taken:?}");
    // The same certificate for another name, and an authority of somebody else's.
    for (host, file) in [("localhost", pem.clone()), ("127.0.0.1", other.path().join("cert.pem"))] {
        let refused = asked(host, file).verify(&signer.good(), at(0)).await;
        assert!(format!("{refused:?}").contains("certificate"), "{refused:?}");
    }
    // The system's do not vouch beside them, and what has gone since the start is an error of its
    // own.
    let verifier = asked("127.0.0.1", pem.clone());
    fs::rename(&pem, folder.path().join("moved.pem")).unwrap();
    let refused = verifier.verify(&signer.good(), at(0)).await;
    assert!(format!("{refused:?}").contains("Access"), "{refused:?}");
    fs::rename(folder.path().join("moved.pem"), &pem).unwrap();
    // A pause after the failure is over by then.
    assert_eq!(code(&verifier.verify(&signer.good(), at(60)).await), "ok");
}

#[test]
fn what_cannot_be_used_does_not_build() {
    let at = |source: KeySource, server: KeyServer| issuer(source).key_server(server).build().map(|_| ());
    let url = |url: &str| KeySource::JwksUrl(url.to_owned());
    let pem = |pem: &str| KeyServer { authorities: Some(text(pem)), bearer: None };
    let bearer = |token: &str| KeyServer { authorities: None, bearer: Some(text(token)) };
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (server, says) in [
        (pem(""), "1 to 32 certificates"),
        (pem("x"), "1 to 32 certificates"),
        (pem(private), "1 to 32 certificates"),
        (pem(nonsense), "cannot be used"),
        (pem(&nonsense.repeat(33)), "1 to 32 certificates"),
        (pem(&"x".repeat(64 * 1024 + 1)), "longer than"),
        (bearer(""), "printable"),
        (bearer("a b"), "printable"),
        (bearer("a\r\nX: y"), "printable"),
        (bearer("\u{e9}"), "printable"),
        (bearer(&"x".repeat(16 * 1024 + 1)), "printable"),
    ] {
        let refused = at(url("https://a.example/k"), server);
        let Err(TrustError::KeyServerAccess { why, .. }) = refused else { panic!("{says}: {refused:?}") };
        assert!(why.contains(says), "{why}");
    }
    // Where nothing is asked, or not over TLS.
    for (source, server) in [
        (url("http://127.0.0.1/k"), pem(nonsense)),
        (KeySource::Discovery, bearer("x")),
        (KeySource::DiscoveryAt("https://a.example/d".to_owned()), bearer("x")),
        (KeySource::InlineJwks("{\"keys\":[]}".to_owned()), bearer("x")),
    ] {
        assert!(matches!(
            at(source, server),
            Err(TrustError::KeyServer { .. } | TrustError::NoUsableKey { .. })
        ));
    }
    assert_eq!(at(url("http://127.0.0.1/k"), bearer("x\n")), Ok(()));
    let shown = format!("{:?}", TrustedIssuer::builder("i").key_server(bearer("MARKER")));
    assert!(!shown.contains("MARKER"), "{shown}");
}

//! Key servers over TLS: a certificate that the system's roots vouch for is taken, any other is
//! refused.
//!
//! The server is openssl's own. The roots are those of a process, so the good case runs in a
//! process of its own: this same test again, with `SSL_CERT_FILE` set.

use crate::support::{Signer, at, code, issuer, jwks, trusting};
use countersign_verifier::KeySource;
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Stops the server with the test.
pub(crate) struct Openssl(Child);

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TLS server for the files of a folder, with the certificate in it, and its port.
pub(crate) fn serve(folder: &Path) -> (Openssl, String) {
    let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=key server", "-days", "2"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .args(names)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut server = Command::new("openssl")
        .current_dir(folder)
        .args(["s_server", "-WWW", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let ready = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
    // It writes a line for each request; somebody has to take them.
    std::thread::spawn(move || lines.for_each(drop));
    let port = ready.unwrap().rsplit(':').next().unwrap().to_owned();
    (Openssl(server), port)
}

#[tokio::test]
async fn only_a_certificate_the_systems_roots_vouch_for_is_taken() {
    if let (Ok(folder), Ok(port)) = (env::var("TLS_TEST_FOLDER"), env::var("TLS_TEST_PORT")) {
        return where_the_certificate_is_trusted(Path::new(&folder), &port).await;
    }
    let signer = Signer::new("k1");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jwks"), jwks(&[&signer])).unwrap();
    fs::write(folder.path().join("token"), signer.good()).unwrap();
    let (_server, port) = serve(folder.path());

    let verifier = trusting(issuer(KeySource::JwksUrl(format!("https://127.0.0.1:{port}/jwks"))));
    let refused = verifier.verify(&signer.good(), at(0)).await;
    assert_eq!(code(&refused), "keys_unavailable");
    assert!(format!("{refused:?}").contains("certificate"), "{refused:?}");

    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tls::only_a_certificate_the_systems_roots_vouch_for_is_taken"])
        .env("SSL_CERT_FILE", folder.path().join("cert.pem"))
        .env("TLS_TEST_FOLDER", folder.path())
        .env("TLS_TEST_PORT", port)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

async fn where_the_certificate_is_trusted(folder: &Path, port: &str) {
    let token = fs::read_to_string(folder.join("token")).unwrap();
    let at_host = |host: &str| trusting(issuer(KeySource::JwksUrl(format!("https://{host}:{port}/jwks"))));
    let taken = at_host("127.0.0.1").verify(&token, at(0)).await;
    assert_eq!(code(&taken), "ok", "{taken:?}");
    // The same certificate for another name.
    let refused = at_host("localhost").verify(&token, at(0)).await;
    assert!(format!("{refused:?}").contains("certificate"), "{refused:?}");
}

//! A key with a self-signed certificate, made by the openssl command at test time, as key servers
//! have them.

use super::Signer;
use countersign_jose::{Algorithm, PrivateKey, SigningKey, Timestamp};
use std::{process::Command, time::SystemTime};

/// A signer and its certificate as PEM, valid for 30 days from now.
pub(crate) fn certified(kid: &str, algorithm: Algorithm, kind: &[&str]) -> (Signer, String) {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .current_dir(folder.path())
        .args([
            "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=test", "-keyout", "key", "-out", "cert",
        ])
        .arg("-newkey")
        .args(kind)
        .output()
        .expect("openssl must be installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let key = SigningKey::new(&PrivateKey::from_pem(&read("key")).unwrap(), algorithm).unwrap();
    (Signer { kid: kid.into(), key }, read("cert"))
}

/// The true present, in which such a certificate is valid.
#[expect(clippy::disallowed_methods, reason = "openssl writes the true time into certificates")]
pub(crate) fn today() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_unix_seconds(0).plus(since)
}

//! A server with a certificate: it is proven, whatever the URL leaves out.

use std::{path::Path, process::Command};

use countersign_store::{Expect, Store};
use countersign_testbed::start_mongo;
use tempfile::tempdir;

use super::{
    key,
    world::{self, is},
};

/// An authority (`ca.pem`) and a certificate with its key (`server.pem`) for `localhost`, not for
/// 127.0.0.1.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("{new} -subj /CN=tests -keyout ca.key -out ca.pem"));
    openssl(&format!(
        "{new} -subj /CN=server -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
         -CA ca.pem -CAkey ca.key -keyout server.key -out server.crt"
    ));
    let both = ["server.crt", "server.key"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
    std::fs::write(folder.join("server.pem"), both.concat()).unwrap();
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_and_to_name_the_host() {
    let folder = tempdir().unwrap();
    certificates(folder.path());
    let server = start_mongo(&["--certificate", &folder.path().join("server.pem").display().to_string()]);
    let authority = folder.path().join("ca.pem");
    let url = |host: &str, more: &str| {
        let port = server.port();
        format!("mongodb://{host}:{port}/db?directConnection=true&serverSelectionTimeoutMS=1500{more}")
    };
    let trusted = format!("&tlsCAFile={}", authority.display());
    let store = world::open(&url("localhost", &trusted)).await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
    for (host, more, hint) in [
        ("127.0.0.1", trusted.as_str(), "TLS: invalid peer certificate"),
        ("localhost", "&tls=true", "UnknownIssuer"),
    ] {
        is(&world::open(&url(host, more)).await.unwrap_err(), "store_misconfigured", hint);
    }
    is(&world::open(&url("localhost", "&tls=false")).await.unwrap_err(), "store_unavailable", "");
}

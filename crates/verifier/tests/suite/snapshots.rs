//! Snapshots: a cold start with a recent one makes no request, and nothing wrong in one is
//! believed.

use crate::support::{FakeFetch, Signer, at, code, issuer, jwks};
use countersign_verifier::{DirectorySnapshots, KeySource, Snapshots, Verifier};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

const URL: &str = "https://issuer.example/jwks";

fn cold(fetch: &Arc<FakeFetch>, folder: &Path, url: &str) -> Verifier {
    let issuer = issuer(KeySource::JwksUrl(url.into())).build().unwrap();
    let snapshots = Arc::new(DirectorySnapshots::new(folder));
    Verifier::builder().trust(issuer).fetch(fetch.clone()).snapshots(snapshots).build().unwrap()
}

/// A folder with the snapshot of keys fetched at 0 for 600 s, and the one file in it.
async fn saved(signer: &Signer) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("keys");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[signer]), None);
    assert_eq!(code(&cold(&fetch, &folder, URL).verify(&signer.good(), at(0)).await), "ok");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "no draft is left behind: {files:?}");
    (parent, folder, files.into_iter().next().unwrap())
}

#[tokio::test]
async fn a_cold_start_with_a_fresh_snapshot_makes_no_request() {
    let signer = Signer::new("k1");
    let (_parent, folder, _) = saved(&signer).await;
    let fetch = Arc::new(FakeFetch::default());
    let verifier = cold(&fetch, &folder, URL);
    assert_eq!(code(&verifier.verify(&signer.good(), at(400)).await), "ok");
    assert_eq!((fetch.count(), verifier.status(at(400)).remove(0).fetched_at), (0, Some(at(0))));
    // An unknown key name asks, as ever, and the issuer is not there.
    assert_eq!(code(&verifier.verify(&signer.good_as("k2"), at(400)).await), "keys_unavailable");
    assert_eq!(fetch.count(), 1);
}

#[tokio::test]
async fn with_discovery_too_a_cold_start_makes_no_request() {
    let signer = Signer::new("k1");
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let fetch = Arc::new(FakeFetch::default());
        let snapshots = Arc::new(DirectorySnapshots::new(folder.path()));
        let issuer = issuer(KeySource::Discovery).build().unwrap();
        let verifier = Verifier::builder().trust(issuer).fetch(fetch.clone()).snapshots(snapshots);
        (fetch, verifier.build().unwrap())
    };
    let (fetch, verifier) = start();
    let document = serde_json::json!({ "issuer": crate::support::ISSUER, "jwks_uri": URL }).to_string();
    fetch.on("https://issuer.example/.well-known/openid-configuration", &document, None);
    fetch.on(URL, &jwks(&[&signer]), None);
    assert_eq!((code(&verifier.verify(&signer.good(), at(0)).await), fetch.count()), ("ok", 2));
    let (fetch, verifier) = start();
    assert_eq!((code(&verifier.verify(&signer.good(), at(9)).await), fetch.count()), ("ok", 0));
}

#[tokio::test]
async fn a_snapshot_is_no_younger_than_its_fetch() {
    let signer = Signer::new("k1");
    let (_parent, folder, _) = saved(&signer).await;
    // Expired: the network is asked, and only if that fails are the old keys used, for their
    // bounded time.
    for (when, expected) in [(600, "ok"), (4199, "ok"), (4200, "keys_unavailable")] {
        let fetch = Arc::new(FakeFetch::default());
        assert_eq!(
            code(&cold(&fetch, &folder, URL).verify(&signer.good(), at(when)).await),
            expected,
            "{when}"
        );
        assert_eq!(fetch.count(), 1);
    }
    let new = Signer::new("k2");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&new]), None);
    let verifier = cold(&fetch, &folder, URL);
    assert_eq!(code(&verifier.verify(&signer.good(), at(700)).await), "token_no_key");
    assert_eq!(code(&verifier.verify(&new.good(), at(700)).await), "ok");
    // From the future: written under a clock that was wrong.
    let fetch = Arc::new(FakeFetch::default());
    assert_eq!(code(&cold(&fetch, &folder, URL).verify(&new.good(), at(-10_000)).await), "keys_unavailable");
}

#[tokio::test]
async fn a_damaged_snapshot_is_ignored() {
    let signer = Signer::new("k1");
    let (_parent, folder, file) = saved(&signer).await;
    let good = fs::read_to_string(&file).unwrap();
    let long_life = good.replace("\"time_to_live\":600", "\"time_to_live\":9999999");
    assert_ne!(long_life, good);
    for (bad, asked) in [
        (String::new(), 1),
        (good[..good.len() / 2].to_owned(), 1),
        ("{}".into(), 1),
        (good.replace("\"version\":1", "\"version\":2"), 1),
        (good.replace("issuer.example", "issuer.example.evil"), 1),
        (good.replace(r#""issuer":"https://issuer"#, r#""issuer":"https://other"#), 1),
        (good.replace("\"form\":\"jwks\"", "\"form\":\"x509\""), 1),
        (good.replace("{\\\"keys", "{\\\"seys"), 1),
        (good.replacen('{', "{\"more\":1,", 1), 1),
        (good.clone(), 0),
        // A longer life than any answer could claim is cut to the ceiling.
        (long_life, 0),
    ] {
        assert_eq!(bad == good, asked == 0 && !bad.contains("9999999"), "the damage is done: {bad}");
        fs::write(&file, &bad).unwrap();
        let fetch = Arc::new(FakeFetch::default());
        fetch.on(URL, &jwks(&[&signer]), None);
        assert_eq!(code(&cold(&fetch, &folder, URL).verify(&signer.good(), at(1)).await), "ok");
        assert_eq!(fetch.count(), asked, "{bad}");
    }
    fs::write(&file, good.replace("\"time_to_live\":600", "\"time_to_live\":9999999")).unwrap();
    let fetch = Arc::new(FakeFetch::default());
    let beyond = at(24 * 3600 + 3600);
    let outcome = cold(&fetch, &folder, URL).verify(&signer.good(), beyond).await;
    assert_eq!(code(&outcome), "keys_unavailable");
}

#[tokio::test]
async fn a_snapshot_of_another_issuer_or_address_is_not_used() {
    let signer = Signer::new("k1");
    let (_parent, folder, file) = saved(&signer).await;
    let fetch = Arc::new(FakeFetch::default());
    let other = "https://issuer.example/other";
    assert_eq!(code(&cold(&fetch, &folder, other).verify(&signer.good(), at(1)).await), "keys_unavailable");
    // Not even under the file name of the other.
    let names = Arc::new(Names::default());
    let issuer = issuer(KeySource::JwksUrl(other.into())).build().unwrap();
    let verifier = Verifier::builder().trust(issuer).fetch(fetch.clone()).snapshots(names.clone());
    let _ = verifier.build().unwrap().verify(&signer.good(), at(1)).await;
    let name = names.0.lock().unwrap().clone().unwrap();
    fs::copy(&file, folder.join(name)).unwrap();
    assert_eq!(code(&cold(&fetch, &folder, other).verify(&signer.good(), at(1)).await), "keys_unavailable");
}

/// Learns the name a snapshot is asked for by.
#[derive(Debug, Default)]
struct Names(std::sync::Mutex<Option<String>>);

impl Snapshots for Names {
    fn load_snapshot(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        *self.0.lock().unwrap() = Some(name.to_owned());
        Ok(None)
    }
    fn save_snapshot(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("full"))
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_or_read_costs_nothing_but_itself() {
    let signer = Signer::new("k1");
    let fetch = Arc::new(FakeFetch::default());
    fetch.on(URL, &jwks(&[&signer]), None);
    let issuer = issuer(KeySource::JwksUrl(URL.into())).build().unwrap();
    let builder =
        Verifier::builder().trust(issuer).fetch(fetch.clone()).snapshots(Arc::new(Names::default()));
    assert_eq!(code(&builder.build().unwrap().verify(&signer.good(), at(0)).await), "ok");
    // A file where the folder should be.
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(code(&cold(&fetch, file.path(), URL).verify(&signer.good(), at(0)).await), "ok");
}

#[cfg(unix)]
#[tokio::test]
async fn a_snapshot_that_others_could_have_written_is_not_used() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let signer = Signer::new("k1");
    let (_parent, folder, file) = saved(&signer).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let start = async || {
        let fetch = Arc::new(FakeFetch::default());
        let outcome = cold(&fetch, &folder, URL).verify(&signer.good(), at(1)).await;
        (code(&outcome), fetch.count())
    };
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(start().await, ("ok", 0));
    chmod(&file, 0o666);
    assert_eq!(start().await, ("keys_unavailable", 1));
    chmod(&file, 0o600);
    chmod(&folder, 0o777);
    assert_eq!(start().await, ("keys_unavailable", 1));
    chmod(&folder, 0o700);
    let elsewhere = folder.with_file_name("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert_eq!(start().await, ("keys_unavailable", 1));
}

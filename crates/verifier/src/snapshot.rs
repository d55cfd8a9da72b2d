//! Snapshots: the last key document of each issuer kept across restarts, so that a cold start makes
//! no request.
//!
//! A snapshot is read with the checks and age limits of an answer from the network, must be of the
//! same issuer, address and form, and is otherwise ignored; it can only ever be as new as its
//! fetch. Anyone who can write it can choose the issuer's keys: [`DirectorySnapshots`] takes
//! nothing from a directory or file that another user owns or may write. On AWS Lambda,
//! `/tmp/countersign` is such a place. Called by `remote`. Pinned by `tests/suite/snapshots.rs`.

use crate::{
    fetch::MAX_KEY_BYTES,
    keys::{Format, LoadedKeys},
    remote::{Held, Subject},
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use countersign_jose::{Timestamp, base64url};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    fmt::Debug,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Keeps snapshots. Called from a thread where blocking is allowed.
pub trait Snapshots: Send + Sync + Debug {
    /// The snapshot of this name; `None` if none exists.
    fn load_snapshot(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Keeps a snapshot in place of an older one, as a whole or not at all.
    fn save_snapshot(&self, name: &str, snapshot: &[u8]) -> io::Result<()>;
}

/// Snapshots as files of one directory, which is made, for this user alone, when the first one is
/// written.
#[derive(Debug)]
pub struct DirectorySnapshots {
    directory: PathBuf,
}

impl DirectorySnapshots {
    /// Keeps snapshots in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl Snapshots for DirectorySnapshots {
    fn load_snapshot(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.directory.join(name);
        let found = [&self.directory, &path].map(fs::symlink_metadata);
        for metadata in found {
            match metadata {
                Ok(metadata) => check_owner(&metadata)?,
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(why) => return Err(why),
            }
        }
        // JSON escapes can double a document; anything larger is not one of ours.
        if fs::metadata(&path)?.len() > 2 * MAX_KEY_BYTES as u64 + 4096 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is too large"));
        }
        fs::read(path).map(Some)
    }

    fn save_snapshot(&self, name: &str, snapshot: &[u8]) -> io::Result<()> {
        create_private(&self.directory)?;
        check_owner(&fs::symlink_metadata(&self.directory)?)?;
        replace(&self.directory.join(name), snapshot)
    }
}

#[cfg(unix)]
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = countersign_files::Draft::create(path, 0o600)?;
    draft.write(bytes)?;
    draft.replace()
}

#[cfg(not(unix))]
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, bytes)?;
    fs::rename(&draft, path)
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(unix)]
fn check_owner(metadata: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && metadata.mode() & 0o022 == 0 && !metadata.is_symlink() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "a snapshot that others may write is not used"))
}

#[cfg(not(unix))]
fn check_owner(_: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    version: u8,
    issuer: Cow<'a, str>,
    url: Cow<'a, str>,
    form: Cow<'a, str>,
    fetched_at: Timestamp,
    time_to_live: u64,
    body: Cow<'a, str>,
}

const VERSION: u8 = 1;

fn form(format: Format) -> &'static str {
    match format {
        Format::Jwks => "jwks",
        Format::X509Map => "x509",
        Format::KeyDocument => "key-document",
        Format::Pem => "pem",
    }
}

/// A file name that says nothing and cannot leave the directory.
fn name(subject: &Subject) -> String {
    let of = format!("{}\n{}\n{}", subject.issuer, subject.location.url().as_str(), form(subject.format));
    format!("{}.json", base64url::encode(digest(&SHA256, of.as_bytes()).as_ref()))
}

/// The keys of a snapshot, whatever their age. Anything wrong with it is as if it were not there.
pub(crate) async fn load(snapshots: Arc<dyn Snapshots>, subject: &Subject) -> Option<Held> {
    let file = name(subject);
    let loaded = tokio::task::spawn_blocking(move || snapshots.load_snapshot(&file)).await.ok()?;
    let issuer = &*subject.issuer;
    match loaded {
        Ok(None) => None,
        Ok(Some(bytes)) => {
            let read = read(&bytes, subject);
            if let Err(why) = &read {
                match why {
                    // As it was written: it keeps a start from believing an older one.
                    Ignored::Withdrawn => tracing::info!(issuer, "a snapshot of keys was ignored: {why}"),
                    Ignored::Damaged | Ignored::Other => {
                        tracing::warn!(issuer, "a snapshot of keys was ignored: {why}");
                    }
                }
            }
            read.ok()
        }
        Err(why) => {
            tracing::warn!(issuer, "a snapshot of keys cannot be read: {why}");
            None
        }
    }
}

/// Why a snapshot is as if it were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Ignored {
    #[error("it is damaged")]
    Damaged,
    #[error("it is of another configuration or version")]
    Other,
    #[error(
        "no key in it can be used, because the issuer had withdrawn them or had other algorithms; it is asked anew"
    )]
    Withdrawn,
}

fn read(bytes: &[u8], subject: &Subject) -> Result<Held, Ignored> {
    let record: Record<'_> = serde_json::from_slice(bytes).map_err(|_| Ignored::Damaged)?;
    let same = record.version == VERSION
        && record.issuer == *subject.issuer
        && record.url == subject.location.url().as_str()
        && record.form == form(subject.format);
    if !same {
        return Err(Ignored::Other);
    }
    if record.body.len() > MAX_KEY_BYTES {
        return Err(Ignored::Damaged);
    }
    let keys = LoadedKeys::parse(subject.format, record.body.as_bytes(), &subject.algorithms);
    let keys = keys.map_err(|_| Ignored::Damaged)?;
    // A set that withdraws all keys is kept too, so that a restart does not bring back the older
    // ones.
    if !keys.are_usable() {
        return Err(Ignored::Withdrawn);
    }
    let time_to_live = subject.policy.time_to_live(Some(Duration::from_secs(record.time_to_live)));
    Ok(Held { keys: Arc::new(keys), fetched_at: record.fetched_at, time_to_live })
}

/// Keeps the keys. A failure is logged: the keys are in memory all the same.
pub(crate) async fn save(snapshots: Arc<dyn Snapshots>, subject: &Subject, held: &Held, body: Bytes) {
    // Key documents were parsed as JSON and so are UTF-8.
    let Ok(body) = std::str::from_utf8(&body) else { return };
    let record = Record {
        version: VERSION,
        issuer: subject.issuer.as_ref().into(),
        url: subject.location.url().as_str().into(),
        form: form(subject.format).into(),
        fetched_at: held.fetched_at,
        time_to_live: held.time_to_live.as_secs(),
        body: body.into(),
    };
    let Ok(record) = serde_json::to_vec(&record) else { return };
    let file = name(subject);
    let saved = tokio::task::spawn_blocking(move || snapshots.save_snapshot(&file, &record)).await;
    if let Ok(Err(why)) = saved {
        tracing::warn!(issuer = &*subject.issuer, "a snapshot of keys cannot be written: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        remote::{Location, RefreshPolicy},
        source::KeyUrl,
    };
    use countersign_jose::{Algorithm, KeySize, PublicJwk, SigningKey};

    #[test]
    fn why_a_snapshot_is_not_used_is_told_apart() {
        let subject = Subject {
            issuer: "https://a.example".into(),
            location: Location::Direct(KeyUrl::parse("https://a.example/keys").unwrap()),
            format: Format::Jwks,
            algorithms: vec![Algorithm::ES256],
            policy: RefreshPolicy::default(),
            may_be_missing: false,
        };
        let written = |issuer: &str, body: &str| {
            let record = Record {
                version: VERSION,
                issuer: issuer.into(),
                url: "https://a.example/keys".into(),
                form: "jwks".into(),
                fetched_at: Timestamp::from_unix_seconds(0),
                time_to_live: 600,
                body: body.into(),
            };
            serde_json::to_vec(&record).unwrap()
        };
        let key = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
        let key = key.public_key().unwrap().clone();
        let jwk = serde_json::to_string(&PublicJwk { kid: "k".to_owned(), algorithm: Algorithm::ES256, key });
        let good = format!(r#"{{"keys":[{}]}}"#, jwk.unwrap());
        assert!(read(&written("https://a.example", &good), &subject).is_ok());
        for (bytes, why) in [
            (written("https://a.example", r#"{"keys":[]}"#), Ignored::Withdrawn),
            (written("https://a.example", &good.replace("ES256", "ES384")), Ignored::Withdrawn),
            (written("https://b.example", &good), Ignored::Other),
            (written("https://a.example", "<html>"), Ignored::Damaged),
            (b"{".to_vec(), Ignored::Damaged),
        ] {
            let found = read(&bytes, &subject).err();
            assert_eq!(found, Some(why), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

//! A folder that a web server serves: files that anyone may read.
//!
//! One run at a time: each holds a lock on the folder of the JWKS until it ends, which leaves no
//! file behind for the world to see. The kernel takes a lock back from a process that was killed.
//! Where the file system has no locks, or the folder cannot be opened, runs go on without.

use super::{ASAP, Found};
use crate::failure::{Failure, Outcome, away, unwritable};
use countersign_files::Draft;
use countersign_issuer::{Document, JWKS_PATH};
use countersign_settings::duration::words;
use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

/// How long a run waits for another: longer than one takes that has to ask others.
const LONGEST: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(in super::super) struct Folder {
    path: PathBuf,
    /// Held until the value goes. `None` where there are no locks.
    lock: OnceLock<Option<File>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// The folder that is locked.
    fn locked(&self) -> PathBuf {
        self.file(JWKS_PATH).parent().unwrap_or(&self.path).to_owned()
    }

    /// Waits until no other run is at work there, if there is anything yet. What this run reads
    /// afterwards is newer than what the other wrote.
    pub(super) async fn lock_if_there(&self) -> Outcome {
        match self.locked().is_dir() {
            true => self.lock_within(LONGEST).await,
            false => Ok(()),
        }
    }

    /// The same, and makes the folder.
    pub(super) async fn lock(&self) -> Outcome {
        let folder = self.locked();
        fs::create_dir_all(&folder).map_err(|why| about(&folder, &why))?;
        self.lock_within(LONGEST).await
    }

    async fn lock_within(&self, longest: Duration) -> Outcome {
        if self.lock.get().is_some() {
            return Ok(());
        }
        let Ok(folder) = File::open(self.locked()) else { return Ok(()) };
        let waiting = async {
            loop {
                match folder.try_lock() {
                    Ok(()) => return true,
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                    Err(TryLockError::Error(_)) => return false,
                }
            }
        };
        let Ok(has_locks) = tokio::time::timeout(longest, waiting).await else {
            let why = format!(
                "another process has been publishing to {self} for {}; nothing was written. Wait until it ends, or end it, and run this again",
                words(longest)
            );
            return Err(away("publish_busy", why));
        };
        let _ = self.lock.set(has_locks.then_some(folder));
        Ok(())
    }

    pub(super) fn look(&self, path: &str) -> Option<Found> {
        let bytes = fs::read(self.file(path)).ok()?;
        Some(Found { bytes: Some(bytes), ..Found::default() })
    }

    pub(super) fn write(&self, path: &str, document: &Document) -> Outcome {
        let file = self.file(path);
        replace(&file, &document.body).map_err(|why| about(&file, &why))
    }

    /// The names of the files in the folder of single keys.
    pub(super) fn names(&self) -> Outcome<Vec<String>> {
        let folder = self.file(ASAP);
        let read = || match fs::read_dir(&folder) {
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(why) => Err(why),
        };
        read().map_err(|why| about(&folder, &why))
    }

    /// One that another has removed meanwhile is removed.
    pub(super) fn remove(&self, path: &str) -> Outcome {
        let file = self.file(path);
        match fs::remove_file(&file) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(about(&file, &why)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn about(path: &Path, why: &io::Error) -> Failure {
    unwritable(path.display(), why)
}

/// Puts a file in place of another as a whole; anyone may read it.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let mut draft = Draft::create(file, 0o644)?;
    draft.write(bytes)?;
    draft.replace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_run_at_a_time_has_the_folder_and_another_is_told_so() {
        let outer = tempfile::tempdir().unwrap();
        let site = outer.path().join("site");
        let (one, other) = (Folder::new(&site), Folder::new(&site));
        one.lock_if_there().await.unwrap();
        assert!(!site.exists(), "nothing is made before something is to be written");
        one.lock().await.unwrap();
        one.lock().await.unwrap();
        let why = other.lock_within(Duration::ZERO).await.unwrap_err();
        assert_eq!(why.code(), "publish_busy");
        assert!(why.message().contains("another process has been publishing to "), "{}", why.message());
        drop(one);
        other.lock_within(Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        let folder = Folder::new(&file);
        folder.lock_if_there().await.unwrap();
        assert!(folder.lock().await.unwrap_err().message().contains("cannot be written"));
    }
}

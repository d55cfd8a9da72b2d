//! Drafts: a file is written aside and then put into place, so that a reader finds it whole or not
//! at all.
//!
//! A draft has a random name, is made where there was nothing (`O_EXCL`, `O_NOFOLLOW`) and belongs
//! to this user alone, so that a file or link that somebody else put there beforehand is never
//! written to. It is locked for as long as it is worked on: a draft that is not locked was left by
//! a process that was killed, and goes when the next one is made, or with [`sweep`]. File and
//! folder are synchronised, so that what was put into place is still there after a power cut.

use rustix::fs::OFlags;
use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

const SUFFIX: &str = ".draft";

/// Whether a file was made or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    New,
    /// Another process of this user was faster.
    AlreadyThere,
}

/// A file that is not in its place yet; it goes with the value, unless it was put there.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// An empty draft beside `target`, with exactly these permission bits, whatever the umask.
    ///
    /// # Errors
    ///
    /// What the system says of the folder.
    pub fn create(target: &Path, mode: u32) -> io::Result<Self> {
        sweep(target);
        Self::create_named(target, mode, || random_name(target))
    }

    /// One whose name is the first of `names` that nothing has.
    fn create_named(target: &Path, mode: u32, mut names: impl FnMut() -> String) -> io::Result<Self> {
        loop {
            let path = folder(target).join(names());
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path);
            let file = match made {
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            // Somebody who sweeps may have been faster, and then the draft is gone or about to go.
            // A file system without locks has nobody who sweeps.
            let swept = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            let draft = Self { file, path, target: target.to_owned() };
            if !swept && draft.file.metadata()?.nlink() > 0 {
                draft.file.set_permissions(Permissions::from_mode(mode))?;
                return Ok(draft);
            }
        }
    }

    /// Where the draft is, for callers that try it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds to the draft.
    ///
    /// # Errors
    ///
    /// What the system says: a full disk, for example.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts the draft into place where nothing is. Of two processes that do this at the same moment
    /// one makes the file, and the other finds it complete.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::PermissionDenied`] when what is there is a link, or
    /// not this user's.
    pub fn link(self) -> io::Result<Created> {
        self.file.sync_all()?;
        let created = match fs::hard_link(&self.path, &self.target) {
            Ok(()) => Created::New,
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Created::AlreadyThere,
            Err(why) => return Err(why),
        };
        let (there, ours) = (fs::symlink_metadata(&self.target)?, self.file.metadata()?);
        let expected = match created {
            Created::New => there.dev() == ours.dev() && there.ino() == ours.ino(),
            Created::AlreadyThere => there.is_file() && is_own(&there),
        };
        if !expected {
            let why = "somebody else put a file or a link there at the same moment";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let folder = folder(&self.target).to_owned();
        drop(self);
        File::open(folder)?.sync_all()?;
        Ok(created)
    }

    /// Puts the draft into place of whatever is there: a link is replaced, and what it led to
    /// stays.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn replace(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.path = PathBuf::new();
        File::open(folder(&self.target))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the drafts of `target` that killed processes of this user have left. What cannot be
/// looked at stays.
pub fn sweep(target: &Path) {
    let Ok(entries) = fs::read_dir(folder(target)) else { return };
    for entry in entries.flatten() {
        if is_draft_of(&entry.file_name(), target) {
            let _ = remove_if_left(&entry.path());
        }
    }
}

fn remove_if_left(path: &Path) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    // Locks end with the process that has them, however it ends.
    if metadata.is_file() && is_own(&metadata) && file.try_lock().is_ok() {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == crate::user()
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `.NAME.` and 16 hexadecimal digits: the standard library's hash keys are random.
fn random_name(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{:016x}{SUFFIX}", RandomState::new().build_hasher().finish())
}

fn is_draft_of(name: &OsStr, target: &Path) -> bool {
    let target = target.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.to_str().and_then(|name| {
        name.strip_prefix('.')?.strip_prefix(&*target)?.strip_prefix('.')?.strip_suffix(SUFFIX)
    });
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    /// Somebody who foresees every name puts something there first.
    #[test]
    fn a_draft_is_never_what_somebody_else_put_there_before() {
        let outer = tempfile::tempdir().unwrap();
        let (victim, there) = (outer.path().join("victim"), outer.path().join("folder"));
        fs::write(&victim, "untouched").unwrap();
        fs::create_dir(&there).unwrap();
        let at = |name: &str| there.join(name);
        fs::write(at("open"), "theirs").unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o666)).unwrap();
        symlink(&victim, at("link")).unwrap();
        symlink(outer.path().join("absent"), at("dangling")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        fs::hard_link(&victim, at("second-name")).unwrap();
        fs::create_dir(at("a-folder")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        let mut taken = vec!["open", "link", "dangling", "loop", "second-name", "a-folder", "pipe"];
        if crate::user() == 0 {
            fs::write(at("foreign"), "theirs").unwrap();
            chown(at("foreign"), Some(65_534), None).unwrap();
            taken.push("foreign");
        }
        for name in taken {
            let before = fs::symlink_metadata(at(name)).unwrap();
            let mut names = [name, "mine"].into_iter().map(str::to_owned);
            let mut draft = Draft::create_named(&at("key"), 0o600, || names.next().unwrap()).unwrap();
            assert_eq!(draft.path(), at("mine"), "{name}");
            draft.write(b"secret").unwrap();
            let mine = fs::symlink_metadata(at("mine")).unwrap();
            assert_eq!((mine.uid(), mine.mode() & 0o7777), (crate::user(), 0o600), "{name}");
            drop(draft);
            let after = fs::symlink_metadata(at(name)).unwrap();
            assert_eq!(
                (before.ino(), before.len(), before.mode()),
                (after.ino(), after.len(), after.mode()),
                "{name}"
            );
            assert_eq!(fs::read(&victim).unwrap(), b"untouched", "{name}");
            assert!(!outer.path().join("absent").exists() && !at("mine").exists(), "{name}");
        }
        assert_eq!(fs::read(at("open")).unwrap(), b"theirs");
    }
}

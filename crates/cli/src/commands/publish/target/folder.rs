//! A folder that a web server serves: files that anyone may read.

use super::ASAP;
use crate::failure::{Failure, Outcome, unwritable};
use countersign_files::Draft;
use countersign_issuer::Document;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(in super::super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    pub(super) fn holds(&self, path: &str, document: &Document) -> bool {
        fs::read(self.file(path)).is_ok_and(|bytes| bytes == document.body)
    }

    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.file(path)).ok()
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
        self.0.display().fmt(f)
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

//! Files that must never be half there and never overwrite another: written aside, then linked into place.

pub(crate) use countersign_settings::files::{read_standard_input, read_text};

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Whether a file was made or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    New,
    AlreadyThere,
}

/// Makes `path` with `content`, whole or not at all, readable by its owner only. Of two processes that do this at the
/// same moment one makes the file, and the other finds it complete.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<Created> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(content)?;
        file.sync_all()?;
        match fs::hard_link(&aside, path) {
            Ok(()) => Ok(Created::New),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(Created::AlreadyThere),
            Err(why) => Err(why),
        }
    })();
    // Gone already if it was never made.
    let _ = fs::remove_file(&aside);
    File::open(folder)?.sync_all()?;
    result
}

/// Makes a folder only its owner can enter; one that is there already is left as it is.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

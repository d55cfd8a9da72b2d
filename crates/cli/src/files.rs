//! Files as the program makes and reads them: the crate `files`, and folders.

pub(crate) use countersign_files::{
    Created, Draft, is_readable_by_others, read_standard_input, read_text, sweep,
};

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

/// Makes `path` with `content`, whole or not at all, readable by its owner only. Of two processes
/// that do this at the same moment one makes the file, and the other finds it complete.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<Created> {
    let mut draft = Draft::create(path, 0o600)?;
    draft.write(content)?;
    draft.link()
}

/// Makes a folder only its owner can enter; one that is there already is left as it is.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

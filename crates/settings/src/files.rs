//! Bounded reading: a file, or standard input, is read whole and refused when it is larger than anything meant to be read.
//!
//! `/dev/zero` named by mistake, or a pipe that never ends, is an error and not the end of all memory.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The longest file read whole: keys and claims are far smaller.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a text file of at most 4 MiB; a longer one is [`io::ErrorKind::FileTooLarge`].
pub fn read_text(path: &Path) -> io::Result<String> {
    read_limited(File::open(path)?)
}

/// Reads standard input, up to the same size.
pub fn read_standard_input() -> io::Result<String> {
    read_limited(io::stdin().lock())
}

fn read_limited(reader: impl Read) -> io::Result<String> {
    let mut text = String::new();
    reader.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_4_mib_is_read_and_a_longer_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        let limit = usize::try_from(MAX_BYTES).unwrap();
        std::fs::write(&file, "x".repeat(limit)).unwrap();
        assert_eq!(read_text(&file).unwrap().len(), limit);
        std::fs::write(&file, "x".repeat(limit + 1)).unwrap();
        assert_eq!(read_text(&file).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_text("/dev/zero".as_ref()).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}

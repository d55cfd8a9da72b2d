//! Bounded reading: a file, or standard input, is read whole and refused when it is larger than
//! anything meant to be read.
//!
//! `/dev/zero` named by mistake, or a pipe that never ends, is an error and not the end of all
//! memory. What somebody names on the command line may be a pipe; what a configuration names must
//! be a file, because a pipe that nobody writes to would hold up the program forever.

use rustix::fs::OFlags;
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The longest file read whole: keys and claims are far smaller.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

const ZEROS: &str = "there are zero bytes in it: it is UTF-16, or not text; save it as UTF-8, or name the file that was meant";

/// Reads a text file of at most 4 MiB; a longer one is [`io::ErrorKind::FileTooLarge`].
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    read_limited(File::open(path)?, MAX_BYTES, &mut text).map_err(|why| match why.kind() {
        io::ErrorKind::IsADirectory => io::Error::new(why.kind(), "it is a folder; name the file in it"),
        _ => why,
    })?;
    Ok(text)
}

/// Reads standard input, up to the same size.
pub fn read_standard_input() -> io::Result<String> {
    let mut text = String::new();
    read_limited(io::stdin().lock(), MAX_BYTES, &mut text)?;
    Ok(text)
}

/// Reads a text of at most `most` bytes; a longer one is [`io::ErrorKind::FileTooLarge`].
pub fn read_limited(from: impl Read, most: u64, into: &mut String) -> io::Result<()> {
    let mut bytes = std::mem::take(into).into_bytes();
    from.take(most + 1).read_to_end(&mut bytes)?;
    *into = String::from_utf8(bytes).map_err(|why| {
        let mut bytes = why.into_bytes();
        let why = not_text(&bytes);
        // It may have been a private key.
        bytes.fill(0);
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    if into.len() as u64 > most {
        let why = match most {
            1_048_576.. => format!("larger than {} MiB", most / 1_048_576),
            _ => format!("larger than {} KiB", most / 1024),
        };
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    // UTF-16 of plain English is UTF-8 too, with a zero in each second byte.
    if into.contains('\0') {
        std::mem::take(into).into_bytes().fill(0);
        return Err(io::Error::new(io::ErrorKind::InvalidData, ZEROS));
    }
    Ok(())
}

/// What bytes are that are no UTF-8 text, and what to do about it.
fn not_text(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "it is UTF-16, as Windows PowerShell's > writes it; save it as UTF-8 (| Out-File -Encoding ascii)"
        }
        [0x30, 0x80..=0x84, ..] => {
            "it is DER or PKCS#12 and not text; for DER: openssl pkey -inform DER -in FILE -out key.pem, \
             for PKCS#12: openssl pkcs12 -in FILE -nodes -out key.pem, for a certificate: openssl x509 -inform DER -in FILE -out cert.pem"
        }
        [0x1f, 0x8b, ..] => "it is compressed (gzip); unpack it first",
        _ => "it is not UTF-8 text; save it as UTF-8, or name the file that was meant",
    }
}

/// Opens a file, following links; a folder, a pipe or a device is an error that says so, and never
/// a wait.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // Opening a pipe would otherwise wait for its other end.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let found = match kind {
        _ if kind.is_file() => return Ok((file, metadata)),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {found}, not a file")))
}

/// The user this program runs as.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether the permission bits let anyone but the owner read or write.
pub fn is_readable_by_others(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0
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
        let why = read_text("/dev/zero".as_ref()).unwrap_err();
        assert_eq!((why.kind(), why.to_string()), (io::ErrorKind::FileTooLarge, "larger than 4 MiB".into()));
    }

    #[test]
    fn a_folder_is_named_with_the_way_out() {
        let why = read_text(tempfile::tempdir().unwrap().path()).unwrap_err();
        assert_eq!(why.to_string(), "it is a folder; name the file in it");
    }

    #[test]
    fn what_is_not_text_is_named_with_the_way_out() {
        for (bytes, says) in [
            (&b"\xff\xfee\0y\0"[..], "UTF-16"),
            (b"\xfe\xff\0e\0y", "UTF-16"),
            (b"\x30\x82\x04\xbd\x02", "-inform DER"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"caf\xe9", "not UTF-8 text"),
            (b"i\0s\0s\0u\0e\0r\0", "it is UTF-16, or not text"),
            (b"\0i\0s\0s\0u\0e\0r", "it is UTF-16, or not text"),
        ] {
            let mut text = String::new();
            let why = read_limited(bytes, 100, &mut text).unwrap_err();
            assert_eq!(
                (why.kind(), why.to_string().contains(says)),
                (io::ErrorKind::InvalidData, true),
                "{why}"
            );
            assert_eq!(text, "");
        }
    }

    #[test]
    fn what_is_not_a_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link, file) =
            (folder.path().join("pipe"), folder.path().join("link"), folder.path().join("file"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // In a thread that may be left behind: opening a pipe like a file waits forever.
        let opened = |path: &Path| {
            let (path, (tell, told)) = (path.to_owned(), std::sync::mpsc::channel());
            std::thread::spawn(move || tell.send(open_regular(&path).map(drop)));
            told.recv_timeout(std::time::Duration::from_secs(60)).expect("it is waited for")
        };
        let why = |path: &Path| opened(path).unwrap_err();
        assert_eq!(why(&pipe).to_string(), "it is a pipe, not a file");
        assert_eq!(why(folder.path()).to_string(), "it is a folder, not a file");
        assert_eq!(why("/dev/zero".as_ref()).to_string(), "it is a device, not a file");
        assert_eq!(why(&link).kind(), io::ErrorKind::NotFound);
        std::fs::write(&file, "").unwrap();
        assert!(open_regular(&link).is_ok() && open_regular(&file).is_ok());
    }
}

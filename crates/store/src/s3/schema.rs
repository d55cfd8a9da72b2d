//! The shape of a bucket: an object for each document, and one that says whose they are.
//!
//! A document is an object of its name with a head of three lines and an empty one, then the bytes as they were put. The
//! version in the head makes that no two states of a document have the same content, hence not the same ETag. A deleted
//! document is a head alone. Names that begin with `!` are no document keys: the mark, and objects of the probe.

use countersign_jose::Timestamp;

use super::{
    connect::{Bucket, Condition, Part},
    error,
};
use crate::{MAX_DOCUMENT_BYTES, Missing, StoreError, Version};

/// What every document begins with; the number is that of the shape below.
const DOCUMENT: &str = "countersign document 1";
/// The longest head: 23 bytes for the first line, 41 for the version, 29 for the expiry, 1 for the end.
pub(super) const MAX_HEAD: usize = 94;
/// The largest object that can be a document.
pub(super) const MAX_OBJECT: u64 = (MAX_HEAD + MAX_DOCUMENT_BYTES) as u64;

/// The name and content of the mark.
const MARK: &str = "!countersign";
const STORE: &str = "countersign store 1\n";
/// Objects of the probe begin with this.
pub(super) const PROBE: &str = "!probe-";

/// How long a document is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Until(Timestamp),
    Deleted,
}

/// What the head of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) fate: Fate,
}

impl Head {
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        match self.fate {
            Fate::Kept => true,
            Fate::Until(end) => now < end,
            Fate::Deleted => false,
        }
    }

    /// The object of a document.
    pub(super) fn with(&self, bytes: &[u8]) -> Vec<u8> {
        let fate = match self.fate {
            Fate::Kept => "never".to_owned(),
            Fate::Until(end) => end.unix_seconds().to_string(),
            Fate::Deleted => "deleted".to_owned(),
        };
        let head = format!("{DOCUMENT}\nversion {}\nexpires {fate}\n\n", self.version.as_str());
        [head.as_bytes(), bytes].concat()
    }

    /// The head at the start of an object, and where the bytes begin.
    pub(super) fn parse(object: &[u8]) -> Result<(Self, usize), &'static str> {
        let foreign = "it was not written by this program";
        let end = object.windows(2).take(MAX_HEAD).position(|pair| pair == b"\n\n").ok_or(foreign)?;
        let head = object.get(..end).and_then(|head| str::from_utf8(head).ok()).ok_or(foreign)?;
        let mut lines = head.split('\n');
        match lines.next() {
            Some(DOCUMENT) => {}
            Some(line) if line.starts_with("countersign document ") => {
                return Err("it was written by a newer version of Countersign; use that version");
            }
            _ => return Err(foreign),
        }
        let damaged = "its head is damaged";
        let version = lines.next().and_then(|line| line.strip_prefix("version ")).ok_or(damaged)?;
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if version.len() != 32 || !version.bytes().all(is_hex) {
            return Err(damaged);
        }
        let fate = match lines.next().and_then(|line| line.strip_prefix("expires ")).ok_or(damaged)? {
            "never" => Fate::Kept,
            "deleted" => Fate::Deleted,
            seconds => Fate::Until(Timestamp::from_unix_seconds(seconds.parse().map_err(|_| damaged)?)),
        };
        if lines.next().is_some() || fate == Fate::Deleted && object.len() > end + 2 {
            return Err(damaged);
        }
        Ok((Self { version: Version::from_engine(version), fate }, end + 2))
    }
}

/// Whether an object is there for this engine's own sake.
pub(super) fn is_own(name: &str) -> bool {
    name == MARK || name.starts_with(PROBE)
}

/// Whether there is a store, which is one that this version can use.
///
/// # Errors
///
/// `Misconfigured`: the mark is somebody else's or of a newer version, or there is none and none is to be made.
pub(super) async fn find(bucket: &Bucket, missing: Missing) -> Result<bool, StoreError> {
    let mark = bucket.read(MARK, Part::Whole { at_most: 1024 }).await?;
    match (mark.as_ref().map(|mark| mark.bytes.as_slice()), missing) {
        (Some(bytes), _) if bytes == STORE.as_bytes() => Ok(true),
        (Some(bytes), _) if bytes.starts_with(b"countersign store ") => Err(error::newer(bucket.place())),
        (Some(_), _) => Err(error::not_ours(bucket.place(), MARK)),
        (None, Missing::Mend | Missing::Refuse) => Err(error::not_there(bucket.place())),
        (None, Missing::Make) => Ok(false),
    }
}

/// Leaves the mark. Of many who do it at once one does, and that is enough.
pub(super) async fn begin(bucket: &Bucket) -> Result<(), StoreError> {
    let write = || bucket.write(MARK, STORE.as_bytes().to_vec(), Condition::Absent);
    bucket.tried(write).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fate: Fate) -> Head {
        Head { version: Version::from_engine("0123456789abcdef0123456789abcdef"), fate }
    }

    #[test]
    fn a_document_is_read_back_as_it_was_written() {
        let ends = [i64::MIN, -1, 0, 1_800_000_000, i64::MAX];
        let ends = ends.map(|end| Fate::Until(Timestamp::from_unix_seconds(end)));
        for fate in [Fate::Kept, Fate::Deleted].into_iter().chain(ends) {
            let contents: &[&[u8]] =
                if fate == Fate::Deleted { &[b""] } else { &[b"", b"x", b"\n\n\n", b"\0\xff"] };
            for bytes in contents {
                let object = head(fate).with(bytes);
                let (read, start) = Head::parse(&object).unwrap();
                assert_eq!((read, object.get(start..).unwrap()), (head(fate), *bytes));
                assert!(start <= MAX_HEAD, "{start}");
            }
        }
    }

    #[test]
    fn a_head_is_known_by_its_first_bytes_alone() {
        let object = head(Fate::Until(Timestamp::from_unix_seconds(i64::MIN))).with(&[b'x'; 1000]);
        assert!(Head::parse(object.get(..MAX_HEAD).unwrap()).is_ok());
    }

    #[test]
    fn what_is_not_exactly_a_document_is_refused() {
        let good = String::from_utf8(head(Fate::Kept).with(b"x")).unwrap();
        let deleted = String::from_utf8(head(Fate::Deleted).with(b"x")).unwrap();
        for (text, hint) in [
            (String::new(), "not written by this program"),
            ("{}".to_owned(), "not written by this program"),
            ("\n\n".to_owned(), "not written by this program"),
            (good.replace("countersign d", "Countersign d"), "not written by this program"),
            (good.replace('\n', "\r\n"), "not written by this program"),
            (good.replace("document 1", "document 2"), "newer version"),
            (good.replace("version 0", "version X"), "damaged"),
            (good.replace("version 0", "version "), "damaged"),
            (good.replace("never", "NEVER"), "damaged"),
            (good.replace("never", "9999999999999999999"), "damaged"),
            (good.replace("never", "never\nmore 1"), "damaged"),
            (good.replace("expires never\n", ""), "damaged"),
            (deleted, "damaged"),
        ] {
            let why = Head::parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(hint), "{text:?}: {why}");
        }
    }
}

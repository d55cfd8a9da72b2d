//! The shape of a bucket: an object for each document, and one that says whose they are.
//!
//! A document is an object of its name with a head of four lines and an empty one, then the bytes
//! as they were put. The version in the head makes that no two states of a document have the same
//! content, hence not the same ETag; the length tells an empty document from one that was cut off.
//! A deleted document is a head alone. Names that begin with `!` are no document keys: the mark,
//! and objects of the probe.
//!
//! The mark says whose the objects are, and at which endpoints and in which buckets the service has
//! passed the probe: it moves with the objects when they are copied, and then the new service is
//! not among them.

use std::{cmp::Ordering, sync::Arc};

use countersign_jose::Timestamp;

use super::{
    connect::{Bucket, Condition, Object, Part},
    error,
    probe::probe,
};
use crate::{Key, MAX_DOCUMENT_BYTES, Missing, StoreError, Version};

/// What every document begins with; the number is that of the shape below.
const DOCUMENT: &str = "countersign document 1";
/// The longest head: 23 bytes for the first line, 41 for the version, 29 for the expiry, 14 for the
/// length, 1 for the end.
pub(super) const MAX_HEAD: usize = 108;
/// The largest object that can be a document.
pub(super) const MAX_OBJECT: u64 = (MAX_HEAD + MAX_DOCUMENT_BYTES) as u64;

/// The name and content of the mark.
const MARK: &str = crate::open::S3_MARK;
const STORE: &str = "countersign store 1";
/// The most lines of places that have passed the probe; the oldest are forgotten.
const PLACES: usize = 8;
/// The largest mark: the first line, and for each place an endpoint, a bucket and two words.
const MAX_MARK: u64 = 4096;
/// How many objects say whose a prefix without the mark is.
const LOOKED_AT: usize = 8;
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
        let (version, length) = (self.version.as_str(), bytes.len());
        let head = format!("{DOCUMENT}\nversion {version}\nexpires {fate}\nlength {length}\n\n");
        [head.as_bytes(), bytes].concat()
    }

    /// The head of an object that was read whole, and where the bytes begin.
    pub(super) fn parse_whole(object: &[u8]) -> Result<(Self, usize), &'static str> {
        let (head, start, length) = Self::read(object)?;
        match object.len().saturating_sub(start).cmp(&length) {
            Ordering::Less => Err("its content is cut off"),
            Ordering::Equal => Ok((head, start)),
            Ordering::Greater => Err("its content is longer than its head says"),
        }
    }

    /// The head at the start of an object.
    pub(super) fn parse(object: &[u8]) -> Result<Self, &'static str> {
        Self::read(object).map(|(head, ..)| head)
    }

    /// The head, where the bytes begin, and how many there are.
    fn read(object: &[u8]) -> Result<(Self, usize, usize), &'static str> {
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
        let length = lines.next().and_then(|line| line.strip_prefix("length ")).ok_or(damaged)?;
        let length: usize = length.parse().map_err(|_| damaged)?;
        if lines.next().is_some() || fate == Fate::Deleted && length > 0 {
            return Err(damaged);
        }
        Ok((Self { version: Version::from_engine(version), fate }, end + 2, length))
    }
}

/// Whether an object is there for this engine's own sake.
pub(super) fn is_own(name: &str) -> bool {
    name == MARK || name.starts_with(PROBE)
}

/// What the mark says.
#[derive(Debug)]
pub(super) enum Mark {
    /// None exists.
    Missing,
    /// The service has passed the probe here.
    Proven,
    /// It has passed elsewhere, or is not known to have.
    Unproven {
        etag: Option<String>,
        /// Where it has passed.
        places: Vec<String>,
    },
}

/// Whether there is a store, which is one that this version can use. One request that reads.
///
/// # Errors
///
/// `Misconfigured`: the mark is somebody else's or of a newer version. `Missing`: none exists and
/// none is to be made.
pub(super) async fn find(bucket: &Bucket, missing: Missing) -> Result<Mark, StoreError> {
    let Some(Object { bytes, etag, .. }) = bucket.read(MARK, Part::Whole { at_most: MAX_MARK }).await? else {
        return match missing {
            Missing::Mend | Missing::Refuse => Err(error::not_there(bucket.place())),
            Missing::Make => Ok(Mark::Missing),
        };
    };
    let mut lines = str::from_utf8(&bytes).unwrap_or_default().lines();
    match lines.next() {
        Some(STORE) => {}
        Some(line) if line.starts_with("countersign store ") => return Err(error::newer(bucket.place())),
        _ => return Err(error::not_ours(bucket.place(), MARK)),
    }
    let places: Vec<String> = lines.map(str::to_owned).collect();
    let here = place(bucket);
    Ok(if places.contains(&here) { Mark::Proven } else { Mark::Unproven { etag, places } })
}

/// The line of the mark for where this process asks.
fn place(bucket: &Bucket) -> String {
    format!("proven {} {}", bucket.service(), bucket.name())
}

/// Tries the service, and leaves a mark that says so. Of many who begin a store at once one does,
/// and that is enough.
///
/// # Errors
///
/// As [`probe`]; `Misconfigured`: there is no mark, but there are objects of another program.
pub(super) async fn prove(bucket: &Arc<Bucket>, mut mark: Mark) -> Result<(), StoreError> {
    if matches!(mark, Mark::Proven) {
        return Ok(());
    }
    if matches!(mark, Mark::Missing) {
        check_objects(bucket).await?;
    }
    probe(bucket).await?;
    loop {
        let (condition, mut places) = match mark {
            Mark::Proven => return Ok(()),
            Mark::Missing => (Condition::Absent, Vec::new()),
            Mark::Unproven { etag, places } => (Condition::Unchanged(etag.unwrap_or_default()), places),
        };
        places.push(place(bucket));
        let latest = places.len().saturating_sub(PLACES);
        let lines = places.get(latest..).unwrap_or_default().join("\n");
        let content = format!("{STORE}\n{lines}\n");
        let write = || bucket.write(MARK, content.clone().into_bytes(), condition.clone());
        if bucket.tried(write).await?.is_some() {
            return Ok(());
        }
        // Another one was faster.
        mark = find(bucket, Missing::Make).await?;
    }
}

/// Refuses a prefix under which others keep objects.
async fn check_objects(bucket: &Bucket) -> Result<(), StoreError> {
    let (listed, _) = bucket.page("", None).await?;
    let others = listed.iter().filter(|listed| !is_own(&listed.name));
    for (number, listed) in others.enumerate() {
        let refuse = || Err(error::objects_of_others(bucket.place(), &listed.name));
        if Key::parse(&listed.name).is_err() || listed.size == 0 {
            return refuse();
        }
        if number < LOOKED_AT {
            let start = bucket.read(&listed.name, Part::Start { length: MAX_HEAD as u64 }).await?;
            if start.is_some_and(|start| Head::parse(&start.bytes).is_err()) {
                return refuse();
            }
        }
    }
    Ok(())
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
                let (read, start) = Head::parse_whole(&object).unwrap();
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
            (good.trim_end_matches('x').to_owned(), "cut off"),
            (good.replace("length 1", "length 0"), "longer"),
            (good.replace("length 1", "length -1"), "damaged"),
            (good.replace("length 1\n", ""), "damaged"),
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
            let why = Head::parse_whole(text.as_bytes()).unwrap_err();
            assert!(why.contains(hint), "{text:?}: {why}");
        }
    }
}

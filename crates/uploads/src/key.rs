//! What an object is called: a template of the configuration, filled from the claims of the token
//! and with a name of our own, like `uploads/{sub}/{uuid}`.
//!
//! Claims are hostile text. Each stands for one whole segment and is escaped there: what is not
//! `A-Z a-z 0-9 - _`, or a dot inside, is written as `~` and two hexadecimal digits for each byte.
//! So no claim makes a slash, `..`, `${filename}` or a control character, two claims that differ
//! give segments that differ, and the holder of a token writes below the segments of its claims and
//! nowhere else. The first segment is fixed text, so no claim says where in the bucket that is; and
//! the last has a random name in it, so no upload takes the place of another. Pinned by
//! `tests/key_properties.rs`.

use std::{borrow::Cow, fmt, str::FromStr};

/// The longest key, in bytes (S3 user guide, "Object key naming guidelines").
const MAX_KEY: usize = 1024;
/// The longest segment, in bytes: services that keep objects as files have no longer names.
const MAX_SEGMENT: usize = 255;
/// The longest random name, in bytes: a UUID. A `jti` of ours has 22.
const LONGEST_UNIQUE: usize = 36;
/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 512;

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    /// All segments but the last.
    folders: Vec<Folder>,
    /// The last: before the random name, the name, and behind it.
    name: (String, Unique, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Folder {
    Fixed(String),
    Claim(String),
}

/// A name that is nobody's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unique {
    Uuid,
    Jti,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyTemplateError {
    /// Longer than any template has to be.
    #[error("it is longer than {MAX_TEMPLATE} bytes")]
    TooLong,
    /// An empty segment: a slash at an end, two in a row, or nothing at all.
    #[error(
        "it has an empty segment; write segments with one slash between them, like uploads/{{sub}}/{{uuid}}"
    )]
    Empty,
    /// `.` or `..`.
    #[error("a segment is `.` or `..`, which some services resolve like a path")]
    Dots,
    /// A character that is not fixed text.
    #[error("fixed text is A-Z a-z 0-9 - _ . = only; found {0:?}")]
    Character(char),
    /// Brackets that do not fit.
    #[error("`{{` and `}}` stand around the name of a claim, or `uuid` or `jti`")]
    Brackets,
    /// The first segment is not fixed.
    #[error("the first segment must be fixed text, so that no claim chooses the place in the bucket")]
    FirstIsAClaim,
    /// A claim is part of a segment.
    #[error(
        "{{{0}}} must be a whole segment: with text beside it, two claims could make one name (`a-b` and `c`, `a` and `b-c`)"
    )]
    PartOfASegment(String),
    /// The last segment has no random name.
    #[error(
        "the last segment must have {{uuid}} or {{jti}} in it, once, so that no upload takes the place of another"
    )]
    NotUnique,
    /// A random name is not in the last segment.
    #[error("{{uuid}} and {{jti}} stand in the last segment alone")]
    UniqueFolder,
    /// A segment of fixed text, or a last one, that no service could keep.
    #[error(
        "a segment is longer than {MAX_SEGMENT} bytes, which services that keep objects as files do not take"
    )]
    SegmentTooLong,
    /// A claim is no name of one.
    #[error("{0:?} is not the name of a claim at the top of a token")]
    Claim(String),
}

/// Why there is no key for these claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A claim is not there, or not a text.
    #[error("the claim `{0}` is missing or not a string, and the key of the object is made of it")]
    Missing(String),
    /// A claim is empty.
    #[error("the claim `{0}` is empty, and the key of the object is made of it")]
    Empty(String),
    /// A claim is longer than a segment may be.
    #[error("the claim `{0}` is longer than {MAX_SEGMENT} bytes when it is escaped for the key of an object")]
    TooLong(String),
    /// Everything together is longer than a key may be.
    #[error("the key of the object would be longer than {MAX_KEY} bytes")]
    KeyTooLong,
}

/// The whole name of one object. Made by [`KeyTemplate::key`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectKey {
    text: String,
    /// Where its last segment begins.
    name: usize,
}

impl ObjectKey {
    /// The key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All but the last segment, with the slash behind it.
    pub fn prefix(&self) -> &str {
        self.text.get(..self.name).unwrap_or_default()
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for KeyTemplate {
    type Err = KeyTemplateError;

    fn from_str(text: &str) -> Result<Self, KeyTemplateError> {
        if text.len() > MAX_TEMPLATE {
            return Err(KeyTemplateError::TooLong);
        }
        let mut segments: Vec<&str> = text.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(KeyTemplateError::Empty);
        }
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(KeyTemplateError::Dots);
        }
        let last = segments.pop().ok_or(KeyTemplateError::Empty)?;
        let folders = segments.into_iter().map(folder).collect::<Result<Vec<_>, _>>()?;
        let name = name(last)?;
        let fixed =
            folders.iter().map(|folder| if let Folder::Fixed(text) = folder { text.len() } else { 0 });
        if fixed.chain([name.0.len() + LONGEST_UNIQUE + name.2.len()]).any(|bytes| bytes > MAX_SEGMENT) {
            return Err(KeyTemplateError::SegmentTooLong);
        }
        match folders.first() {
            Some(Folder::Fixed(_)) => Ok(Self { text: text.to_owned(), folders, name }),
            // A name alone has a fixed beginning where it has text before what is random; a folder
            // says more.
            Some(Folder::Claim(_)) | None => Err(KeyTemplateError::FirstIsAClaim),
        }
    }
}

fn folder(segment: &str) -> Result<Folder, KeyTemplateError> {
    if !segment.contains(['{', '}']) {
        return fixed(segment).map(Folder::Fixed);
    }
    let Some((before, claim, after)) = bracketed(segment) else { return Err(KeyTemplateError::Brackets) };
    if unique(claim).is_some() {
        return Err(KeyTemplateError::UniqueFolder);
    }
    if !before.is_empty() || !after.is_empty() {
        return Err(KeyTemplateError::PartOfASegment(claim.to_owned()));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    if claim.is_empty() || !claim.bytes().all(fits) {
        return Err(KeyTemplateError::Claim(claim.to_owned()));
    }
    Ok(Folder::Claim(claim.to_owned()))
}

fn name(segment: &str) -> Result<(String, Unique, String), KeyTemplateError> {
    let (before, inner, after) = match bracketed(segment) {
        Some(parts) => parts,
        None if segment.contains(['{', '}']) => return Err(KeyTemplateError::Brackets),
        None => return Err(KeyTemplateError::NotUnique),
    };
    match unique(inner) {
        Some(_) if after.contains(['{', '}']) => Err(KeyTemplateError::NotUnique),
        Some(unique) => Ok((fixed(before)?, unique, fixed(after)?)),
        None => Err(KeyTemplateError::NotUnique),
    }
}

/// What stands before, inside and behind the first pair of brackets.
fn bracketed(segment: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = segment.split_once('{')?;
    let (inner, after) = rest.split_once('}')?;
    (!before.contains('}') && !inner.contains('{')).then_some((before, inner, after))
}

fn unique(name: &str) -> Option<Unique> {
    match name {
        "uuid" => Some(Unique::Uuid),
        "jti" => Some(Unique::Jti),
        _ => None,
    }
}

fn fixed(text: &str) -> Result<String, KeyTemplateError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    match text.chars().find(|c| !fits(*c)) {
        None => Ok(text.to_owned()),
        Some(other) => Err(KeyTemplateError::Character(other)),
    }
}

impl KeyTemplate {
    /// The claims it is filled from.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().filter_map(|folder| match folder {
            Folder::Fixed(_) => None,
            Folder::Claim(name) => Some(name.as_str()),
        })
    }

    /// Whether an object of one template could lie where those of the other do: each folder of the
    /// shorter is the other's, or a claim could make it so.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.folders.iter().zip(&other.folders).all(|pair| match pair {
            (Folder::Fixed(one), Folder::Fixed(other)) => one == other,
            // What a claim cannot make has a character that would be escaped.
            (Folder::Fixed(fixed), Folder::Claim(_)) | (Folder::Claim(_), Folder::Fixed(fixed)) => {
                escaped(fixed) == *fixed
            }
            (Folder::Claim(_), Folder::Claim(_)) => true,
        })
    }

    /// The key of one object. `claim` gives the text of a claim; `jti` is the token's, and `uuid`
    /// 128 random bits, both ours.
    ///
    /// # Errors
    ///
    /// [`KeyError`]
    pub fn key<'c>(
        &self,
        claim: impl Fn(&str) -> Option<Cow<'c, str>>,
        jti: &str,
        uuid: [u8; 16],
    ) -> Result<ObjectKey, KeyError> {
        let mut text = String::with_capacity(128);
        for folder in &self.folders {
            match folder {
                Folder::Fixed(fixed) => text.push_str(fixed),
                Folder::Claim(name) => {
                    let value = claim(name).ok_or_else(|| KeyError::Missing(name.clone()))?;
                    if value.is_empty() {
                        return Err(KeyError::Empty(name.clone()));
                    }
                    // Each byte is one at least, so a huge claim is not walked through first.
                    let escaped = Some(&value).filter(|value| value.len() <= MAX_SEGMENT).map(|v| escaped(v));
                    let escaped = escaped.filter(|escaped| escaped.len() <= MAX_SEGMENT);
                    text.push_str(&escaped.ok_or_else(|| KeyError::TooLong(name.clone()))?);
                }
            }
            text.push('/');
        }
        let at = text.len();
        let (before, unique, after) = &self.name;
        text.push_str(before);
        match unique {
            Unique::Jti => text.push_str(&escaped(jti)),
            Unique::Uuid => text.push_str(&hyphenated(uuid)),
        }
        text.push_str(after);
        if text.len() > MAX_KEY { Err(KeyError::KeyTooLong) } else { Ok(ObjectKey { text, name: at }) }
    }
}

/// A text as one segment of a key. Texts that differ give segments that differ.
pub fn escaped(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut segment = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        // A dot at an end is left away, or hides a file, where objects are files.
        let is_inner_dot = byte == b'.' && at != 0 && at != last;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || is_inner_dot {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("~{byte:02X}"));
        }
    }
    segment
}

/// A random UUID (RFC 9562 §5.4, version 4) of 128 random bits.
fn hyphenated(mut bytes: [u8; 16]) -> String {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests;

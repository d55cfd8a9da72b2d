//! What is asked of an upload: `upload` in the body of `POST /uploads` and `POST /sign`, and the
//! parameter of `POST /token`.
//!
//! Strict like the rest of a request. What a destination takes of it is the profile's to say (crate
//! `uploads`), which one a client may use its policy's.

use crate::request::{Member, RequestError};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_jose::json::{JsonError, Object, WrongType};
use std::borrow::Cow;

/// The name of their profile, in `profiles`, in requests and in rules.
pub const UPLOAD_PROFILE: &str = "upload";

/// The header's `typ` of tokens around a form. They are taken for no other kind.
pub const UPLOAD_TYP: &str = "upload+jwt";

/// An upload, as it is asked for.
#[derive(Debug, Default)]
pub struct UploadRequest<'a> {
    /// The destination.
    pub to: Option<Cow<'a, str>>,
    /// What the file is.
    pub content_type: Option<Cow<'a, str>>,
    /// How large exactly it is, in bytes.
    pub bytes: Option<u64>,
    /// Its SHA-256, in standard base64.
    pub sha256: Option<Cow<'a, str>>,
}

/// An upload to a destination that the client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmittedUpload<'a> {
    /// The destination.
    pub to: &'a str,
    /// What the file is.
    pub content_type: Option<&'a str>,
    /// How large exactly it is, in bytes.
    pub bytes: Option<u64>,
    /// Its SHA-256, in standard base64.
    pub sha256: Option<&'a str>,
}

/// The object that a token lets somebody write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl<'a> UploadRequest<'a> {
    /// Reads the object `upload`. It has no objects inside.
    ///
    /// # Errors
    ///
    /// [`RequestError`]
    pub fn parse(text: &'a str) -> Result<Self, RequestError> {
        let upload = match Object::parse_text(text, 1) {
            Err(JsonError::NotAnObject) => Err(WrongType { name: "upload", expected: "a JSON object" })?,
            other => other?,
        };
        if let Some(name) = Member::unknown(upload.names(), &["to", "content_type", "bytes", "sha256"]) {
            return Err(RequestError::UnknownUpload(name));
        }
        let text = |member, name| {
            let wrong = WrongType { name, expected: "a string" };
            upload.string(member).map_err(|_| wrong)
        };
        let sha256 = text("sha256", "upload.sha256")?;
        let is_hash =
            |text: &Cow<'_, str>| STANDARD.decode(text.as_bytes()).is_ok_and(|hash| hash.len() == 32);
        if sha256.as_ref().is_some_and(|text| !is_hash(text)) {
            let expected = "the SHA-256 of the file: 32 bytes in standard base64, 44 characters";
            return Err(WrongType { name: "upload.sha256", expected }.into());
        }
        let bytes = upload.get("bytes").map(|raw| {
            let wrong =
                WrongType { name: "upload.bytes", expected: "the size of the file: a whole number of bytes" };
            raw.get().parse::<u64>().map_err(|_| wrong)
        });
        Ok(Self {
            to: text("to", "upload.to")?,
            content_type: text("content_type", "upload.content_type")?,
            bytes: bytes.transpose()?,
            sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_strictly() {
        let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let text = format!(r#"{{"to":"photos","content_type":"image/png","bytes":7,"sha256":"{hash}"}}"#);
        let upload = UploadRequest::parse(&text).unwrap();
        assert_eq!((upload.to.as_deref(), upload.bytes), (Some("photos"), Some(7)));
        assert_eq!(
            (upload.content_type.as_deref(), upload.sha256.as_deref()),
            (Some("image/png"), Some(hash))
        );
        assert!(UploadRequest::parse("{}").unwrap().to.is_none());
    }

    #[test]
    fn every_wrong_member_is_refused_by_its_name() {
        for (text, says) in [
            ("[]", "`upload` must be a JSON object"),
            ("\"photos\"", "`upload` must be a JSON object"),
            ("null", "`upload` must be a JSON object"),
            (r#"{"to":1}"#, "`upload.to` must be a string"),
            (r#"{"to":null}"#, "`upload.to` must be a string"),
            (r#"{"content_type":["image/png"]}"#, "JSON"),
            (r#"{"content_type":7}"#, "`upload.content_type` must be"),
            (r#"{"bytes":"7"}"#, "`upload.bytes` must be"),
            (r#"{"bytes":-1}"#, "`upload.bytes` must be"),
            (r#"{"bytes":1.0}"#, "`upload.bytes` must be"),
            (r#"{"bytes":1e3}"#, "`upload.bytes` must be"),
            (r#"{"bytes":18446744073709551616}"#, "`upload.bytes` must be"),
            (r#"{"sha256":""}"#, "`upload.sha256` must be"),
            (r#"{"sha256":"abc"}"#, "`upload.sha256` must be"),
            (r#"{"sha256":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="}"#, "`upload.sha256` must be"),
            (r#"{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}"#, "`upload.sha256` must be"),
            (r#"{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV="}"#, "`upload.sha256` must be"),
            (r#"{"key":"a"}"#, "unknown member \"key\" in `upload`; `to`"),
            (r#"{"to":"a","to":"b"}"#, ""),
            (r#"{"to":{"a":1}}"#, ""),
            ("{", ""),
        ] {
            let why = UploadRequest::parse(text).unwrap_err().to_string();
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}

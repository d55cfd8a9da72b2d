//! Where uploads of one kind go, and what they may be: an entry `[uploads.NAME]` of the
//! configuration, typed. A value that exists is safe to make forms of.

use crate::{access::Access, content_type::ContentType, key::KeyTemplate, place::Place, size::SizeRange};
use std::time::Duration;

/// One kind of upload.
#[derive(Debug)]
pub struct Destination {
    /// What requests and policies call it.
    pub name: String,
    /// Where the files go.
    pub place: Place,
    /// What the objects are called.
    pub key: KeyTemplate,
    /// What the files may be; one of them at a time.
    pub content_types: Vec<ContentType>,
    /// How large they may be.
    pub size: SizeRange,
    /// How long a form lives, from `iat` to `exp` of the token around it.
    pub lifetime: Duration,
    /// Whether each request has to say the SHA-256 of its file.
    pub requires_sha256: bool,
    /// What its forms are signed with.
    pub access: Access,
}

impl Destination {
    /// The type that is asked for, if files may be of it; the only one where none is asked for.
    pub(crate) fn content_type(&self, asked: Option<&str>) -> Option<&ContentType> {
        match (asked, self.content_types.as_slice()) {
            (Some(asked), types) => types.iter().find(|known| known.as_str() == asked),
            (None, [one]) => Some(one),
            (None, _) => None,
        }
    }

    /// What it takes, for a refusal.
    pub(crate) fn listed_types(&self) -> String {
        self.content_types.iter().map(ContentType::as_str).collect::<Vec<_>>().join(", ")
    }
}

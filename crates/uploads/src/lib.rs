//! Trusted uploads: a form with which a browser puts one file into a bucket of S3, or of a service
//! that takes the same, and a signed token around it, so that a page knows whose form it is before
//! it sends a user's file.
//!
//! A request is walked in one direction: what is asked for (`countersign_issuer::UploadRequest`) →
//! the destination that the client may use (`destination`) → the key from the claims (`key`) → the
//! policy and its form (`form`), signed as S3 wants it (`signature`) with the credentials at hand
//! (`access`) → the claims of the token (`profile`), which the issuer mints like every other. What
//! would be dangerous cannot be written down: a form has one exact key, one exact content type and
//! a range of sizes, and no condition says `starts-with`. Amazon S3 API reference, "Browser-based
//! uploads using POST (AWS Signature Version 4)". Docs: docs/uploads.md, docs/decisions/0054.

mod access;
mod content_type;
mod destination;
mod form;
mod key;
mod place;
mod profile;
mod signature;
mod size;

pub use access::Access;
pub use content_type::{ContentType, ContentTypeError};
pub use destination::Destination;
pub use form::{Form, FormError, PostPolicy};
pub use key::{KeyError, KeyTemplate, KeyTemplateError, ObjectKey, escaped};
pub use place::{Bucket, Place, PlaceError};
pub use profile::UploadProfile;
pub use size::{MAX_BYTES, SizeError, SizeRange};

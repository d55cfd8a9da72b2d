//! What is revoked before it expires: tokens by `jti`, families, subjects and clients; one
//! authenticated document.
//!
//! `entries` is the document and what may happen to it, `stored` the only code that reads and
//! writes it, `published` the signed list that verifiers poll. An entry stays until everything it
//! concerns has expired.

mod entries;
mod published;
mod stored;

pub use entries::{Entry, Owner, Reach};
pub(crate) use published::Published;
pub use stored::{Revocations, RevocationsError};

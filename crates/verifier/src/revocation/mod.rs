//! Tokens that are revoked before they expire: the signed list of their issuer, and how a verifier
//! keeps up with it.
//!
//! `list` is what such a list says and how it is written, `watch` fetches it. Both sides use
//! `list`: the issuer renders what it has revoked, a verifier asks whether a token is among that.

mod list;
mod watch;

pub use list::{RevocationList, Revoked, RevokedName, TYP, WELL_KNOWN};
pub(crate) use watch::Watch;
pub use watch::{RevocationError, RevocationSettings};

//! Every attack on tokens and keys that has worked somewhere, each with the answer it gets here.
//!
//! One module per thing attacked: the text of a token, its header, its signature, its claims, the
//! keys, the key set, and what must never leave (private members, key and token text in `Debug` and
//! errors). Each group starts from a control that is accepted, so that a refusal is due to the
//! attack. Sources: RFC 7515 §10, RFC 8725, the CVEs named in place.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

#[path = "attacks/claims.rs"]
mod claims;
#[path = "attacks/confusion.rs"]
mod confusion;
#[path = "support/forge.rs"]
mod forge;
#[path = "attacks/header.rs"]
mod header;
#[path = "attacks/keys.rs"]
mod keys;
#[path = "attacks/keyset.rs"]
mod keyset;
#[path = "attacks/secrecy.rs"]
mod secrecy;
#[path = "attacks/signature.rs"]
mod signature;
#[path = "attacks/text.rs"]
mod text;
#[path = "attacks/weak_keys.rs"]
mod weak_keys;

use countersign_jose::{Signed, TokenError, Unverified, VerifyingKey};

/// What a gate does with a token and the one key it has.
fn verify(token: &str, key: &VerifyingKey) -> Result<Signed, TokenError> {
    Unverified::parse(token)?.verify(key)
}

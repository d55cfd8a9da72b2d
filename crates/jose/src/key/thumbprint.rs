//! RFC 7638 thumbprints: SHA-256 over the required members in lexicographic order, base64url.
//!
//! It is the `kid` of every key made here: the same key always gets the same name, wherever it is
//! imported.

use super::PublicKey;
use crate::base64url::encode;
use aws_lc_rs::digest::{SHA256, digest};

impl PublicKey {
    /// The SHA-256 JWK thumbprint (RFC 7638 §3, RFC 8037 §2 for OKP), base64url.
    pub fn thumbprint(&self) -> String {
        let json = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
            Self::Ec { curve, x, y } => {
                format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, curve.name(), encode(x), encode(y))
            }
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
        };
        encode(digest(&SHA256, json.as_bytes()).as_ref())
    }
}

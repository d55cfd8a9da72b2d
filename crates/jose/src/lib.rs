//! Compact JWS, JWK and the algorithm table: the core of Countersign, meant to be reviewed in one
//! sitting.
//!
//! Written on aws-lc-rs. No I/O, no async, no clock, no globals, no unsafe code. A token's way
//! inwards is [`Unverified`] → [`Signed`] → [`Verified`]; a value of each type exists only if its
//! check was passed. A key is bound to one algorithm when it is loaded; the token selects a key and
//! never an algorithm.
//!
//! ```
//! use countersign_jose::{Algorithm, Header, KeySize, Policy, PrivateKey, SigningInput, SigningKey, Timestamp, Unverified, VerifyingKey};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = SigningKey::generate(Algorithm::ES256, KeySize::default())?;
//! let public = key.public_key().ok_or("a shared secret")?.clone();
//! let header = Header { alg: key.algorithm(), kid: Some("k1"), typ: Some("JWT") }.encode();
//! let input = SigningInput::new(&header, br#"{"iss":"https://a.example","exp":1700000060}"#);
//! let signature = key.sign(&input)?;
//! let token = input.finish(&signature);
//!
//! let key = VerifyingKey::new(&public, Algorithm::ES256, Some("k1".into()))?;
//! let policy = Policy::new().issuer("https://a.example");
//! let now = Timestamp::from_unix_seconds(1_700_000_000);
//! let verified = Unverified::parse(&token)?.verify(&key)?.check(&policy, now)?;
//! assert_eq!(verified.kid(), Some("k1"));
//! # Ok(()) }
//! ```

mod algorithm;
pub mod base64url;
mod claims;
mod explain;
mod hex;
pub mod json;
mod key;
mod keyset;
mod sign;
mod time;
mod verify;

pub use algorithm::{Algorithm, Curve, KeyKind, UnsupportedAlgorithm};
pub use claims::{
    ClaimError, ClaimName, ClaimNameError, ClaimValue, InexactNumber, NUMERIC_DATES, OTHER_KINDS, Policy,
    RegisteredClaims, Verified, check_registered_claim, scopes,
};
pub use explain::{Check, Verdict, bytes, excerpt, quoted, shown_instant, shown_json};
pub use hex::hex;
pub use key::{
    Instead, Jwk, KeyError, KeySize, MAX_KEYS, MAX_RSA_BITS, MIN_RSA_BITS, PrivateKey, PublicJwk, PublicKey,
    Skipped, SymmetricKey, Weakness, check_kid, unpacked_pem,
};
pub use keyset::KeySet;
pub use sign::{EncodedHeader, Header, SigningInput, SigningKey};
pub use time::Timestamp;
pub use verify::{
    LoadBalancerHeader, LoadBalancerToken, MAX_CLAIMS_DEPTH, MAX_TOKEN_BYTES, SelfSigned, SelfSignedError,
    Signed, TokenError, TokenPart, Unverified, VerifyingKey,
};

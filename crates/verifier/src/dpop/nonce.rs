//! Nonces (RFC 9449 §8): the server's time with a tag over it, so that nothing has to be remembered
//! of them.
//!
//! A proof with a nonce was made after the nonce was, whatever the client's clock shows. One nonce
//! may be in many proofs; each proof is taken once by its `jti`. Servers that share the key take
//! each other's.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, rand};
use countersign_jose::{Timestamp, base64url};
use std::{fmt, time::Duration};

/// How long a nonce can be used.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// How far the clocks of servers that share a key may differ.
const AHEAD: Duration = Duration::from_secs(60);
/// What is authenticated begins so, wherever the key is from.
const LABEL: &[u8] = b"countersign dpop nonce 1\0";

const TIME: usize = 8;
const TAG: usize = 16;

/// What authenticates nonces.
pub trait NonceAuthenticator: Send + Sync + fmt::Debug {
    /// The tag over a content, of which the beginning counts; `None` where none can be made now.
    fn tag(&self, content: &[u8]) -> Option<Vec<u8>>;

    /// Whether that is the beginning of the tag over this content, by any key that is at hand; in
    /// constant time.
    fn authenticates(&self, content: &[u8], tag: &[u8]) -> bool;
}

impl dyn NonceAuthenticator + '_ {
    /// A nonce of this moment.
    pub fn issue(&self, now: Timestamp) -> Option<String> {
        let time = now.unix_seconds().to_be_bytes();
        let tag = self.tag(&content(time))?;
        let mut bytes = time.to_vec();
        bytes.extend_from_slice(tag.get(..TAG)?);
        Some(base64url::encode(&bytes))
    }
}

/// When a nonce was issued, if it is ours and can be used still.
pub(super) fn read(by: &dyn NonceAuthenticator, nonce: &str, now: Timestamp) -> Option<Timestamp> {
    // Longer than any nonce: not even decoded.
    if nonce.len() > (TIME + TAG) * 2 {
        return None;
    }
    let bytes = base64url::decode(nonce).ok()?;
    let (time, tag) = bytes.split_first_chunk::<TIME>()?;
    if tag.len() != TAG || !by.authenticates(&content(*time), tag) {
        return None;
    }
    let made_at = Timestamp::from_unix_seconds(i64::from_be_bytes(*time));
    let is_usable = now.since(made_at) <= NONCE_LIFETIME && made_at.since(now) <= AHEAD;
    is_usable.then_some(made_at)
}

fn content(time: [u8; TIME]) -> Vec<u8> {
    [LABEL, &time].concat()
}

/// A key for nonces alone.
pub struct NonceKey(hmac::Key);

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceKeyError {
    /// A secret that could be guessed.
    #[error("the secret has {}; at least 32 are needed", countersign_jose::bytes(*.0))]
    TooShort(usize),
    /// No random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(***)")
    }
}

impl NonceKey {
    /// A new key, which no other process has.
    ///
    /// # Errors
    ///
    /// [`NonceKeyError::NoRandomness`].
    pub fn random() -> Result<Self, NonceKeyError> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| NonceKeyError::NoRandomness)?;
        Self::from_secret(&secret)
    }

    /// The key of servers that share a secret of 32 bytes at least.
    ///
    /// # Errors
    ///
    /// [`NonceKeyError::TooShort`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, NonceKeyError> {
        if secret.len() < 32 {
            return Err(NonceKeyError::TooShort(secret.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

impl NonceAuthenticator for NonceKey {
    fn tag(&self, content: &[u8]) -> Option<Vec<u8>> {
        Some(hmac::sign(&self.0, content).as_ref().to_vec())
    }

    fn authenticates(&self, content: &[u8], tag: &[u8]) -> bool {
        let expected = hmac::sign(&self.0, content);
        expected.as_ref().get(..tag.len()).is_some_and(|head| verify_slices_are_equal(head, tag).is_ok())
    }
}

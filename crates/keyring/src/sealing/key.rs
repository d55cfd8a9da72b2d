//! One sealing key: what it seals, and what it authenticates.
//!
//! Private keys at rest are under AES-256-GCM (NIST SP 800-38D). The additional data is ring, kid and
//! algorithm, so a sealed key moved to another record does not open. Each names the sealing key it is under by a
//! fingerprint, so a wrong one is told apart from a damaged record. The keyring's document is authenticated by
//! HMAC-SHA256 (RFC 2104) under a key of its own, which HKDF (RFC 5869) derives from the sealing key, and
//! compared in constant time. The sealing key is read by the caller (a file with mode 0600, an environment
//! variable, a data key) and never shown.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf, hmac, rand,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use countersign_jose::hex;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
/// The longest text that is looked at, which is longer than any key's, and what it decodes to at
/// most.
const MAX_TEXT: usize = 64;
const MAX_DECODED: usize = 48;
/// What the key that authenticates is derived for, and nothing else is.
const AUTHENTICATION: &[u8] = b"countersign keyring authentication 1";

/// A key that private keys are sealed under, and that authenticates the keyring.
pub struct SealingKey {
    cipher: LessSafeKey,
    authentication: hmac::Key,
    id: String,
}

/// What is authenticated, part by part: no two lists of parts are the same bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    label: &'a str,
    format: u32,
    sealing_key: &'a str,
    content: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn new(label: &'a str, format: u32, sealing_key: &'a str, content: &'a [u8]) -> Self {
        Self { label, format, sealing_key, content }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.content.len() + 128);
        for part in
            [self.label.as_bytes(), &self.format.to_be_bytes(), self.sealing_key.as_bytes(), self.content]
        {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A private key that only the right sealing key opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedKey {
    /// The fingerprint of the sealing key.
    sealed_by: String,
    /// 96 random bits, base64url.
    nonce: String,
    /// Ciphertext and tag, base64url.
    ciphertext: String,
}

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not 32 bytes in base64.
    #[error("a sealing key is 32 random bytes in base64 (make one with: openssl rand -base64 32)")]
    MalformedKey,
    /// The record was sealed under another key.
    #[error(
        "the key is sealed under sealing key {needed}, but {given} was given; give the one it was sealed with"
    )]
    WrongKey {
        /// Fingerprint of the sealing key the record names.
        needed: String,
        /// Fingerprints of the sealing keys at hand.
        given: String,
    },
    /// The right sealing key does not open it: the record was altered.
    #[error("the sealed key was altered and does not open")]
    Altered,
    /// The crypto library failed or gave no random numbers.
    #[error("the crypto library failed")]
    Crypto,
}

impl SealedKey {
    /// The fingerprint of the sealing key it is under.
    pub fn sealed_by(&self) -> &str {
        &self.sealed_by
    }
}

impl SealingKey {
    /// Reads the text form: 32 bytes in base64 or base64url, white space around it ignored.
    pub fn from_text(text: &str) -> Result<Self, SealError> {
        let text = text.trim().trim_end_matches('=');
        // Decoded in place: no copy of it is left behind, of one that is half read neither.
        let mut bytes = Zeroizing::new([0_u8; MAX_DECODED]);
        if text.len() > MAX_TEXT {
            return Err(SealError::MalformedKey);
        }
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, bytes.as_mut())
            .or_else(|_| STANDARD_NO_PAD.decode_slice(text, bytes.as_mut()))
            .map_err(|_| SealError::MalformedKey)?;
        Self::from_bytes(bytes.get(..length).unwrap_or_default())
    }

    /// Makes a new sealing key and returns its text form too, to be written where only the owner
    /// can read it.
    pub fn generate() -> Result<(Self, Zeroizing<String>), SealError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(bytes.as_mut()).map_err(|_| SealError::Crypto)?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()));
        Ok((Self::from_bytes(bytes.as_ref())?, text))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.len() != KEY_BYTES {
            return Err(SealError::MalformedKey);
        }
        let cipher = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::MalformedKey)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"countersign sealing key id\0");
        hash.update(bytes);
        let id = hex(hash.finish().as_ref().get(..6).unwrap_or_default());
        let info: &[&[u8]] = &[AUTHENTICATION];
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(bytes);
        let authentication = secret.expand(info, hmac::HMAC_SHA256).map_err(|_| SealError::Crypto)?.into();
        Ok(Self { cipher: LessSafeKey::new(cipher), authentication, id })
    }

    /// The tag over these parts.
    pub(crate) fn authenticate(&self, parts: &Parts<'_>) -> impl AsRef<[u8]> + use<> {
        hmac::sign(&self.authentication, &parts.bytes())
    }

    /// Whether that is the tag over these parts; in constant time.
    pub(crate) fn authenticates(&self, parts: &Parts<'_>, tag: &[u8]) -> bool {
        hmac::verify(&self.authentication, &parts.bytes(), tag).is_ok()
    }

    /// A fingerprint that tells sealing keys apart and tells nothing else.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals `secret`, bound to `context`.
    pub fn seal(&self, secret: &[u8], context: &str) -> Result<SealedKey, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Crypto)?;
        let mut sealed = secret.to_vec();
        self.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| SealError::Crypto)?;
        Ok(SealedKey {
            sealed_by: self.id.clone(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            ciphertext: URL_SAFE_NO_PAD.encode(sealed),
        })
    }

    /// Opens what was sealed under this key with the same `context`.
    pub fn open(&self, sealed: &SealedKey, context: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.sealed_by != self.id {
            return Err(SealError::WrongKey { needed: sealed.sealed_by.clone(), given: self.id.clone() });
        }
        let nonce = URL_SAFE_NO_PAD.decode(&sealed.nonce).map_err(|_| SealError::Altered)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| SealError::Altered)?;
        let mut bytes =
            Zeroizing::new(URL_SAFE_NO_PAD.decode(&sealed.ciphertext).map_err(|_| SealError::Altered)?);
        let length = self
            .cipher
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut bytes)
            .map_err(|_| SealError::Altered)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn opens_only_under_the_same_key_and_context() {
        let (key, text) = SealingKey::generate().unwrap();
        let (other, _) = SealingKey::generate().unwrap();
        let sealed = key.seal(b"secret", "default/k1/RS256").unwrap();
        let same = SealingKey::from_text(&format!("{}\n", text.as_str())).unwrap();
        assert_eq!(same.open(&sealed, "default/k1/RS256").unwrap().as_slice(), b"secret");
        assert_eq!(key.open(&sealed, "default/k2/RS256"), Err(SealError::Altered));
        assert!(matches!(other.open(&sealed, "default/k1/RS256"), Err(SealError::WrongKey { .. })));
    }

    #[test]
    fn refuses_a_record_with_any_byte_altered() {
        let (key, _) = SealingKey::generate().unwrap();
        let sealed = key.seal(b"secret", "c").unwrap();
        for at in 0..sealed.ciphertext.len() {
            let mut text = sealed.ciphertext.clone().into_bytes();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            let altered = SealedKey { ciphertext: String::from_utf8(text).unwrap(), ..sealed.clone() };
            assert_eq!(key.open(&altered, "c"), Err(SealError::Altered), "byte {at}");
        }
    }

    #[test]
    fn reads_what_openssl_rand_prints_and_refuses_other_lengths() {
        let standard = STANDARD.encode([0xfb; 32]);
        let url_safe = URL_SAFE_NO_PAD.encode([0xfb; 32]);
        assert_eq!(
            SealingKey::from_text(&standard).unwrap().id(),
            SealingKey::from_text(&url_safe).unwrap().id()
        );
        for text in [
            "",
            "short",
            &STANDARD.encode([1; 31]),
            &STANDARD.encode([1; 33]),
            &"0".repeat(64),
            &"0".repeat(65),
            &"A".repeat(44),
        ] {
            assert_eq!(SealingKey::from_text(text).unwrap_err(), SealError::MalformedKey, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let (key, text) = SealingKey::generate().unwrap();
        assert!(!format!("{key:?}").contains(text.as_str()));
    }
}

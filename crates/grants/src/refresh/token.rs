//! A refresh token: which family, which generation of it, a secret, and a check.
//!
//! What is kept of a token is the SHA-256 of its secret. The check is made with a key of the
//! family, over everything else in the token: a text that was made up changes nothing, and a token
//! of long ago is told from one. The secret of a successor is HMAC-SHA256 over that of the token it
//! follows, under a seed that is made for this one turn: anyone who shows the predecessor again can
//! be given the same successor, and neither the store alone nor an old token alone leads to it. The
//! prefix lets secret scanners find a token that leaked.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, hmac, rand};
use countersign_jose::base64url;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

pub(crate) const PREFIX: &str = "csref_";
/// Family, generation, secret, check.
const BYTES: usize = 16 + 4 + 32 + 16;
const CHECK: &[u8] = b"countersign refresh token check 1";
const SUCCESSOR: &[u8] = b"countersign refresh token successor 1";

/// The name of a family: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FamilyId([u8; 16]);

/// 256 bits that only the family's document has: the key of its checks, or the seed of one turn.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FamilySecret(Zeroizing<[u8; 32]>);

/// The SHA-256 of a token's secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretHash([u8; 32]);

/// A token, in parts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) family: FamilyId,
    pub(crate) generation: u32,
    secret: Zeroizing<[u8; 32]>,
    check: [u8; 16],
}

/// The operating system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRandomness;

impl FamilyId {
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        random().map(Self)
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FamilySecret {
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        random().map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

impl RefreshToken {
    /// The first of a family.
    pub(crate) fn first(family: FamilyId, checks: &FamilySecret) -> Result<Self, NoRandomness> {
        Ok(Self::new(family, 1, Zeroizing::new(random()?), checks))
    }

    fn new(family: FamilyId, generation: u32, secret: Zeroizing<[u8; 32]>, checks: &FamilySecret) -> Self {
        let mut token = Self { family, generation, secret, check: [0; 16] };
        token.check = token.expected(checks);
        token
    }

    /// Reads a text; `None` if it has not the form of a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        // Longer than any token: not even decoded.
        if encoded.len() > BYTES * 2 {
            return None;
        }
        let bytes = Zeroizing::new(base64url::decode(encoded).ok()?);
        let (family, rest) = bytes.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        Some(Self {
            family: FamilyId(*family),
            generation: u32::from_be_bytes(*generation),
            secret: Zeroizing::new(*secret),
            check: rest.try_into().ok()?,
        })
    }

    /// As it is handed out.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
        bytes.extend_from_slice(&self.family.0);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(self.secret.as_ref());
        bytes.extend_from_slice(&self.check);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + BYTES * 2));
        text.push_str(PREFIX);
        base64url::encode_into(&bytes, &mut text);
        text
    }

    /// Whether the family made it.
    pub(crate) fn is_genuine(&self, checks: &FamilySecret) -> bool {
        verify_slices_are_equal(&self.expected(checks), &self.check).is_ok()
    }

    /// Whether this is the token that a hash was made of.
    pub(crate) fn is(&self, hash: &SecretHash) -> bool {
        verify_slices_are_equal(&self.hash().0, &hash.0).is_ok()
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> SecretHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, self.secret.as_ref()).as_ref());
        SecretHash(hash)
    }

    /// The token that follows this one in the turn that `seed` was made for. The same each time.
    pub(crate) fn successor(&self, seed: &FamilySecret, checks: &FamilySecret) -> Self {
        let generation = self.generation.saturating_add(1);
        let parts = [SUCCESSOR, &self.family.0, &generation.to_be_bytes(), self.secret.as_ref()];
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(mac(seed, &parts).as_ref());
        Self::new(self.family, generation, secret, checks)
    }

    fn expected(&self, checks: &FamilySecret) -> [u8; 16] {
        let parts = [CHECK, &self.family.0, &self.generation.to_be_bytes(), self.secret.as_ref()];
        let mut check = [0; 16];
        check.copy_from_slice(mac(checks, &parts).as_ref().get(..16).unwrap_or(&[0; 16]));
        check
    }
}

/// Every part has one length, so no two lists of parts are the same bytes.
fn mac(key: &FamilySecret, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.0.as_ref()));
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, generation, .. } = self;
        f.debug_struct("RefreshToken")
            .field("family", family)
            .field("generation", generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FamilySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FamilySecret(***)")
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

impl Serialize for FamilyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url::encode(&self.0))
    }
}

impl Serialize for FamilySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(base64url::encode(self.0.as_ref())))
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for FamilyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        exactly(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for FamilySecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        exactly(deserializer).map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        exactly(deserializer).map(Self)
    }
}

fn exactly<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; N], D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    let bytes = base64url::decode(&text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| serde::de::Error::custom("not base64url of the right length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> (RefreshToken, FamilySecret) {
        let checks = FamilySecret::random().unwrap();
        (RefreshToken::first(FamilyId::random().unwrap(), &checks).unwrap(), checks)
    }

    #[test]
    fn a_token_is_read_back_and_no_bit_of_it_can_be_changed() {
        let (token, checks) = token();
        let text = token.text();
        assert_eq!(text.len(), 97);
        assert!(RefreshToken::parse(&text).unwrap() == token && token.is_genuine(&checks));
        let bytes = base64url::decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = RefreshToken::parse(&format!("{PREFIX}{}", base64url::encode(&bytes))).unwrap();
            assert!(!changed.is_genuine(&checks), "bit {bit}");
        }
    }

    #[test]
    fn a_text_of_another_form_is_no_token() {
        let (token, _) = token();
        let text = token.text().to_string();
        let longer = format!("{text}AAAA");
        let huge = format!("{PREFIX}{}", "A".repeat(1 << 20));
        for text in [
            "",
            PREFIX,
            &text[6..],
            &text[..96],
            &longer,
            &huge,
            "cssec_AAAA",
            &text.replace("csref", "CSREF"),
            "é",
        ] {
            assert!(RefreshToken::parse(text).is_none(), "{}", text.len());
        }
    }

    #[test]
    fn a_successor_is_the_same_each_time_and_follows_from_token_and_seed_alone() {
        let ((token, checks), (other, _)) = (token(), token());
        let (seed, another) = (FamilySecret::random().unwrap(), FamilySecret::random().unwrap());
        let next = token.successor(&seed, &checks);
        assert!(next == token.successor(&seed, &checks) && next.generation == 2 && next.is_genuine(&checks));
        assert!(next.is(&next.hash()) && !next.is(&token.hash()));
        for different in [
            token.successor(&another, &checks),
            other.successor(&seed, &checks),
            next.successor(&seed, &checks),
        ] {
            assert!(!different.is(&next.hash()));
        }
    }

    #[test]
    fn what_is_shown_for_debugging_holds_no_secret() {
        let (token, checks) = token();
        let shown = format!("{token:?}{checks:?}{:?}", token.hash());
        for secret in [base64url::encode(token.secret.as_ref()), base64url::encode(checks.0.as_ref())] {
            assert!(!shown.contains(&secret[..8]), "{shown}");
        }
    }
}

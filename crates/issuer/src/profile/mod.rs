//! Profiles: shapes of token, one file each. A profile takes what the caller sent, applies the client's policy and
//! gives the claims; signing, audit and the response are the same for all.

mod jaas;
mod jwt;

pub use jaas::{JaasProfile, is_jaas_kid};
pub use jwt::JwtProfile;

use crate::{
    policy::{MintPolicy, Rule},
    request::SignRequest,
};
use countersign_jose::Timestamp;
use countersign_keyring::{RingName, Signer};
use std::{borrow::Cow, fmt::Debug, time::Duration};

/// A shape of token.
pub trait Profile: Send + Sync + Debug {
    /// Its name in requests and policies.
    fn name(&self) -> &'static str;
    /// The ring whose active key signs it.
    fn ring(&self) -> &RingName;
    /// The header's `typ`.
    fn typ(&self) -> &'static str;
    /// Refuses a key that the tokens' consumer would not take.
    fn check_signer(&self, signer: &dyn Signer) -> Result<(), ProfileError>;
    /// The claims of one token.
    fn shape(
        &self,
        request: &SignRequest<'_>,
        policy: &MintPolicy,
        facts: &Facts<'_>,
    ) -> Result<Shaped, Refusal>;
}

/// What the issuer knows when it mints.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// The time of the request.
    pub now: Timestamp,
    /// A fresh random name.
    pub id: &'a str,
    /// How far `iat` and `nbf` lie before now, for verifiers whose clock is behind.
    pub backdate: Duration,
}

/// A token's claims, ready to sign.
#[derive(Debug)]
pub struct Shaped {
    /// The claims as JSON.
    pub payload: Vec<u8>,
    /// How long the token lives from now on.
    pub lifetime: Duration,
    /// Its `jti`, if the profile has one.
    pub jti: Option<String>,
    /// Whom it is about, for the audit.
    pub subject: Option<String>,
}

/// Why a token is not minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request makes no sense for this profile; the reason is for the caller.
    Invalid(Cow<'static, str>),
    /// The client's policy does not allow it.
    Denied(Rule),
}

impl From<Rule> for Refusal {
    fn from(rule: Rule) -> Self {
        Self::Denied(rule)
    }
}

/// Why a profile can not work with the key it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile}: {reason}")]
pub struct ProfileError {
    /// The profile.
    pub profile: &'static str,
    /// What is wrong and what to do.
    pub reason: String,
}

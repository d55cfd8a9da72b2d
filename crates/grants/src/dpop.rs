//! DPoP at `POST /token` (RFC 9449 §5 and §8): a proof in the request binds what is minted to the
//! key that signed it.
//!
//! The URL of a proof is the token endpoint's public one, issuer and path, wherever the request
//! arrived. A proof is taken once, whichever server it comes to: its name is in the store before
//! anything is minted, and not before everything else about the request was found to be right: who
//! has no token to show writes nothing. A nonce has a tag under the sealing key, so that all
//! servers of one store take each other's. Pinned by `tests/e2e/test_dpop.py`.

use crate::seen::{Kind, Seen, SeenError};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use countersign_jose::Timestamp;
use countersign_keyring::StoredKeyring;
use countersign_verifier::dpop::{HttpUri, NonceAuthenticator, ProofError, ProofRules, Proven, single};
use std::time::Duration;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// What tags of nonces are told from all other tags by.
const LABEL: &str = "countersign dpop nonce";

/// How proofs are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DpopSettings {
    /// How old a proof may be by the client's clock, where no nonce tells the time.
    pub window: Duration,
    /// Whether each proof needs a nonce.
    pub require_nonce: bool,
}

/// Judges the proofs of one issuer's token endpoint.
#[derive(Debug)]
pub(crate) struct Proofs {
    settings: DpopSettings,
    urls: Vec<HttpUri>,
    nonces: Sealed,
}

/// Nonces under the sealing keys.
#[derive(Debug)]
struct Sealed(StoredKeyring);

impl NonceAuthenticator for Sealed {
    fn tag(&self, content: &[u8]) -> Option<Vec<u8>> {
        self.0.tag_at_hand(LABEL, content)
    }

    fn authenticates(&self, content: &[u8], tag: &[u8]) -> bool {
        self.0.authenticates_at_hand(LABEL, content, tag)
    }
}

impl Proofs {
    /// For the token endpoint at this URL.
    pub(crate) fn new(endpoint: &str, settings: DpopSettings, keyring: StoredKeyring) -> Self {
        // What is an issuer is a URL; of another endpoint no proof would be taken.
        let urls = HttpUri::parse(endpoint).into_iter().collect();
        Self { settings, urls, nonces: Sealed(keyring) }
    }

    /// Whether a request has a proof, of whatever kind.
    pub(crate) fn is_shown(headers: &HeaderMap) -> bool {
        headers.contains_key(DPOP)
    }

    /// A nonce for the client's next proof, as a header.
    pub(crate) fn nonce(&self, now: Timestamp) -> Option<(HeaderName, HeaderValue)> {
        let nonces: &dyn NonceAuthenticator = &self.nonces;
        Some((DPOP_NONCE, HeaderValue::try_from(nonces.issue(now)?).ok()?))
    }

    /// The proof in a request, which is not taken yet. `demanded` says that there has to be one.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        demanded: bool,
        now: Timestamp,
    ) -> Result<Option<Proven>, DpopError> {
        let values = headers.get_all(DPOP).iter();
        // What is not UTF-8 is not a proof.
        let proof = single(values.map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or_default()))?;
        let proof = match proof {
            None if demanded => return Err(ProofError::Missing.into()),
            None => return Ok(None),
            Some(proof) => proof,
        };
        let rules = ProofRules {
            method: "POST",
            urls: &self.urls,
            access_token: None,
            window: self.settings.window,
            nonces: &self.nonces,
            require_nonce: self.settings.require_nonce,
        };
        match rules.check(proof, now) {
            // Without the key there is no nonce that the client could be told.
            Err(ProofError::Nonce) if self.nonce(now).is_none() => Err(DpopError::NoNonce),
            other => Ok(Some(other?)),
        }
    }
}

/// Takes a proof, if the request has one.
pub(crate) async fn take(proof: Option<&Proven>, seen: &Seen) -> Result<(), DpopError> {
    let Some(proof) = proof else { return Ok(()) };
    // A window that grows by a reload, or is larger at another server, takes nothing again.
    seen.once(Kind::Proof, proof.jkt(), proof.jti(), proof.until_at_most()).await?;
    Ok(())
}

/// Refuses a proof that was taken before, and takes it not yet: for what is used up elsewhere while
/// it is judged.
pub(crate) async fn check_unused(proof: Option<&Proven>, seen: &Seen) -> Result<(), DpopError> {
    let Some(proof) = proof else { return Ok(()) };
    Ok(seen.check(Kind::Proof, proof.jkt(), proof.jti()).await?)
}

/// Why a proof is not taken. Told to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DpopError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("the DPoP proof: {0}")]
    Seen(SeenError),
    #[error("no nonce for DPoP proofs can be made now; try again")]
    NoNonce,
}

impl From<SeenError> for DpopError {
    fn from(why: SeenError) -> Self {
        match why {
            SeenError::Replayed => ProofError::Replayed.into(),
            why @ SeenError::Store(_) => Self::Seen(why),
        }
    }
}

impl DpopError {
    /// Whether the proof may be good, and only cannot be judged now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Proof(_) => false,
            Self::Seen(why) => why.is_temporary(),
            Self::NoNonce => true,
        }
    }

    /// Whether the client only needs the nonce that comes with the answer (RFC 9449 §8).
    pub(crate) fn wants_nonce(&self) -> bool {
        *self == Self::Proof(ProofError::Nonce)
    }

    /// A stable name for the audit and the metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Proof(why) => why.code(),
            Self::Seen(why) => why.code(),
            Self::NoNonce => "keyring_unavailable",
        }
    }
}

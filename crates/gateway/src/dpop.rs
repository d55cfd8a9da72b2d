//! DPoP at the gate (RFC 9449 §7): a token that is bound to a key is accepted with a proof of that
//! key for this request, and with nothing less.
//!
//! Scheme and token belong together: a bound token under `Bearer` is refused, and so is one under
//! `DPoP` that is not bound. The URL of a proof is compared with the public one: below the
//! configured `public_urls`, else as API Gateway says it, else no proof can be taken. What a header
//! says of it is the client's, `Host` too: by it a proof for another service would be one for this
//! one. Proofs that were taken are remembered by this process alone, and are so many at most; when
//! there is no room, no proof is taken. Called by `gate` once a token is verified; pinned by
//! `tests/suite/dpop.rs`.

use crate::{
    credential::{Credential, Scheme},
    decision::Refusal,
    facts::RequestFacts,
};
use countersign_jose::Timestamp;
use countersign_verifier::{
    Accepted,
    dpop::{
        Binding, HttpUri, NonceAuthenticator, NonceKey, NonceKeyError, ProofError, ProofRules, ReplayError,
        Replays, UnknownBinding, single,
    },
};
use std::{borrow::Cow, sync::Arc, time::Duration};

/// Proofs that are remembered unless it is said: with 80 bytes each at most, some 8 MB.
pub const MOST_PROOFS: usize = 100_000;

/// How the gate judges proofs.
#[derive(Debug)]
pub struct Dpop {
    /// The public URLs below which the service is; none to believe what the adapter says.
    pub public_urls: Vec<HttpUri>,
    /// How old a proof may be by the client's clock, where no nonce tells the time.
    pub window: Duration,
    /// What authenticates nonces.
    pub nonces: Nonces,
    /// Whether each proof needs a nonce.
    pub require_nonce: bool,
    /// How many proofs are remembered.
    pub most: usize,
    /// Those that were taken.
    pub replays: Arc<Replays>,
    /// Whether challenges say that proofs are taken.
    pub is_announced: bool,
}

/// Whose nonces the gate takes.
#[derive(Debug, Clone)]
pub enum Nonces {
    /// Its own, and those of the gate it has followed in this process.
    Own(Arc<NonceKey>),
    /// Those of every gate with the same secret.
    Shared(Arc<NonceKey>),
}

impl Nonces {
    fn key(&self) -> &NonceKey {
        match self {
            Self::Own(key) | Self::Shared(key) => key,
        }
    }
}

/// Why a bound token is not accepted, or a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DpopRefusal {
    /// As a bearer token it would be worth something to a thief.
    #[error(
        "the token is bound to a key, and was shown as a bearer token; show it with the scheme DPoP and a proof"
    )]
    BoundAsBearer,
    /// A proof proves nothing for it.
    #[error("the token was shown with the scheme DPoP, and is not bound to a key")]
    NotBound,
    /// By a certificate, say.
    #[error(transparent)]
    UnknownBinding(#[from] UnknownBinding),
    /// The proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It is not known for which URL a proof would have to be.
    #[error("the public URL of the request is not known; set gate.dpop.public_urls")]
    UnknownUrl,
    /// Proofs do not come here, or the answer to one would be remembered.
    #[error("a token that is bound to a key cannot be accepted here: {0}")]
    NotHere(&'static str),
    /// No room to remember the proof.
    #[error(
        "as many DPoP proofs are remembered as may be (gate.dpop.proofs), in all or of this key, so that none can be taken until some have expired"
    )]
    Full,
}

impl DpopRefusal {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BoundAsBearer => "dpop_bound_as_bearer",
            Self::NotBound => "dpop_not_bound",
            Self::UnknownBinding(_) => "binding_unknown",
            Self::Proof(why) => why.code(),
            Self::UnknownUrl => "dpop_url_unknown",
            Self::NotHere(_) => "dpop_not_here",
            Self::Full => "dpop_full",
        }
    }
}

impl Dpop {
    /// Proofs for URLs that the adapter knows, by clocks that are a minute off at most, with a key
    /// of this process for nonces.
    ///
    /// # Errors
    ///
    /// If there is no key.
    pub fn new() -> Result<Self, NonceKeyError> {
        Ok(Self {
            public_urls: Vec::new(),
            window: Duration::from_secs(60),
            nonces: Nonces::Own(Arc::new(NonceKey::random()?)),
            require_nonce: false,
            most: MOST_PROOFS,
            replays: Arc::new(Replays::new(MOST_PROOFS)),
            is_announced: false,
        })
    }

    /// Takes over from the gate before it: what that one has taken is not taken again, and its
    /// nonces still are.
    pub(crate) fn follow(&mut self, before: &Self) {
        before.replays.resize(self.most);
        self.replays = Arc::clone(&before.replays);
        if let (Nonces::Own(own), Nonces::Own(of_before)) = (&mut self.nonces, &before.nonces) {
            *own = Arc::clone(of_before);
        }
    }

    /// A nonce for the next proof.
    pub(crate) fn nonce(&self, now: Timestamp) -> Option<String> {
        let nonces: &dyn NonceAuthenticator = self.nonces.key();
        nonces.issue(now)
    }

    /// Whether it was shown by the holder of the key that it is bound to, if it is bound.
    pub(crate) fn check(
        &self,
        accepted: Accepted,
        credential: &Credential<'_>,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let binding = Binding::of(accepted.verified()).map_err(DpopRefusal::from)?;
        match (binding, credential.scheme) {
            (None, Scheme::Bearer) => Ok(accepted),
            (None, Scheme::Dpop) => Err(DpopRefusal::NotBound.into()),
            (Some(_), Scheme::Bearer) => Err(DpopRefusal::BoundAsBearer.into()),
            (Some(binding), Scheme::Dpop) => {
                self.prove(&binding, credential.token, facts, now)?;
                Ok(accepted)
            }
        }
    }

    fn prove(
        &self,
        binding: &Binding,
        token: &str,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Result<(), DpopRefusal> {
        if let Some(why) = facts.no_proofs {
            return Err(DpopRefusal::NotHere(why));
        }
        let proof = single(facts.header("dpop"))?.ok_or(ProofError::Missing)?;
        let urls = self.urls(facts);
        if urls.is_empty() {
            return Err(DpopRefusal::UnknownUrl);
        }
        let rules = ProofRules {
            method: &facts.method,
            urls: &urls,
            access_token: Some(token),
            window: self.window,
            nonces: self.nonces.key(),
            require_nonce: self.require_nonce,
        };
        let proven = rules.check(proof, now)?;
        if !binding.is_to(proven.jkt()) {
            return Err(ProofError::OtherKey.into());
        }
        // Last: what is not good takes no room.
        self.replays.once(&proven, now).map_err(|why| match why {
            ReplayError::Replayed => ProofError::Replayed.into(),
            ReplayError::Full => DpopRefusal::Full,
        })
    }

    /// What the URL of the request may be.
    fn urls(&self, facts: &RequestFacts<'_>) -> Vec<HttpUri> {
        if self.public_urls.is_empty() {
            return facts.url.as_deref().and_then(|url| HttpUri::parse(url).ok()).into_iter().collect();
        }
        let path: &str = &facts.path;
        self.public_urls.iter().filter_map(|base| base.join(path).ok()).collect()
    }
}

impl From<DpopRefusal> for Refusal {
    fn from(why: DpopRefusal) -> Self {
        Self::Dpop(why)
    }
}

/// A public URL: scheme and authority as somebody says them, and a path as it was sent or decoded.
pub(crate) fn url(origin: &str, path: &str) -> Option<Cow<'static, str>> {
    let url = HttpUri::parse(origin).ok()?.join(path).ok()?;
    Some(Cow::Owned(url.as_str().to_owned()))
}

//! Workload identity: a client proves who it is with a token that its platform made for this
//! issuer, and has no secret (RFC 7521 §4.2 and RFC 7523 §2.2 with an `iss` that is not the
//! client).
//!
//! An entry of a client trusts one issuer for this purpose alone and says which claims make a token
//! this client's; what would take the tokens of strangers is refused by the configuration. The
//! request names the client, so a token never chooses one. Every `aud` is this issuer or its token
//! endpoint: nobody else may hold such a token. `exp` is at most an hour away, and a token with a
//! `jti` is taken once, whether as this or as an assertion that is exchanged, except where a
//! platform hands out the same one again and again (Kubernetes). `typ` is that of a JWT or an
//! access token, unless the entry names one: an ID-JAG is about a user. Pinned by
//! `tests/e2e/test_workload.py`.

use crate::{
    assertion::{AssertionError, LEEWAY, LONGEST, shown},
    seen::{Kind, Seen},
};
use countersign_issuer::ShownToken;
use countersign_jose::{
    Algorithm, MAX_CLAIMS_DEPTH, Timestamp, Verified,
    json::{Object, string},
};
use countersign_verifier::{TrustError, TrustedIssuer, Verifier, VerifyError};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Values of `typ` that a platform's token may have, in lower case, unless the entry names another.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// How long after its end a token may be taken: the most that a trusted issuer may be given.
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);

/// Whose tokens prove that somebody is a client.
#[derive(Debug)]
pub struct Workload {
    /// The client.
    pub client_id: String,
    /// The platform's issuer, and what its tokens must say to be this client's.
    pub issuer: TrustedIssuer,
    /// How often one may be shown.
    pub shown: WorkloadTokens,
    /// Whether the issuer's tokens have a `typ` that the entry names.
    pub typ: WorkloadTyp,
    /// Whom such a token may be about.
    pub about: WorkloadSubject,
}

/// Whom a token may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadSubject {
    /// Whom the issuer's claims say.
    Matched,
    /// The client that it was given to: `sub` is `client_id` (RFC 9068 §2.2).
    Client,
    /// Whom the issuer's claims say, and not a user who has logged in: no claim of an ID token is
    /// there (OpenID Connect Core §2 and §3.3.2.11).
    NoUser,
}

/// Claims that ID tokens alone have.
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// How often one token may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadTokens {
    /// Once; it must have a name (`jti`).
    Once,
    /// Once where it has a name.
    OnceIfNamed,
    /// As often as its holder likes, until it expires.
    Often,
}

/// What the header's `typ` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadTyp {
    /// None, `JWT` or `at+jwt`.
    Usual,
    /// What the trusted issuer demands.
    Named,
}

/// One entry, at work.
#[derive(Debug)]
struct Entry {
    verifier: Verifier,
    shown: WorkloadTokens,
    typ: WorkloadTyp,
    about: WorkloadSubject,
}

/// The entries of all clients that have one.
#[derive(Debug)]
pub struct Workloads {
    clients: BTreeMap<String, Vec<Entry>>,
    audiences: [String; 2],
}

impl Workloads {
    /// Tokens for this issuer and its token endpoint; `None` where no client is told by one.
    ///
    /// # Errors
    ///
    /// The issuer whose tokens could not be told.
    pub fn new(
        issuer: &str,
        token_endpoint: &str,
        workloads: Vec<Workload>,
    ) -> Result<Option<Self>, TrustError> {
        let mut clients: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for Workload { client_id, issuer, shown, typ, about } in workloads {
            let verifier = Verifier::builder().trust(issuer).build()?;
            clients.entry(client_id).or_default().push(Entry { verifier, shown, typ, about });
        }
        let audiences = [issuer.to_owned(), token_endpoint.to_owned()];
        Ok((!clients.is_empty()).then_some(Self { clients, audiences }))
    }

    /// Whether this client has an entry.
    pub(crate) fn are_of(&self, client: &str) -> bool {
        self.clients.contains_key(client)
    }

    /// What such tokens may be signed with.
    pub(crate) fn algorithms(&self) -> BTreeSet<Algorithm> {
        let issuers = self.clients.values().flatten().flat_map(|entry| entry.verifier.issuers());
        issuers.flat_map(|issuer| issuer.algorithms().iter().copied()).collect()
    }

    /// Whether a token proves to come from this client, by the first of its entries that accepts
    /// it. Where no entry knows the issuer, the answer is [`VerifyError::UnknownIssuer`].
    pub(crate) async fn accept(
        &self,
        client: &str,
        token: &str,
        now: Timestamp,
        seen: &Seen,
    ) -> Result<ShownToken, AssertionError> {
        let mut refusal = AssertionError::Refused(VerifyError::UnknownIssuer);
        for entry in self.clients.get(client).into_iter().flatten() {
            match self.accept_by(entry, token, now, seen).await {
                Err(AssertionError::Refused(VerifyError::UnknownIssuer)) => {}
                // It was accepted and spent, or cannot be judged: another entry has nothing to add.
                Err(why @ AssertionError::Seen(_)) => return Err(why),
                Err(why) => refusal = why,
                Ok(token) => return Ok(token),
            }
        }
        Err(refusal)
    }

    async fn accept_by(
        &self,
        entry: &Entry,
        token: &str,
        now: Timestamp,
        seen: &Seen,
    ) -> Result<ShownToken, AssertionError> {
        let accepted = entry.verifier.verify(token, now).await?;
        let verified = accepted.verified();
        let is_usual = |typ: &str| TYPES.contains(&typ.to_ascii_lowercase().as_str());
        if entry.typ == WorkloadTyp::Usual && verified.typ().is_some_and(|typ| !is_usual(typ)) {
            return Err(AssertionError::Typ);
        }
        check_subject(verified, entry.about)?;
        let claims = verified.registered();
        if claims.aud.is_empty() || !claims.aud.iter().all(|audience| self.audiences.contains(audience)) {
            return Err(AssertionError::ForOthersToo);
        }
        let ends = claims.exp.ok_or(AssertionError::TooLong)?;
        if ends > now.plus(LONGEST).plus(LEEWAY) {
            return Err(AssertionError::TooLong);
        }
        let jti = claims.jti.as_deref().filter(|jti| !jti.is_empty());
        let name = match (entry.shown, jti) {
            (WorkloadTokens::Often, _) | (WorkloadTokens::OnceIfNamed, None) => return Ok(shown(verified)),
            (WorkloadTokens::Once, None) => return Err(AssertionError::NoJti),
            (WorkloadTokens::Once | WorkloadTokens::OnceIfNamed, Some(jti)) => jti,
        };
        let iss = claims.iss.as_deref().unwrap_or_default();
        let until = ends.plus(LONGEST_LEEWAY);
        seen.once(Kind::OfIssuer, iss, name, until).await?;
        Ok(shown(verified))
    }
}

/// Whether a token is about whom the entry says, and can be used by anybody who holds it: one that
/// is bound to a key says nothing without it.
fn check_subject(token: &Verified, about: WorkloadSubject) -> Result<(), AssertionError> {
    let claims = Object::parse(token.payload(), MAX_CLAIMS_DEPTH).map_err(|_| AssertionError::Subject)?;
    let has = |name: &str| claims.get(name).is_some();
    if has("cnf") {
        return Err(AssertionError::Bound);
    }
    let fits = match about {
        WorkloadSubject::Matched => true,
        WorkloadSubject::Client => {
            let given = claims.get("client_id").and_then(string);
            given.is_some() && given.as_deref() == token.registered().sub.as_deref()
        }
        WorkloadSubject::NoUser => !OF_ID_TOKENS.iter().any(|name| has(name)),
    };
    if fits { Ok(()) } else { Err(AssertionError::Subject) }
}

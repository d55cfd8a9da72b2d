//! The steps that prove a token: form, issuer, algorithm, keys, the key's name, its certificate and
//! owner, signature, claims.
//!
//! One way for `verify` and `explain`. A `Listener` is told how each step ended, with its words as
//! a closure that only a listener who wants them calls: `Nobody` costs nothing. The first step that
//! fails ends the proof. What a token says before its signature was proven selects an issuer and a
//! key, and nothing else.

use super::{Accepted, IssuerKeys, Trusted, TrustedKeys, Verifier};
use crate::{
    error::VerifyError,
    keys::{self, LoadedKeys},
    remote::Unavailable,
    trusted::{Clients, Identity},
};
use countersign_jose::{
    Algorithm, ClaimError, LoadBalancerHeader, LoadBalancerToken, Policy, Signed, Timestamp, TokenError,
    TokenPart, Unverified, Verified, VerifyingKey, base64url::InvalidBase64Url, excerpt, quoted,
};
use std::{sync::Arc, time::Duration};

/// What a token was accepted by.
pub(super) struct Proof {
    pub(super) accepted: Accepted,
    /// Which of the verifier's issuers.
    pub(super) issuer: usize,
    pub(super) keys: Arc<LoadedKeys>,
    /// Where these come from.
    pub(super) source: IssuerKeys,
    /// When what has proven it ends: the certificate of its key, the header of a load balancer.
    pub(super) until: Option<Timestamp>,
}

/// A token, and what only a load balancer's header says.
struct Shown<'a> {
    token: Unverified<'a>,
    balancer: Option<LoadBalancerHeader>,
}

/// Keys that are at hand, and where they come from.
struct Had {
    keys: Arc<LoadedKeys>,
    source: IssuerKeys,
}

/// One step of a proof, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Form,
    Issuer,
    Algorithm,
    Keys,
    Key,
    Certificate,
    Owner,
    Signature,
    LoadBalancer,
    Revocation,
}

impl Step {
    pub(super) const ALL: [Self; 10] = [
        Self::Form,
        Self::Issuer,
        Self::Algorithm,
        Self::Keys,
        Self::Key,
        Self::Certificate,
        Self::Owner,
        Self::Signature,
        Self::LoadBalancer,
        Self::Revocation,
    ];
}

/// What a step expected and what it found.
pub(super) struct Words {
    pub(super) expected: String,
    pub(super) found: String,
}

impl Words {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Option<Self> {
        Some(Self { expected: expected.into(), found: found.into() })
    }
}

/// Is told how each step ended.
pub(super) trait Listener: Send {
    /// Gives the outcome back. No words: there was nothing to look at, which is not worth telling.
    fn step<T>(
        &mut self,
        step: Step,
        outcome: Result<T, VerifyError>,
        words: impl FnOnce(Option<&T>) -> Option<Words>,
    ) -> Result<T, VerifyError>;

    /// The proof goes back to this step, with newer keys.
    fn again_from(&mut self, step: Step);

    /// The claims will have to meet this policy.
    fn claims_expected(&mut self, policy: &Policy);

    /// The claims may be read, and will be checked.
    fn claims_reached(&mut self, signed: &Signed, policy: &Policy, now: Timestamp);
}

/// Listens to nothing.
pub(super) struct Nobody;

impl Listener for Nobody {
    #[inline]
    fn step<T>(
        &mut self,
        _: Step,
        outcome: Result<T, VerifyError>,
        _: impl FnOnce(Option<&T>) -> Option<Words>,
    ) -> Result<T, VerifyError> {
        outcome
    }

    #[inline]
    fn again_from(&mut self, _: Step) {}

    #[inline]
    fn claims_expected(&mut self, _: &Policy) {}

    #[inline]
    fn claims_reached(&mut self, _: &Signed, _: &Policy, _: Timestamp) {}
}

impl Verifier {
    pub(super) async fn prove<L: Listener>(
        &self,
        token: &str,
        now: Timestamp,
        listener: &mut L,
    ) -> Result<Proof, VerifyError> {
        let (text, bytes) = (token, token.len());
        let parsed = self.parse(token).map_err(VerifyError::from);
        let Shown { token, balancer } = listener.step(Step::Form, parsed, |shown| {
            Words::new(
                "a compact JWS with a readable header",
                form_of(shown.map(|shown| &shown.token), bytes),
            )
        })?;
        let selected = match &balancer {
            Some(header) => self.select_by_signer(&header.signer),
            None => self.select(&token),
        };
        let (index, trusted, identity) = listener.step(Step::Issuer, selected, |_| match &balancer {
            Some(header) => self.signer_words(header),
            None => self.issuer_words(&token),
        })?;
        listener.claims_expected(&identity.policy);
        let algorithm = token.unverified_algorithm();
        listener.step(Step::Algorithm, trusted.issuer.check_header(&token), |_| {
            Words::new(list(trusted.issuer.algorithms().iter().map(|a| a.name())), algorithm.name())
        })?;
        let had = trusted.keys_for(identity, &token, now).await;
        let Had { mut keys, source } = keys_step(trusted, had, listener)?;
        let mut signed = signature_steps(&keys, token, identity, now, listener);
        if let Err(VerifyError::Token(TokenError::BadSignature)) = &signed
            && let IssuerKeys::Remote(remote) = &source
            && let Ok(Some(newer)) = remote.newer_than(&keys, now).await
        {
            // Another key under the same name.
            listener.again_from(Step::Keys);
            keys = keys_step(trusted, Ok(Had { keys: newer, source: source.clone() }), listener)?.keys;
            signed = signature_steps(&keys, self.parse(text)?.token, identity, now, listener);
        }
        let (signed, certificate_ends) = signed?;
        if let (Some(header), Some(clients)) = (&balancer, &trusted.issuer.load_balancer) {
            let fits = balancer_fits(header, identity, clients, trusted.issuer.leeway, now);
            listener.step(Step::LoadBalancer, fits.map_err(VerifyError::from), |_| {
                balancer_words(header, identity, clients)
            })?;
        }
        listener.claims_reached(&signed, &identity.policy, now);
        let verified = Arc::new(signed.check(&identity.policy, now)?);
        if trusted.revocations.is_some() {
            let revoked = trusted.check_revoked(&verified, now).await;
            listener
                .step(Step::Revocation, revoked, |_| Words::new("not revoked by the issuer", "the token"))?;
        }
        let accepted = Accepted { issuer: trusted.issuer.name.clone(), verified };
        let until = certificate_ends.into_iter().chain(balancer.map(|header| header.exp)).min();
        Ok(Proof { accepted, issuer: index, keys, source, until })
    }

    /// Takes a token apart: as what a load balancer sends only where one is trusted.
    fn parse<'t>(&self, token: &'t str) -> Result<Shown<'t>, TokenError> {
        match LoadBalancerToken::is_padded(token) {
            true if !self.by_signer.is_empty() => {
                let LoadBalancerToken { token, header } = LoadBalancerToken::parse(token)?;
                Ok(Shown { token, balancer: Some(header) })
            }
            // Told at once, and not when some key has been looked for.
            true => Unverified::parse(token).and(Err(TokenError::NotBase64Url {
                part: TokenPart::Signature,
                why: InvalidBase64Url::Padding,
            })),
            false => Ok(Shown { token: Unverified::parse(token)?, balancer: None }),
        }
    }

    /// The one load balancer of this ARN.
    fn select_by_signer(&self, signer: &str) -> Result<(usize, &Trusted, &Identity), VerifyError> {
        let &index = self.by_signer.get(signer).ok_or(VerifyError::UnknownSigner)?;
        let trusted = self.trusted.get(index).ok_or(VerifyError::UnknownSigner)?;
        let identity = trusted.issuer.identities.first().ok_or(VerifyError::UnknownSigner)?;
        Ok((index, trusted, identity))
    }

    fn signer_words(&self, header: &LoadBalancerHeader) -> Option<Words> {
        let mut names: Vec<&str> = self.by_signer.keys().map(String::as_str).collect();
        names.sort_unstable();
        Words::new(list(names.into_iter().map(quoted)), quoted(&header.signer))
    }

    /// The one identity there is, where it is to be believed whatever a token's `iss` says.
    fn any_issuer(&self) -> Option<(&Trusted, &Identity)> {
        match self.trusted.as_slice() {
            [only] => match only.issuer.identities.as_slice() {
                [identity] if identity.iss.is_none() => Some((only, identity)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The one issuer whose tokens say this token's `iss`.
    fn select(&self, token: &Unverified<'_>) -> Result<(usize, &Trusted, &Identity), VerifyError> {
        if let Some((only, identity)) = self.any_issuer() {
            return Ok((0, only, identity));
        }
        let iss = token.unverified_issuer()?.ok_or(VerifyError::NoIssuer)?;
        let &(index, which) = self.by_iss.get(&iss).ok_or(VerifyError::UnknownIssuer)?;
        let trusted = self.trusted.get(index).ok_or(VerifyError::UnknownIssuer)?;
        let identity = trusted.issuer.identities.get(which).ok_or(VerifyError::UnknownIssuer)?;
        Ok((index, trusted, identity))
    }

    fn issuer_words(&self, token: &Unverified<'_>) -> Option<Words> {
        if self.any_issuer().is_some() {
            return Words::new("any issuer", "not looked at");
        }
        let mut names: Vec<&str> = self.by_iss.keys().map(String::as_str).collect();
        names.sort_unstable();
        let found = match token.unverified_issuer() {
            Ok(iss) => iss.as_deref().map_or_else(|| "absent".to_owned(), quoted),
            Err(_) => String::new(),
        };
        Words::new(list(names.into_iter().map(quoted)), found)
    }
}

fn keys_step<L: Listener>(
    trusted: &Trusted,
    had: Result<Had, VerifyError>,
    listener: &mut L,
) -> Result<Had, VerifyError> {
    listener.step(Step::Keys, had, |had| {
        let found = had.map(|Had { keys, .. }| match keys.count() {
            1 => format!("1 key{}", keys.skipped_in_words(&Algorithm::ALL)),
            many => format!("{many} keys{}", keys.skipped_in_words(&Algorithm::ALL)),
        });
        Words::new(format!("the keys of {}", excerpt(&trusted.issuer.name)), found.unwrap_or_default())
    })
}

/// The steps from the name of the key to the signature, and when the key's certificate ends.
fn signature_steps<L: Listener>(
    keys: &LoadedKeys,
    token: Unverified<'_>,
    identity: &Identity,
    now: Timestamp,
    listener: &mut L,
) -> Result<(Signed, Option<Timestamp>), VerifyError> {
    let algorithm = token.unverified_algorithm();
    let key = listener.step(Step::Key, keys.select(&token), |_| key_words(keys, &token))?;
    listener.step(Step::Certificate, keys.check_certificate(key, now), |_| {
        let validity = keys.certificate(key)?;
        Words::new("valid now", format!("from {} to {}", validity.not_before, validity.not_after))
    })?;
    listener.step(Step::Owner, keys.check_owner(key, identity), |_| {
        let owners = Some(keys.owners(key)).filter(|owners| !owners.is_empty())?;
        let expected = identity.iss.as_deref().map_or_else(|| "any issuer".to_owned(), quoted);
        Words::new(expected, list(owners.iter().map(|owner| quoted(owner))))
    })?;
    let signed = token.verify(key).map_err(VerifyError::from);
    let signed = listener.step(Step::Signature, signed, |signed| signature_words(key, algorithm, signed))?;
    Ok((signed, keys.certificate(key).map(|validity| validity.not_after)))
}

impl Trusted {
    /// Refuses what the issuer has revoked, where that is asked.
    pub(super) async fn check_revoked(&self, token: &Verified, now: Timestamp) -> Result<(), VerifyError> {
        match &self.revocations {
            Some(watch) => watch.check(token, now).await,
            None => Ok(()),
        }
    }

    /// The keys that are there now.
    pub(super) async fn current(
        &self,
        source: &IssuerKeys,
        now: Timestamp,
    ) -> Result<Arc<LoadedKeys>, VerifyError> {
        match source {
            IssuerKeys::Fixed(keys) => Ok(keys.clone()),
            IssuerKeys::Remote(remote) => match remote.current(now).await {
                Err((_, why)) if remote.may_be_missing() && why.is_missing() => {
                    Err(VerifyError::UnknownIssuer)
                }
                keys => keys.map_err(|why| self.unavailable(why)),
            },
        }
    }

    fn unavailable(&self, (asked, why): Unavailable) -> VerifyError {
        VerifyError::KeysUnavailable { issuer: self.issuer.name.clone(), asked, why }
    }

    /// The keys to look for a token's key in: newer ones than those at hand, if it is not among
    /// these. If there may be newer ones that cannot be had now, nobody can tell whose the token
    /// is.
    async fn keys_for(
        &self,
        identity: &Identity,
        token: &Unverified<'_>,
        now: Timestamp,
    ) -> Result<Had, VerifyError> {
        let source = match (identity.own_keys, &self.keys) {
            (Some(own), _) => self.own_keys.get(own).ok_or(VerifyError::UnknownIssuer)?,
            (None, TrustedKeys::All(keys)) => keys,
            (None, TrustedKeys::ByKid(keys)) => {
                let (remote, keys) = keys.current(token.unverified_kid(), now).await?;
                return Ok(Had { keys, source: IssuerKeys::Remote(remote) });
            }
        };
        let (keys, had) = (self.current(source, now).await?, |keys| Had { keys, source: source.clone() });
        if let IssuerKeys::Remote(remote) = source
            && keys.select(token).is_err_and(|why| keys::may_be_new(token, &why))
            && let Some(newer) = remote.newer_than(&keys, now).await.map_err(|why| self.unavailable(why))?
        {
            return Ok(had(newer));
        }
        Ok(had(keys))
    }
}

/// What a load balancer's header has to say, once it is proven.
fn balancer_fits(
    header: &LoadBalancerHeader,
    identity: &Identity,
    clients: &Clients,
    leeway: Duration,
    now: Timestamp,
) -> Result<(), TokenError> {
    let mismatch = |name: &str| TokenError::from(ClaimError::Mismatch(name.to_owned()));
    if identity.iss.as_ref() != Some(&header.iss) {
        return Err(mismatch("iss"));
    }
    if clients.as_ref().is_some_and(|clients| !clients.contains(&header.client)) {
        return Err(mismatch("client"));
    }
    if header.exp.plus(leeway) <= now {
        return Err(ClaimError::Expired.into());
    }
    Ok(())
}

fn balancer_words(header: &LoadBalancerHeader, identity: &Identity, clients: &Clients) -> Option<Words> {
    let client = clients.as_ref().map_or("any".to_owned(), |clients| list(clients.iter().map(|c| quoted(c))));
    let iss = identity.iss.as_deref().map_or_else(String::new, quoted);
    let found =
        format!("`client` {}, `iss` {}, `exp` {}", quoted(&header.client), quoted(&header.iss), header.exp);
    Words::new(format!("`client` {client}, `iss` {iss}, `exp` in the future"), found)
}

fn form_of(token: Option<&Unverified<'_>>, bytes: usize) -> String {
    match token {
        Some(token) => format!("{}, {}", token.unverified_algorithm(), kid_of(token)),
        None => countersign_jose::bytes(bytes),
    }
}

fn kid_of(token: &Unverified<'_>) -> String {
    token.unverified_kid().map_or_else(|| "no `kid`".to_owned(), |kid| format!("`kid` {}", quoted(kid)))
}

fn key_words(keys: &LoadedKeys, token: &Unverified<'_>) -> Option<Words> {
    let expected = match keys.names() {
        None => "any: one key is for every token".to_owned(),
        Some(names) if names.is_empty() => "keys that have no `kid`, of which none is named".to_owned(),
        Some(names) => list(names.into_iter().map(quoted)),
    };
    Words::new(expected, token.unverified_kid().map_or_else(|| "absent".to_owned(), quoted))
}

fn signature_words(key: &VerifyingKey, algorithm: Algorithm, signed: Option<&Signed>) -> Option<Words> {
    let kid = key.kid().map_or_else(|| "without a name".to_owned(), quoted);
    let verifies = if signed.is_some() { "verifies" } else { "does not verify" };
    Words::new(format!("{} by the key {kid}", key.algorithm()), format!("{algorithm}, {verifies}"))
}

fn list<S: AsRef<str>>(names: impl Iterator<Item = S>) -> String {
    let names: Vec<S> = names.collect();
    match names.as_slice() {
        [one] => excerpt(one.as_ref()),
        many => {
            let many: Vec<&str> = many.iter().map(AsRef::as_ref).collect();
            excerpt(&format!("one of {}", many.join(", ")))
        }
    }
}

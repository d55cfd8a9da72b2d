//! What the tests share: signers, a virtual present, servers and a fake fetch.

mod certificate;
mod fake;
mod server;

pub(crate) use certificate::{certified, today};
pub(crate) use fake::FakeFetch;
pub(crate) use server::{Reply, Server};

use countersign_jose::{Algorithm, Header, KeySize, PublicJwk, SigningInput, SigningKey, Timestamp};
use countersign_verifier::{
    Accepted, Explanation, KeySource, TrustedIssuer, TrustedIssuerBuilder, Verdict, Verifier, VerifyError,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

/// The present of most tests, moved by so many seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

/// Someone with a key and a name for it.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) key: SigningKey,
}

impl Signer {
    pub(crate) fn new(kid: &str) -> Self {
        Self::with(kid, Algorithm::ES256)
    }

    pub(crate) fn with(kid: &str, algorithm: Algorithm) -> Self {
        Self { kid: kid.into(), key: SigningKey::generate(algorithm, KeySize::default()).unwrap() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let key = self.key.public_key().unwrap().clone();
        serde_json::to_value(PublicJwk { kid: self.kid.clone(), algorithm: self.key.algorithm(), key })
            .unwrap()
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_named(Some(&self.kid), Some("JWT"), claims)
    }

    pub(crate) fn token_named(&self, kid: Option<&str>, typ: Option<&str>, claims: &Value) -> String {
        let header = Header { alg: self.key.algorithm(), kid, typ }.encode();
        let input = SigningInput::new(&header, claims.to_string().as_bytes());
        let signature = self.key.sign(&input).unwrap();
        input.finish(&signature)
    }

    /// A token the usual issuer would make, valid for a long time.
    pub(crate) fn good(&self) -> String {
        self.token(&claims())
    }

    /// The same under another key name.
    pub(crate) fn good_as(&self, kid: &str) -> String {
        self.token_named(Some(kid), Some("JWT"), &claims())
    }
}

/// The claims of a good token of the usual issuer.
pub(crate) fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "iat": at(0).unix_seconds() - 5,
            "exp": at(0).unix_seconds() + 1_000_000 })
}

/// Those claims with some replaced, or removed where the replacement is null.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}

/// Waits in real time for what happens in the background, however busy the machine is.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within two minutes: {what}");
}

pub(crate) fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|s| s.jwk()).collect::<Vec<_>>() }).to_string()
}

/// The usual issuer, with keys from `source`.
pub(crate) fn issuer(source: KeySource) -> TrustedIssuerBuilder {
    TrustedIssuer::builder(ISSUER).keys(source).algorithms([Algorithm::ES256]).audiences([AUDIENCE])
}

pub(crate) fn inline(signers: &[&Signer]) -> KeySource {
    KeySource::InlineJwks(jwks(signers))
}

/// A verifier of one issuer.
pub(crate) fn trusting(issuer: TrustedIssuerBuilder) -> Arc<Verifier> {
    Arc::new(Verifier::builder().trust(issuer.build().unwrap()).build().unwrap())
}

pub(crate) fn code(outcome: &Result<Accepted, VerifyError>) -> &'static str {
    outcome.as_ref().map_or_else(VerifyError::code, |_| "ok")
}

/// The explanation of a token, found to agree with `verify` and with itself: the same outcome, no
/// failed check if that is good, and else its reason as the first failed one.
pub(crate) async fn explained(verifier: &Verifier, token: &str, now: Timestamp) -> Explanation {
    let verified = verifier.verify(token, now).await;
    let explanation = verifier.explain(token, now).await;
    assert_eq!(explanation.outcome, verified, "{token}");
    let first = explanation.checks.iter().find(|check| check.failed()).map(|check| match &check.verdict {
        Verdict::Failed { code, why } => (*code, why.clone()),
        other => panic!("{other:?}"),
    });
    let expected = verified.err().map(|why| (why.code(), why.to_string()));
    assert_eq!(first, expected, "{:?}", explanation.checks);
    explanation
}

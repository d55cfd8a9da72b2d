//! The Rust contenders on the token, key and events that the harness gives to the contenders in all
//! languages.
//!
//! Raw is the RSA verification of aws-lc-rs alone, on bytes that lie ready. `Jose` takes a token
//! apart, proves it with a key found by its `kid`, and checks issuer, audience and time. `Gate` is
//! what an authorizer has: the verifier, which selects the issuer by the token's `iss`, and around
//! it the Lambda authorizer, with the settings a deployment has unless it says otherwise. Driven by
//! `bin/contender`.

use crate::{at_once, measure::Operation, now};
use anyhow::{Context, Result, bail};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use countersign_gateway::{
    lambda::{Authorizer, Reply},
    settings::{RawGate, RawTrust, Surroundings, resolve},
};
use countersign_jose::{Algorithm, Jwk, KeySet, Policy, Unverified, base64url};
use countersign_settings::Environment;
use serde::Deserialize;
use std::{collections::BTreeMap, hint::black_box, path::Path};

/// What every contender is given.
#[derive(Debug, Deserialize)]
pub struct Given {
    /// Whose tokens are accepted.
    pub issuer: String,
    /// Which audience they must name.
    pub audience: String,
    /// The keys of the issuer, as text.
    pub jwks: String,
    /// A good token, RS256.
    pub token: String,
    /// Events with that token in them, as text, by name.
    pub events: BTreeMap<String, String>,
}

/// One way to verify the token.
pub enum Contender {
    /// RSA alone.
    Raw(Box<ParsedPublicKey>),
    /// `countersign-jose`.
    Jose(KeySet, Box<Policy>),
    /// `countersign-verifier`, in `countersign-gateway`.
    Gate(Box<Authorizer>),
}

impl Contender {
    /// The contender of this name: `raw`, `jose` or `gate`.
    pub fn new(name: &str, given: &Given) -> Result<Self> {
        Ok(match name {
            "raw" => {
                let key = Jwk::parse_set(given.jwks.as_bytes())?.into_iter().next().context("no key")??;
                let spki = key.public_key().context("no public key")?.to_spki_der()?;
                let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki);
                Self::Raw(Box::new(key.context("aws-lc-rs refuses the public key")?))
            }
            "jose" => {
                let policy = Policy::new().issuer(&given.issuer).audiences([&given.audience]);
                let keys = KeySet::parse(given.jwks.as_bytes(), Some(Algorithm::RS256))?;
                Self::Jose(keys, Box::new(policy))
            }
            "gate" => Self::Gate(Box::new(authorizer(given)?)),
            other => bail!("no contender is called {other}"),
        })
    }

    /// Whether it accepts a token.
    pub fn accepts(&self, token: &str) -> bool {
        match self {
            Self::Raw(key) => taken_apart(token)
                .is_ok_and(|(message, signature)| key.verify_sig(message, &signature).is_ok()),
            Self::Jose(..) | Self::Gate(_) => self.verify(token).is_ok(),
        }
    }

    /// The answer to an event; `None` for the error `Unauthorized`.
    pub fn authorize(&self, event: &str) -> Result<Option<String>> {
        let Self::Gate(authorizer) = self else { bail!("this contender only verifies tokens") };
        match at_once(authorizer.authorize(event.as_bytes(), now()))?.reply {
            Reply::Json(json) => Ok(Some(json)),
            Reply::Unauthorized | Reply::Unavailable => Ok(None),
        }
    }

    /// What is timed: `verify`, or an event by its name.
    pub fn operation<'a>(&'a self, what: &str, given: &'a Given) -> Result<Operation<'a>> {
        Ok(match (what, self) {
            ("verify", Self::Raw(key)) => {
                let (message, signature) = taken_apart(&given.token)?;
                Box::new(move || Ok(key.verify_sig(black_box(message), black_box(&signature))?))
            }
            ("verify", _) => Box::new(|| self.verify(black_box(&given.token))),
            (name, _) => {
                let event = given.events.get(name).context("no such event")?;
                Box::new(move || {
                    let reply = self.authorize(black_box(event))?;
                    black_box(reply.context("a good token was refused")?);
                    Ok(())
                })
            }
        })
    }

    fn verify(&self, token: &str) -> Result<()> {
        match self {
            Self::Raw(_) => bail!("raw is not given tokens"),
            Self::Jose(keys, policy) => {
                let verified = keys.verify(Unverified::parse(token)?)?.check(policy, now())?;
                black_box(verified.registered());
            }
            Self::Gate(authorizer) => {
                let accepted = at_once(authorizer.gate().verifier().verify(token, now()))??;
                black_box(accepted.verified().registered());
            }
        }
        Ok(())
    }
}

/// As `countersign-authorizer` makes it of a `[[trust]]` with inline keys and nothing else.
fn authorizer(given: &Given) -> Result<Authorizer> {
    let trust = RawTrust {
        issuer: Some(given.issuer.clone()),
        jwks: Some(given.jwks.clone()),
        audiences: vec![given.audience.clone()],
        ..RawTrust::default()
    };
    let environment = Environment::of(&[]);
    let around = Surroundings { folder: Path::new("."), environment: &environment, key_cache: None };
    Ok(resolve(&[trust], &RawGate::default(), around)?.into_authorizer())
}

/// What was signed, and the signature.
fn taken_apart(token: &str) -> Result<(&[u8], Vec<u8>)> {
    let (message, signature) = token.rsplit_once('.').context("not a token")?;
    Ok((message.as_bytes(), base64url::decode(signature)?))
}

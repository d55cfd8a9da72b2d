//! What is known of the verifiers that read an issuer's public keys: how long each may go on with
//! keys it has read, and which algorithms it takes.
//!
//! Data and nothing else. A time that a vendor documents is that time; where none is documented,
//! the row says so and has a time that is long enough for everything that was seen. Used by the
//! rotation of keys, which waits for the slowest consumer of a ring, and by the warning about a
//! ring that not everything can read.

mod algorithms;

pub use algorithms::{refusing, taken_by};

use std::time::Duration;

/// A kind of verifier.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name in configurations.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// How long it may use keys that it has read before it reads them again, if that is longer than
    /// the `max-age` they came with.
    pub key_cache: Duration,
    /// How sure `key_cache` is.
    pub certainty: Certainty,
    /// Whether it reads the keys again when it meets a `kid` that it does not know.
    pub refetches_unknown_kid: bool,
    /// Whether it keeps keys for the `max-age` of the response when that is longer than `key_cache`.
    pub follows_max_age: bool,
}

/// How sure a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// The vendor's documentation or the source says so.
    Documented,
    /// Nothing is documented; this is on the safe side.
    Assumed,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const fn documented(
    name: &'static str,
    title: &'static str,
    key_cache: Duration,
    refetches_unknown_kid: bool,
) -> Consumer {
    let certainty = Certainty::Documented;
    Consumer { name, title, key_cache, certainty, refetches_unknown_kid, follows_max_age: false }
}

const fn assumed(name: &'static str, title: &'static str, key_cache: Duration) -> Consumer {
    let certainty = Certainty::Assumed;
    Consumer { name, title, key_cache, certainty, refetches_unknown_kid: false, follows_max_age: false }
}

/// Every consumer that is known.
pub const CONSUMERS: [Consumer; 15] = [
    // API Gateway developer guide, "Control access to HTTP APIs with JWT authorizers": public keys
    // may be cached for two hours.
    documented("aws-http-api", "API Gateway HTTP API, JWT authorizer", HOUR.saturating_mul(2), false),
    // API Gateway developer guide, "JWT authorizer keys" of REST APIs: up to an hour, and again on
    // an unknown kid.
    documented("aws-rest-api", "API Gateway REST API, JWT authorizer", HOUR, true),
    assumed("aws-alb", "Application Load Balancer, JWT verification", HOUR.saturating_mul(24)),
    assumed("aws-iam", "IAM OIDC provider, AssumeRoleWithWebIdentity", HOUR.saturating_mul(24)),
    assumed("aws-cognito", "Cognito identity pools", HOUR.saturating_mul(24)),
    assumed("aws-appsync", "AppSync, OPENID_CONNECT", HOUR.saturating_mul(24)),
    assumed("aws-verified-permissions", "Verified Permissions, OIDC source", HOUR.saturating_mul(24)),
    // Envoy API, RemoteJwks.cache_duration: 10 minutes unless set.
    documented("envoy", "Envoy jwt_authn", MINUTE.saturating_mul(10), false),
    // jitsi-meet, token/util.lib.lua: reads again after max-age, after six hours where none is
    // sent; not on an unknown kid.
    documented("jitsi", "Jitsi Prosody, cache_keys_url", HOUR.saturating_mul(6), false).and_max_age(),
    // This project, crate `verifier`, RefreshPolicy: 10 minutes unless the answer says otherwise.
    documented("countersign", "Countersign's verifier and gate", MINUTE.saturating_mul(10), true),
    // jose, createRemoteJWKSet: cacheMaxAge of 10 minutes.
    documented("jose", "jose (JavaScript), createRemoteJWKSet", MINUTE.saturating_mul(10), true),
    // PyJWT, PyJWKClient: lifespan of 300 seconds.
    documented("pyjwt", "PyJWT, PyJWKClient", MINUTE.saturating_mul(5), true),
    // aws-jwt-verify: keeps keys until it meets an unknown kid.
    documented("aws-jwt-verify", "aws-jwt-verify", Duration::ZERO, true),
    // k8s.io/apiserver, plugin/pkg/authenticator/token/oidc: keeps keys for the max-age of the
    // answer, during which a new key is refused and a revoked one accepted.
    documented("kubernetes", "Kubernetes API server, structured authentication", Duration::ZERO, false)
        .and_max_age(),
    assumed("other", "any other verifier", HOUR.saturating_mul(24)),
];

/// A name that is in no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a known consumer; there are {known}", known = names())]
pub struct UnknownConsumer {
    name: String,
}

impl Consumer {
    const fn and_max_age(self) -> Self {
        Self { follows_max_age: true, ..self }
    }

    /// How long it uses keys that came with this `max-age`, as far as is known.
    pub fn keeps(&self, max_age: Duration) -> Duration {
        if self.follows_max_age { self.key_cache.max(max_age) } else { self.key_cache }
    }

    /// The consumer of this name.
    pub fn named(name: &str) -> Result<&'static Self, UnknownConsumer> {
        static ROWS: [Consumer; CONSUMERS.len()] = CONSUMERS;
        ROWS.iter().find(|row| row.name == name).ok_or_else(|| UnknownConsumer { name: name.to_owned() })
    }
}

fn names() -> String {
    CONSUMERS.map(|row| row.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_name_and_no_two_are_alike() {
        for row in CONSUMERS {
            assert_eq!(Consumer::named(row.name), Ok(&row));
            assert_eq!(CONSUMERS.iter().filter(|other| other.name == row.name).count(), 1);
        }
        let why = Consumer::named("nobody").unwrap_err().to_string();
        assert!(why.contains("nobody") && why.contains("aws-http-api"), "{why}");
    }
}

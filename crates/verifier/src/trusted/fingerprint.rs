//! What stands for everything by which a token of an issuer is believed: who it is, its keys, and
//! what its tokens must say.
//!
//! Two descriptions with one fingerprint believe the same tokens. Keys at an address are that
//! address, so that an issuer may change its keys; keys in the configuration are those keys. How
//! keys are fetched and how far clocks may differ is not in it. What was granted for a token is not
//! to outlive this: families of refresh tokens in `countersign-grants` remember it, by a tag under
//! a key, because a digest of a shared secret is not for a store.

use super::TrustedIssuerBuilder;
use crate::source::KeySource;
use aws_lc_rs::digest::{SHA256, digest};
use countersign_jose::{Algorithm, base64url};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

impl TrustedIssuerBuilder {
    /// SHA-256 of the description, in base64url.
    pub(super) fn fingerprint(&self) -> String {
        let mut binds = json!({
            "issuer": self.name,
            "any_issuer": self.any_issuer,
            "aliases": sorted(&self.aliases),
            "tenants": sorted(&self.tenants),
            "keys": self.keys.as_ref().map(source),
            "algorithms": self.algorithms.iter().map(Algorithm::to_string).collect::<BTreeSet<_>>(),
            "audiences": sorted(&self.audiences),
            "any_audience": self.any_audience,
            "fallback": self.fallback.map(|fallback| fallback.claim()),
            "typ": self.typ,
            "required": self.required.iter().cloned().collect::<BTreeMap<String, Option<Value>>>(),
            "max_subject_chars": self.max_subject_chars,
            "ignore_expiry": self.ignore_expiry,
            "fractional_dates": self.fractional_dates,
        });
        // What few have is left out where it is not there, so that the others stay what they were.
        let mut also = |name: &str, value: Value| {
            binds.as_object_mut().map(|members| members.insert(name.to_owned(), value));
        };
        if !self.siblings.is_empty() {
            let siblings = self.siblings.iter().map(|(iss, keys)| (iss, source(keys)));
            also("siblings", json!(siblings.collect::<BTreeMap<_, _>>()));
        }
        if let Some(balancer) = &self.load_balancer {
            also("load_balancer", json!(balancer.iss));
        }
        hash(binds.to_string().as_bytes())
    }
}

/// Where the keys are. Of those that are at hand, a digest.
fn source(source: &KeySource) -> [String; 2] {
    let (kind, value) = match source {
        KeySource::Discovery => ("discovery", String::new()),
        KeySource::DiscoveryAt(url) => ("discovery", url.clone()),
        KeySource::JwksUrl(url) => ("jwks_url", url.clone()),
        KeySource::X509Map(url) => ("x509_url", url.clone()),
        KeySource::KeyDocument(url) => ("key_document", url.clone()),
        KeySource::PemByKid(url) => ("pem_by_kid", url.clone()),
        KeySource::InlineJwks(text) => ("jwks", hash(text.as_bytes())),
        KeySource::InlinePem(text) => ("pem", hash(text.as_bytes())),
        KeySource::Keys(set) => {
            // They were read elsewhere; of each its name, which is all that can be said of a shared
            // secret.
            let named = set.keys().iter().map(|key| format!("{:?}", key.kid())).collect::<BTreeSet<_>>();
            ("keys", hash(format!("{named:?}").as_bytes()))
        }
        KeySource::HmacSecret(secret) => ("secret", hash(secret.expose_secret())),
    };
    [kind.to_owned(), value]
}

fn hash(bytes: &[u8]) -> String {
    base64url::encode(digest(&SHA256, bytes).as_ref())
}

/// A list whose order means nothing.
fn sorted(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AudienceFallback, TrustedIssuer};
    use countersign_jose::SymmetricKey;
    use std::time::Duration;

    fn described() -> TrustedIssuerBuilder {
        TrustedIssuer::builder("https://a.example")
            .keys(KeySource::JwksUrl("https://a.example/keys".to_owned()))
            .algorithms([Algorithm::RS256, Algorithm::ES256])
            .audiences(["one", "two"])
            .require_value("team", json!("a"))
    }

    #[test]
    fn what_a_token_is_believed_by_changes_the_fingerprint_and_nothing_else_does() {
        let same = described().fingerprint();
        let order = TrustedIssuer::builder("https://a.example")
            .keys(KeySource::JwksUrl("https://a.example/keys".to_owned()))
            .algorithms([Algorithm::ES256, Algorithm::RS256])
            .audiences(["two", "one"])
            .require_value("team", json!("a"));
        assert_eq!(order.fingerprint(), same);
        assert_eq!(described().leeway(Duration::from_secs(3)).fingerprint(), same);
        let secret = |byte: u8| KeySource::HmacSecret(SymmetricKey::new(vec![byte; 32].into()));
        let others = [
            TrustedIssuer::builder("https://b.example").fingerprint(),
            described().also_known_as("a.example").fingerprint(),
            described()
                .also_issues_as("a.example", KeySource::JwksUrl("https://c.example".to_owned()))
                .fingerprint(),
            described()
                .also_issues_as("a.example", KeySource::JwksUrl("https://d.example".to_owned()))
                .fingerprint(),
            TrustedIssuerBuilder::of_load_balancer("https://a.example").fingerprint(),
            TrustedIssuerBuilder::of_load_balancer("https://a.example")
                .load_balancer_issuer("i")
                .fingerprint(),
            described().keys(KeySource::JwksUrl("https://b.example/keys".to_owned())).fingerprint(),
            described().keys(KeySource::KeyDocument("https://a.example/keys".to_owned())).fingerprint(),
            described().keys(KeySource::InlineJwks("{}".to_owned())).fingerprint(),
            described().keys(KeySource::InlineJwks("{ }".to_owned())).fingerprint(),
            described().keys(KeySource::InlinePem("{}".to_owned())).fingerprint(),
            described().keys(secret(1)).fingerprint(),
            described().keys(secret(2)).fingerprint(),
            described().algorithms([Algorithm::RS256]).fingerprint(),
            described().audiences(["three"]).fingerprint(),
            described().audience_fallback(AudienceFallback::Azp).fingerprint(),
            described().typ("at+jwt").fingerprint(),
            described().require("sub").fingerprint(),
            described().require_value("team", json!("b")).fingerprint(),
            described().max_subject_chars(3).fingerprint(),
            described().tenants(["t"]).fingerprint(),
            described().dangerously_ignore_expiry().fingerprint(),
            described().accept_fractional_dates().fingerprint(),
            described().dangerously_accept_any_audience().fingerprint(),
        ];
        let all: BTreeSet<_> = others.iter().chain([&same]).collect();
        assert_eq!(all.len(), others.len() + 1);
    }
}

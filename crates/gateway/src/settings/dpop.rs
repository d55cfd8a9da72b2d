//! `gate.dpop` and `gate.resource`: what is said of proofs and of the service, checked.
//!
//! What could never be accepted, or would let in requests without a proof, does not start.

use super::{
    raw::{RawGate, RawGateDpop, RawTrust},
    resolve::{SettingError, Surroundings, at, duration, is_scope},
};
use crate::{
    dpop::{Dpop, Nonces},
    forward_auth::Proxies,
    lambda::Answers,
    resource::{Metadata, Resource},
};
use countersign_settings::{SecretRef, duration::words};
use countersign_verifier::{
    TENANT_PLACEHOLDER, Verifier,
    dpop::{ALGORITHMS, HttpUri, MAX_WINDOW, NonceKey, Replays},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The most proofs that can be remembered: some 800 MB.
const MOST_PROOFS: usize = 10_000_000;

pub(super) fn resolve(
    trust: &[RawTrust],
    gate: &RawGate,
    proxies: &[Proxies],
    around: Surroundings<'_>,
) -> Result<Dpop, SettingError> {
    let raw = &gate.dpop;
    let urls = raw.public_urls.iter().map(|url| {
        let is_plain = !url.contains(['?', '#']);
        let parsed = HttpUri::parse(url).ok().filter(|_| is_plain);
        let why = format!("{url:?} is not a URL like https://api.example or https://api.example/v1");
        parsed.ok_or_else(|| at("gate.dpop.public_urls", why))
    });
    let public_urls = urls.collect::<Result<Vec<_>, _>>()?;
    let window = duration("gate.dpop.window", &raw.window)?;
    if window < Duration::from_secs(1) || window > MAX_WINDOW {
        return Err(at("gate.dpop.window", format!("{} is not within 1s and 10m", words(window))));
    }
    if raw.proofs == 0 || raw.proofs > MOST_PROOFS {
        return Err(at("gate.dpop.proofs", format!("{} is not within 1 and {MOST_PROOFS}", raw.proofs)));
    }
    if raw.require_nonce && raw.authorizer_ttl.is_some() {
        let why = "an authorizer cannot hand out nonces, because it sets no headers; leave out authorizer_ttl or require_nonce";
        return Err(at("gate.dpop.require_nonce", why));
    }
    let is_announced = is_announced(trust, gate);
    if is_announced && public_urls.is_empty() && !proxies.is_empty() {
        // `Host` is the client's to choose: by it, a proof that was made for another service would
        // be one for this one.
        let why = "behind a proxy nothing says by which URL the client had to ask, so no proof could be accepted; name the URLs of the service";
        return Err(at("gate.dpop.public_urls", why));
    }
    let nonces = match &raw.nonce_secret {
        None => Nonces::Own(Arc::new(NonceKey::random().map_err(|why| at("gate.dpop", why))?)),
        Some(reference) => {
            let key = "gate.dpop.nonce_secret";
            let reference: SecretRef = reference.parse().map_err(|why| at(key, why))?;
            let secret = reference.read(around.folder, around.environment).map_err(|why| at(key, why))?;
            // An editor puts a line end behind a secret, which is not part of it.
            let secret = secret.trim_end_matches(['\r', '\n']).as_bytes();
            Nonces::Shared(Arc::new(NonceKey::from_secret(secret).map_err(|why| at(key, why))?))
        }
    };
    let (require_nonce, most) = (raw.require_nonce, raw.proofs);
    let replays = Arc::new(Replays::new(most));
    Ok(Dpop { public_urls, window, nonces, require_nonce, most, replays, is_announced })
}

/// Whether anything is said of bound tokens, so that challenges say it too.
fn is_announced(trust: &[RawTrust], gate: &RawGate) -> bool {
    gate.dpop != RawGateDpop::default()
        || trust.iter().any(|trust| trust.dpop)
        || gate.routes.iter().any(|route| route.dpop)
}

/// Whether API Gateway remembers the answers.
pub(super) fn answers(raw: &RawGateDpop) -> Result<Answers, SettingError> {
    let key = "gate.dpop.authorizer_ttl";
    match &raw.authorizer_ttl {
        None => Ok(Answers::Remembered),
        Some(text) if duration(key, text)?.is_zero() => Ok(Answers::Forgotten),
        Some(text) => {
            let why = format!(
                "with {text:?}, API Gateway would give the answer to one proof to requests without any; set the authorizer's TTL to 0, and \"0s\" here"
            );
            Err(at(key, why))
        }
    }
}

/// The metadata of the service.
pub(super) fn resource(
    trust: &[RawTrust],
    gate: &RawGate,
    verifier: &Verifier,
) -> Result<Option<Resource>, SettingError> {
    let Some(raw) = &gate.resource else { return Ok(None) };
    let is_url = |text: &str| HttpUri::parse(text).is_ok() && !text.contains(['?', '#', '"', '\\']);
    if !is_url(&raw.url) {
        let why = format!("{:?} is not a URL like https://api.example/v1, without a query", raw.url);
        return Err(at("gate.resource.url", why));
    }
    let mut servers = raw.authorization_servers.clone();
    if servers.is_empty() {
        let names = verifier.issuers().map(|issuer| issuer.name().to_owned());
        servers.extend(names.filter(|name| is_url(name) && !name.contains(TENANT_PLACEHOLDER)));
    }
    if let Some(other) = servers.iter().find(|server| !is_url(server)) {
        return Err(at(
            "gate.resource.authorization_servers",
            format!("{other:?} is not the URL of an issuer"),
        ));
    }
    let mut scopes = raw.scopes.clone();
    if scopes.is_empty() {
        let named = gate.routes.iter().flat_map(|route| route.any_scope.iter().chain(&route.all_scopes));
        scopes.extend(named.collect::<BTreeSet<_>>().into_iter().cloned());
    }
    if let Some(other) = scopes.iter().find(|scope| !is_scope(scope)) {
        let why = format!("{other:?} is not a scope (RFC 6749 section 3.3)");
        return Err(at("gate.resource.scopes", why));
    }
    let closed = || gate.routes.iter().filter(|route| !route.public);
    let required =
        trust.iter().all(|trust| trust.dpop) || closed().next().is_some() && closed().all(|route| route.dpop);
    let algorithms = if is_announced(trust, gate) { ALGORITHMS.to_vec() } else { Vec::new() };
    let metadata = Metadata {
        resource: raw.url.clone(),
        authorization_servers: servers,
        scopes_supported: scopes,
        bearer_methods_supported: if gate.credentials.authorization { vec!["header"] } else { Vec::new() },
        resource_name: raw.name.clone(),
        resource_documentation: raw.documentation.clone(),
        dpop_signing_alg_values_supported: algorithms,
        dpop_bound_access_tokens_required: required,
    };
    Ok(Resource::new(&metadata))
}

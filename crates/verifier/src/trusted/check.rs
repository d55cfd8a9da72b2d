//! The checks that turn the description of an issuer into a `TrustedIssuer`.
//!
//! Strict: an issuer without audiences, algorithms or keys does not build, nothing may be given
//! twice, and inline keys are parsed here, so that a mistake shows at start and not at the first
//! token. Pinned by `tests/suite/trust.rs`.

use super::{Identity, Source, TENANT_PLACEHOLDER, TrustError, TrustedIssuer, TrustedIssuerBuilder};
use crate::{
    fetch::FetchError,
    keys::{self, Format, LoadedKeys},
    revocation::{RevocationList, RevocationSettings},
    source::{KeySource, KeyUrl, has_credentials, without_credentials},
};
use countersign_jose::{Algorithm, ClaimName, ClaimValue, KeyError, Policy, VerifyingKey};
use serde_json::Value;
use std::{collections::HashSet, sync::Arc, time::Duration};

type Required = Vec<(ClaimName, Option<ClaimValue>)>;

const MAX_LEEWAY: Duration = Duration::from_secs(600);

impl TrustedIssuerBuilder {
    /// Checks the description.
    pub fn build(mut self) -> Result<TrustedIssuer, TrustError> {
        if let Some(name) =
            std::iter::once(&self.name).chain(self.other_names()).find(|name| has_credentials(name))
        {
            return Err(TrustError::Credentials { name: without_credentials(name) });
        }
        let issuer = self.name.clone();
        if issuer.is_empty() || self.other_names().any(String::is_empty) {
            return Err(TrustError::EmptyIssuer);
        }
        self.check_lists(&issuer)?;
        if self.leeway > MAX_LEEWAY {
            return Err(TrustError::LeewayTooLong { issuer });
        }
        if !self.refresh.is_sound() {
            return Err(TrustError::RefreshTimes { issuer });
        }
        self.check_load_balancer()?;
        let fingerprint = self.fingerprint();
        let revocations = self.revocation_list()?;
        let own_keys: Vec<(String, KeySource)> = std::mem::take(&mut self.siblings);
        let keys = self.keys.take();
        let source = self.source(keys)?;
        self.check_key_server(&source)?;
        let own_sources = own_keys.into_iter().map(|(iss, keys)| Ok((iss, self.source(Some(keys))?)));
        let (siblings, own_sources) =
            own_sources.collect::<Result<Vec<_>, TrustError>>()?.into_iter().unzip();
        let required = self.required_claims()?;
        let identities = self.identities(&required, siblings)?;
        let warnings = self.warnings();
        let clients = (!self.any_audience).then(|| self.audiences.clone());
        Ok(TrustedIssuer {
            name: Arc::from(issuer),
            identities,
            source,
            own_sources,
            load_balancer: self.load_balancer.is_some().then_some(clients),
            key_server: self.key_server,
            refresh: self.refresh,
            revocations,
            leeway: self.leeway,
            algorithms: self.algorithms,
            fingerprint,
            warnings,
        })
    }

    /// Its names beside the first.
    fn other_names(&self) -> impl Iterator<Item = &String> {
        self.aliases.iter().chain(self.siblings.iter().map(|(iss, _)| iss))
    }

    /// A load balancer signs with ES256 alone, for one issuer, and its tokens have neither `aud`
    /// nor what stands in for it.
    fn check_load_balancer(&self) -> Result<(), TrustError> {
        let Some(balancer) = &self.load_balancer else { return Ok(()) };
        let why = if balancer.iss.as_ref().is_none_or(String::is_empty) {
            "name the issuer, as the action of the load balancer has it"
        } else if self.algorithms != [Algorithm::ES256] {
            "a load balancer signs with ES256; name no other algorithm"
        } else if !self.aliases.is_empty() || !self.tenants.is_empty() {
            "a load balancer's tokens are of one issuer; leave out other names and tenants"
        } else if self.fallback.is_some() {
            "a load balancer's tokens name their client in the header; leave out audience_fallback"
        } else if self.revocations.is_some() {
            "a load balancer publishes no revocations"
        } else if self.key_server.is_some() {
            "the keys of a load balancer are public; leave out keys_ca and keys_bearer"
        } else {
            return Ok(());
        };
        Err(TrustError::LoadBalancer { issuer: self.name.clone(), why })
    }

    /// What a server of keys wants is asked for where there is one: at an address of the
    /// configuration, and authorities of its own where TLS is spoken.
    fn check_key_server(&self, source: &Source) -> Result<(), TrustError> {
        let Some(server) = &self.key_server else { return Ok(()) };
        let issuer = self.name.clone();
        let fits = match source {
            Source::Remote { url, .. } => server.authorities.is_none() || url.as_str().starts_with("https:"),
            Source::Fixed(_) | Source::ByKid { .. } | Source::Discovery { .. } => false,
        };
        if !fits {
            return Err(TrustError::KeyServer { issuer });
        }
        server.check().map_err(|why| TrustError::KeyServerAccess { issuer, why })
    }

    /// Where the issuer's list is. One is only asked of an issuer that signs with a key pair under
    /// one name.
    fn revocation_list(&self) -> Result<Option<(KeyUrl, RevocationSettings)>, TrustError> {
        let Some(settings) = &self.revocations else { return Ok(None) };
        let issuer = self.name.clone();
        let fits = !self.any_issuer && self.tenants.is_empty() && self.other_names().next().is_none();
        if !settings.is_sound() || !fits || self.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            return Err(TrustError::Revocations { issuer });
        }
        let url = settings.url.clone().unwrap_or_else(|| RevocationList::audience(&self.name));
        let parsed = KeyUrl::parse(&url);
        let url = parsed.map_err(|why| TrustError::Url { issuer, url: without_credentials(&url), why })?;
        Ok(Some((url, settings.clone())))
    }

    fn check_lists(&self, issuer: &str) -> Result<(), TrustError> {
        let issuer = || issuer.to_owned();
        if self.algorithms.is_empty() {
            return Err(TrustError::NoAlgorithms { issuer: issuer() });
        }
        match (self.audiences.is_empty(), self.any_audience) {
            (true, false) => return Err(TrustError::NoAudiences { issuer: issuer() }),
            (false, true) => return Err(TrustError::AudiencesGivenUp { issuer: issuer() }),
            (true, true) | (false, false) => {}
        }
        let claims: Vec<String> = self.required.iter().map(|(name, _)| name.clone()).collect();
        let algorithms: Vec<String> = self.algorithms.iter().map(ToString::to_string).collect();
        let lists = [
            ("audience", &self.audiences),
            ("tenant", &self.tenants),
            ("required claim", &claims),
            ("algorithm", &algorithms),
        ];
        for (what, list) in lists {
            let mut seen = HashSet::new();
            for value in list {
                if value.is_empty() {
                    return Err(TrustError::Empty { issuer: issuer(), what });
                }
                if !seen.insert(value) {
                    return Err(TrustError::Duplicate { issuer: issuer(), what, value: value.clone() });
                }
            }
        }
        Ok(())
    }

    fn source(&self, keys: Option<KeySource>) -> Result<Source, TrustError> {
        let issuer = self.name.clone();
        let keys = keys.ok_or_else(|| TrustError::NoKeySource { issuer: issuer.clone() })?;
        let fits = |algorithm: &Algorithm| match &keys {
            // Its keys are bound to their algorithms; a public one cannot be taken for a secret.
            KeySource::Keys(_) => true,
            keys => algorithm.is_symmetric() == matches!(keys, KeySource::HmacSecret(_)),
        };
        if let Some(&algorithm) = self.algorithms.iter().find(|a| !fits(a)) {
            return Err(TrustError::AlgorithmDoesNotFit { issuer, algorithm });
        }
        let at = |text: &str| {
            KeyUrl::parse(text).map_err(|why| TrustError::Url {
                issuer: issuer.clone(),
                url: without_credentials(text),
                why,
            })
        };
        let unusable = |why| TrustError::Keys { issuer: issuer.clone(), why };
        let only = |key: Result<VerifyingKey, KeyError>| {
            key.map(|key| Source::Fixed(Arc::new(LoadedKeys::only(key)))).map_err(unusable)
        };
        let by_kid = |url: &str| {
            let url = at(url)?;
            let why = url.below("kid").err();
            match why {
                None => Ok(Source::ByKid { url }),
                Some(why) => {
                    Err(TrustError::Url { issuer: issuer.clone(), url: url.as_str().to_owned(), why })
                }
            }
        };
        match keys {
            KeySource::PemByKid(url) | KeySource::KeyDocument(url) if self.load_balancer.is_some() => {
                by_kid(&url)
            }
            KeySource::Discovery
            | KeySource::DiscoveryAt(_)
            | KeySource::JwksUrl(_)
            | KeySource::X509Map(_)
                if self.load_balancer.is_some() =>
            {
                let why = "the keys of a load balancer are one for each name, below keys_url";
                Err(TrustError::LoadBalancer { issuer, why })
            }
            KeySource::PemByKid(_) => {
                let why = "keys for each name are those of a load balancer, and of no other issuer";
                Err(TrustError::LoadBalancer { issuer, why })
            }
            KeySource::Discovery | KeySource::DiscoveryAt(_) if self.any_issuer => {
                Err(TrustError::DiscoveryOfAnyIssuer { issuer })
            }
            KeySource::Discovery => {
                let url = KeyUrl::discovery_of(&issuer);
                let url =
                    url.map_err(|why| TrustError::Url { issuer: issuer.clone(), url: issuer.clone(), why })?;
                Ok(Source::Discovery { url, issuer })
            }
            KeySource::DiscoveryAt(url) => Ok(Source::Discovery { url: at(&url)?, issuer: issuer.clone() }),
            KeySource::JwksUrl(url) => Ok(Source::Remote { url: at(&url)?, format: Format::Jwks }),
            KeySource::X509Map(url) => Ok(Source::Remote { url: at(&url)?, format: Format::X509Map }),
            KeySource::KeyDocument(url) => Ok(Source::Remote { url: at(&url)?, format: Format::KeyDocument }),
            KeySource::Keys(set) => {
                let keys = LoadedKeys::of_set(set, &self.algorithms);
                keys.map(|keys| Source::Fixed(Arc::new(keys)))
                    .map_err(|_| TrustError::NoUsableKey { issuer, skipped: String::new() })
            }
            // What people have at hand is one or the other, whatever the setting is called.
            KeySource::InlineJwks(text) | KeySource::InlinePem(text) => {
                if !text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) {
                    keys::public_key(&text).map_err(unusable)?;
                    let keys = self.only_algorithm().map(|algorithm| LoadedKeys::of_pem(&text, algorithm))?;
                    return keys.map(|keys| Source::Fixed(Arc::new(keys))).map_err(unusable);
                }
                match LoadedKeys::of_json(&text, &self.algorithms) {
                    Ok(keys) if !keys.are_usable() => Err(TrustError::NoUsableKey {
                        issuer,
                        skipped: keys.skipped_in_words(&self.algorithms),
                    }),
                    Ok(keys) => Ok(Source::Fixed(Arc::new(keys))),
                    Err(FetchError::NotJson(why)) => Err(unusable(KeyError::Json(why))),
                    Err(FetchError::NotAKeySet(why)) => Err(unusable(why)),
                    Err(_) => Err(TrustError::NoUsableKey { issuer, skipped: String::new() }),
                }
            }
            KeySource::HmacSecret(secret) => {
                only(VerifyingKey::symmetric(&secret, self.only_algorithm()?, None))
            }
        }
    }

    fn only_algorithm(&self) -> Result<Algorithm, TrustError> {
        match self.algorithms.as_slice() {
            [one] => Ok(*one),
            _ => Err(TrustError::OneAlgorithmNeeded { issuer: self.name.clone() }),
        }
    }

    fn required_claims(&self) -> Result<Required, TrustError> {
        let issuer = || self.name.clone();
        let one = |(claim, value): &(String, Option<Value>)| {
            let name: ClaimName = claim.parse().map_err(|why| TrustError::ClaimName {
                issuer: issuer(),
                claim: claim.clone(),
                why,
            })?;
            let value = value
                .as_ref()
                .map(ClaimValue::of)
                .transpose()
                .map_err(|why| TrustError::ClaimValue { issuer: issuer(), claim: claim.clone(), why })?;
            Ok((name, value))
        };
        self.required.iter().map(one).collect()
    }

    fn identities(&self, required: &Required, siblings: Vec<String>) -> Result<Vec<Identity>, TrustError> {
        let issuer = || self.name.clone();
        if let Some(balancer) = &self.load_balancer {
            return Ok(vec![self.identity(balancer.iss.clone(), None, required)?]);
        }
        let names: Vec<&String> = std::iter::once(&self.name).chain(&self.aliases).collect();
        let templates = names.iter().filter(|name| name.contains(TENANT_PLACEHOLDER)).count();
        match (templates, self.tenants.is_empty()) {
            (0, true) => {}
            (0, false) => return Err(TrustError::NotMultiTenant { issuer: issuer() }),
            (_, true) => return Err(TrustError::NoTenants { issuer: issuer() }),
            (_, false) => {}
        }
        if let Some(bad) = self.tenants.iter().find(|tenant| !is_guid(tenant)) {
            return Err(TrustError::BadTenant { issuer: issuer(), tenant: bad.clone() });
        }
        if self.any_issuer {
            return Ok(vec![self.identity(None, None, required)?]);
        }
        let mut identities = Vec::new();
        for name in names {
            if name.contains(TENANT_PLACEHOLDER) {
                for tenant in &self.tenants {
                    let iss = name.replace(TENANT_PLACEHOLDER, tenant);
                    identities.push(self.identity(Some(iss), Some(tenant.clone()), required)?);
                }
            } else {
                let identity = self.identity(Some(name.clone()), None, required)?;
                // What its tokens must say of the tenant is said by who has named it.
                let tenant = self.tenant.clone().filter(|_| *name == self.name);
                identities.push(Identity { tenant, ..identity });
            }
        }
        for (which, iss) in siblings.into_iter().enumerate() {
            let identity = self.identity(Some(iss), None, required)?;
            identities.push(Identity { own_keys: Some(which), ..identity });
        }
        Ok(identities)
    }

    fn identity(
        &self,
        iss: Option<String>,
        tenant: Option<String>,
        required: &Required,
    ) -> Result<Identity, TrustError> {
        let mut policy = Policy::new().leeway(self.leeway);
        // The verifier has selected the issuer by the same claim; stated here too, the policy holds
        // by itself.
        if let Some(iss) = &iss {
            policy = policy.issuer(iss);
        }
        if let Some(tenant) = &tenant {
            let value = ClaimValue::of(&Value::from(tenant.as_str()));
            let value = value.map_err(|why| TrustError::ClaimValue {
                issuer: self.name.clone(),
                claim: "tid".to_owned(),
                why,
            })?;
            policy = policy.require_value(ClaimName::member("tid"), value);
        }
        if let Some(typ) = &self.typ {
            policy = policy.typ(typ);
        }
        policy = policy.for_requests();
        for (claim, value) in required {
            policy = match value {
                Some(value) => policy.require_value(claim.clone(), value.clone()),
                None => policy.require(claim.clone()),
            };
        }
        if self.fractional_dates {
            policy = policy.accept_fractional_dates();
        }
        if self.ignore_expiry {
            policy = policy.dangerously_ignore_expiry();
        }
        // A load balancer's token names in its header for which client it is.
        if !self.any_audience && self.load_balancer.is_none() {
            policy = policy.audiences(self.audiences.iter().cloned());
        }
        if let Some(fallback) = self.fallback {
            policy = policy.audience_fallback(fallback.claim());
        }
        if let Some(max) = self.max_subject_chars {
            policy = policy.max_subject_chars(max);
        }
        Ok(Identity { iss, tenant, policy, own_keys: None })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |given_up: bool, what: &str| {
            if given_up {
                warnings.push(format!("{}: {what}", self.name));
            }
        };
        warn(self.any_issuer, "tokens are accepted whatever their issuer (`iss`)");
        warn(self.ignore_expiry, "tokens are accepted after they have expired (`exp`)");
        warn(self.any_audience, "tokens are accepted whomever they were made for (`aud`)");
        warnings
    }
}

/// A GUID in lower case, as Entra writes tenant ids into tokens.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

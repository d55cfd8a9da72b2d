//! Raw → resolved: every text becomes what it stands for, and what cannot work is refused with the
//! key that is wrong.

use super::{
    JaasKey, clients, consumers, grants, id_jags, meetings,
    raw::{RawAccessTokenTyp, RawConfig, RawFirstKeys, RawRing, RawSigner, RawStore, jaas_ring},
    rotation,
    sealing::SealingRef,
    uploads,
    values::{at, duration, jaas_app_id, parse, rate},
    webhooks,
};
use crate::{
    address,
    failure::{Outcome, configuration, refused},
    kms,
    stores::FirstKeys,
};
use countersign_consumers::Consumer;
use countersign_gateway::settings::{GateConfig, Surroundings};
use countersign_grants::Grants;
use countersign_issuer::{
    AccessTokenProfile, AccessTokenTyp, Clients, HttpIssuer, IdJagProfile, IssuerUrl, JaasProfile,
    JwksCertificates, JwtProfile, Profile, RequestLimits, SignatureLimits, TokenEndpoint, http::RateLimits,
};
use countersign_jose::{KeySize, MAX_CLAIMS_DEPTH};
use countersign_keyring::{KeyPlace, RingName, RingSpec, RotationPolicy, Signer};
use countersign_settings::Environment;
use countersign_webhooks::JaasWebhookSettings;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The configuration, ready for use.
#[derive(Debug)]
pub(crate) struct Config {
    /// What may be meant and has gone wrong elsewhere; told by `config check` and at the start.
    pub(crate) warnings: Vec<String>,
    /// What was typed, for `config check`.
    pub(crate) raw: RawConfig,
    /// The folder of the file; relative paths begin there.
    pub(crate) folder: PathBuf,
    pub(crate) issuer: IssuerUrl,
    /// AWS KMS, as far as it is used.
    pub(crate) kms: kms::Kms,
    /// What seals.
    pub(crate) sealing: SealingRef,
    /// What else opens.
    pub(crate) sealing_also: Vec<SealingRef>,
    pub(crate) refresh: Duration,
    pub(crate) first_keys: FirstKeys,
    pub(crate) max_stale: Duration,
    pub(crate) skew: Duration,
    pub(crate) max_stale_signing: Duration,
    pub(crate) listen: SocketAddr,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) metrics_allow: Vec<IpNet>,
    pub(crate) drain: Duration,
    pub(crate) backdate: Duration,
    pub(crate) jwks_max_age: Duration,
    pub(crate) jwks_certificates: JwksCertificates,
    pub(crate) limits: Limits,
    pub(crate) rates: RateLimits,
    pub(crate) signatures: SignatureLimits,
    pub(crate) rings: Vec<RingConfig>,
    pub(crate) unpublished_rings: BTreeSet<RingName>,
    pub(crate) profiles: Vec<Arc<dyn Profile>>,
    /// Keys that are in no store: of the environment, or secrets that somebody else was given.
    pub(crate) outside_keys: Vec<OutsideKey>,
    pub(crate) clients: Clients,
    /// What clients may do at `/token`, where one may.
    pub(crate) grants: Option<Grants>,
    /// What discovery says of it.
    pub(crate) token_endpoint: Option<TokenEndpoint>,
    /// Events of 8x8 JaaS, where they are taken.
    pub(crate) webhook: Option<JaasWebhookSettings>,
    /// The gate, where somebody is trusted.
    pub(crate) gate: Option<GateConfig>,
    /// The audience of the first client, the default of `countersign sign`.
    pub(crate) first_audience: Option<String>,
}

/// One ring: how its keys are made, and how they change.
#[derive(Debug, Clone)]
pub(crate) struct RingConfig {
    pub(crate) spec: RingSpec,
    /// Who verifies its tokens.
    pub(crate) consumers: Vec<&'static Consumer>,
    pub(crate) rotation: RotationPolicy,
}

/// A key that is in no store, and the one of its ring.
#[derive(Debug, Clone)]
pub(crate) struct OutsideKey {
    pub(crate) ring: RingName,
    pub(crate) signer: Arc<dyn Signer>,
}

impl Config {
    /// A ring that is declared.
    pub(crate) fn ring(&self, name: &RingName) -> Outcome<&RingConfig> {
        self.rings.iter().find(|ring| ring.spec.name == *name).ok_or_else(|| {
            let known: Vec<_> = self.rings.iter().map(|ring| ring.spec.name.as_str()).collect();
            let why = format!(
                "there is no ring {name} in the configuration, only {}; declare it as [rings.{name}], or name another with --ring",
                known.join(", ")
            );
            refused("ring_unknown", why)
        })
    }

    /// Tells what may be meant and has gone wrong elsewhere.
    pub(crate) fn warn(&self) {
        let gate = self.gate.iter().flat_map(|gate| &gate.warnings);
        self.warnings.iter().chain(gate).for_each(|warning| tracing::warn!("{warning}"));
    }

    /// Tells that nobody finds a server on this machine where its issuer says. Behind a proxy that
    /// is named it is as it should be.
    pub(crate) fn warn_of_other_port(&self, address: SocketAddr) {
        let other_port = self.issuer.loopback_port().is_some_and(|port| port != address.port());
        if other_port && self.trusted_proxies.is_empty() {
            tracing::warn!(
                "the issuer is {}, but this server listens on {address}: correct issuer or server.listen, or name the proxy in \
                 between in server.trusted_proxies",
                self.issuer
            );
        }
    }
}

/// Sizes and times of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) request: RequestLimits,
    pub(crate) header_bytes: usize,
    pub(crate) url_bytes: usize,
    pub(crate) request_time: Duration,
    pub(crate) idle_time: Duration,
    pub(crate) write_time: Duration,
    pub(crate) connections: usize,
    /// `None`: a share of `connections`, as many as there are in the end.
    pub(crate) connections_per_address: Option<usize>,
}

pub(super) fn resolve(
    raw: RawConfig,
    folder: PathBuf,
    environment: &Environment,
    http: HttpIssuer,
) -> Outcome<Config> {
    if raw.issuer.is_empty() {
        let why = "is missing; write issuer = \"https://HOST\", or set COUNTERSIGN_ISSUER";
        return Err(configuration(format!("issuer {why}")));
    }
    let jaas_key = JaasKey::from_environment(environment)?;
    let mut profiles: Vec<Arc<dyn Profile>> =
        vec![Arc::new(JwtProfile { ring: parse("profiles.jwt.ring", &raw.profiles.jwt.ring)? })];
    let has_grants = grants::check(&raw)?;
    if has_grants {
        profiles.push(Arc::new(AccessTokenProfile {
            ring: parse("profiles.access_token.ring", &raw.profiles.access_token.ring)?,
            typ: match raw.profiles.access_token.typ {
                RawAccessTokenTyp::AtJwt => AccessTokenTyp::AtJwt,
                RawAccessTokenTyp::Jwt => AccessTokenTyp::Jwt,
            },
        }));
    }
    if id_jags::are_given(&raw) {
        let ring = parse("profiles.access_token.ring", &raw.profiles.access_token.ring)?;
        profiles.push(Arc::new(IdJagProfile { ring }));
    }
    let mut warnings = Vec::new();
    let around = Surroundings { folder: &folder, environment, key_cache: None };
    if let Some(profile) = uploads::profile(&raw, around, &mut warnings)? {
        profiles.push(profile);
    }
    let mut outside_keys = Vec::new();
    let mut unpublished_rings = BTreeSet::new();
    let mut jaas_rings = BTreeSet::new();
    match (&jaas_key, &raw.profiles.jaas) {
        (Some(key), configured) => {
            if let Some(configured) = configured {
                let other = match key.profile.app_id == configured.app_id {
                    true => String::new(),
                    false => {
                        format!("the AppID is {:?}, not {:?}, and ", key.profile.app_id, configured.app_id)
                    }
                };
                warnings.push(format!(
                    "profiles.jaas: JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY are in the environment and win: {other}no key of \
                     ring {:?} signs; unset them, or leave [profiles.jaas] out",
                    configured.ring
                ));
            }
            let JaasKey { ring, signer, .. } = key;
            outside_keys.push(OutsideKey { ring: ring.clone(), signer: Arc::clone(signer) });
            jaas_rings.insert(key.ring.clone());
            profiles.push(Arc::new(key.profile.clone()));
        }
        (None, Some(jaas)) => {
            let ring: RingName = parse("profiles.jaas.ring", &jaas.ring)?;
            jaas_rings.insert(ring.clone());
            let app_id = jaas_app_id("profiles.jaas.app_id", &jaas.app_id)?;
            profiles.push(Arc::new(JaasProfile { app_id, ring }));
        }
        (None, None) => {}
    }
    let app_id = jaas_key.as_ref().map(|key| key.profile.app_id.as_str());
    let app_id = app_id.or(raw.profiles.jaas.as_ref().map(|jaas| jaas.app_id.as_str()));
    let webhook = webhooks::jaas(&raw, app_id, &folder, environment)?;
    let mut rings = raw.rings.clone();
    if let Some((profile, secret)) = meetings::jitsi(&raw, &folder, environment)? {
        if jaas_rings.contains(&profile.ring) {
            return Err(at(
                "profiles.jitsi.ring",
                "is the ring of profile jaas, whose key 8x8 has; take another one",
            ));
        }
        match secret {
            Some(key) => {
                unpublished_rings.insert(key.ring.clone());
                outside_keys.push(key);
            }
            None => declared(&mut rings, "jitsi", profile.ring.as_str())?,
        }
        profiles.push(Arc::new(profile));
    }
    meetings::warn(&raw, &mut warnings);
    if raw.issuer.ends_with('/') {
        warnings.push(format!(
            "issuer: {} ends in `/`, and verifiers compare `iss` byte for byte; leave it out, unless they all expect it",
            countersign_jose::quoted(&raw.issuer)
        ));
    }
    declared(&mut rings, "jwt", &raw.profiles.jwt.ring)?;
    if has_grants || id_jags::are_given(&raw) {
        declared(&mut rings, "access_token", &raw.profiles.access_token.ring)?;
    }
    if !raw.uploads.is_empty() {
        declared(&mut rings, "upload", &raw.profiles.upload.ring)?;
    }
    for ring in &jaas_rings {
        declared(&mut rings, "jaas", ring.as_str())?;
    }
    let (mut specs, mut replicas) = (Vec::new(), BTreeMap::new());
    for (name, ring) in &rings {
        let spec = ring_spec(name, ring, &jaas_rings)?;
        if !ring.kms_replicas.is_empty() {
            replicas.insert(spec.name.clone(), kms_replicas(name, ring)?);
        }
        let published = ring.publish.unwrap_or(!jaas_rings.contains(&spec.name));
        if !published {
            unpublished_rings.insert(spec.name.clone());
        }
        let consumers = consumers::of(name, ring)?;
        let reach = match published {
            _ if jaas_rings.contains(&spec.name) => rotation::Reach::Jaas,
            true => rotation::Reach::Published,
            false => rotation::Reach::ByHand,
        };
        let rotation = rotation::policy(&raw, name, ring, &consumers, reach, &mut warnings)?;
        specs.push(RingConfig { spec, consumers, rotation });
    }
    let issuer = IssuerUrl::parse(&raw.issuer, http).map_err(|why| at("issuer", why))?;
    let limits = limits(&raw)?;
    let rates = RateLimits {
        per_client: rate("limits.per_client", &raw.limits.per_client)?,
        per_address: rate("limits.per_address", &raw.limits.per_address)?,
    };
    let signatures = signatures(&raw)?;
    let backdate = duration("tokens.backdate", &raw.tokens.backdate)?;
    let clients = clients::resolve(&raw, &profiles, backdate, &folder)?;
    let skew = duration("rotation.skew", &raw.rotation.skew)?;
    let grants = grants::resolve(&raw, &issuer, skew, around, &mut warnings)?;
    let token_endpoint = grants.as_ref().map(|grants| grants.offered(&clients));
    let refresh = duration("store.refresh", &raw.store.refresh)?.max(Duration::from_millis(100));
    let max_stale_signing = duration("store.max_stale_signing", &raw.store.max_stale_signing)?;
    if max_stale_signing < refresh * 3 {
        let why = format!(
            "{} is less than three times store.refresh, {}; one slow answer would stop /sign",
            countersign_settings::duration::words(max_stale_signing),
            countersign_settings::duration::words(refresh)
        );
        return Err(at("store.max_stale_signing", why));
    }
    let gate = gate(&raw, &folder, environment)?;
    if let Some(gate) = &gate {
        gate.check_issuer_path(issuer.path()).map_err(configuration)?;
    }
    Ok(Config {
        warnings,
        gate,
        kms: kms::Kms::new(&issuer, replicas),
        issuer,
        sealing: parse("sealing.key", &raw.sealing.key)?,
        sealing_also: raw
            .sealing
            .also
            .iter()
            .map(|text| parse("sealing.also", text))
            .collect::<Outcome<_>>()?,
        refresh,
        first_keys: first_keys(&raw.store),
        max_stale: duration("store.max_stale", &raw.store.max_stale)?,
        skew,
        max_stale_signing,
        listen: address::parse(&raw.server.listen).map_err(|why| at("server.listen", why))?,
        trusted_proxies: proxies(&raw)?,
        metrics_allow: networks("server.metrics_allow", &raw.server.metrics_allow)?,
        drain: duration("server.drain", &raw.server.drain)?,
        backdate,
        jwks_max_age: duration("jwks.max_age", &raw.jwks.max_age)?,
        jwks_certificates: if raw.jwks.x5c { JwksCertificates::Shown } else { JwksCertificates::Left },
        limits,
        rates,
        signatures,
        rings: specs,
        unpublished_rings,
        profiles,
        outside_keys,
        webhook,
        clients,
        grants,
        token_endpoint,
        first_audience: raw.clients.first().and_then(|client| client.audiences.first().cloned()),
        folder,
        raw,
    })
}

/// Refuses a ring that nobody has declared, which is a name that was mistyped: it would get a key
/// of its own. Every configuration has ring `default`, and profile jaas a ring of its own.
fn declared(rings: &mut BTreeMap<String, RawRing>, profile: &str, ring: &str) -> Outcome {
    if ring == "default" || (profile == "jaas" && ring == jaas_ring()) {
        rings.entry(ring.to_owned()).or_default();
        return Ok(());
    }
    if rings.contains_key(ring) {
        return Ok(());
    }
    let known: Vec<_> = rings.keys().map(String::as_str).filter(|name| *name != "default").collect();
    let known = ["default"].into_iter().chain(known).collect::<Vec<_>>().join(", ");
    let why = format!(
        "there is no ring {ring:?} in the configuration, only {known}; declare it as [rings.{ring}], or name another"
    );
    Err(at(&format!("profiles.{profile}.ring"), why))
}

/// Of what is in `memory:` nothing can have been lost.
fn first_keys(store: &RawStore) -> FirstKeys {
    match store.first_keys {
        RawFirstKeys::Create => FirstKeys::Create,
        RawFirstKeys::Refuse if store.url == "memory:" => FirstKeys::Create,
        RawFirstKeys::Refuse => FirstKeys::Refuse,
    }
}

fn gate(raw: &RawConfig, folder: &Path, environment: &Environment) -> Outcome<Option<GateConfig>> {
    if raw.trust.is_empty() {
        if raw.gate.proxies.is_empty() && raw.gate.routes.is_empty() && raw.gate.resource.is_none() {
            return Ok(None);
        }
        return Err(at("gate", "nobody is trusted, so that nobody could be let in; add [[trust]]"));
    }
    let around = Surroundings { folder, environment, key_cache: None };
    let gate =
        countersign_gateway::settings::resolve(&raw.trust, &raw.gate, around).map_err(configuration)?;
    Ok(Some(gate))
}

fn networks(key: &str, texts: &[String]) -> Outcome<Vec<IpNet>> {
    let one = |text: &String| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse().map(|ip: std::net::IpAddr| ip.into()));
        network.map_err(|_| at(key, format!("{text:?} is not a network; write 10.0.0.0/8 or ::1/128")))
    };
    texts.iter().map(one).collect()
}

fn proxies(raw: &RawConfig) -> Outcome<Vec<IpNet>> {
    let networks = networks("server.trusted_proxies", &raw.server.trusted_proxies)?;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        let why = "trusting every address lets any caller choose the address it seems to come from; name the proxies";
        return Err(at("server.trusted_proxies", why));
    }
    Ok(networks)
}

const MOST_CONNECTIONS: usize = 1 << 20;

fn limits(raw: &RawConfig) -> Outcome<Limits> {
    let limits = &raw.limits;
    let within = |key: &str, value: usize, low: usize, high: usize| {
        let fits = (low..=high).contains(&value);
        if fits { Ok(value) } else { Err(at(key, format!("{value} is not between {low} and {high}"))) }
    };
    Ok(Limits {
        request: RequestLimits {
            body_bytes: within("limits.body_bytes", limits.body_bytes, 1, 16 << 20)?,
            json_depth: within("limits.json_depth", limits.json_depth, 3, MAX_CLAIMS_DEPTH + 1)?,
            token_bytes: within(
                "limits.token_bytes",
                limits.token_bytes,
                256,
                countersign_jose::MAX_TOKEN_BYTES,
            )?,
        },
        header_bytes: within("limits.header_bytes", limits.header_bytes, 8192, 1 << 20)?,
        url_bytes: within("limits.url_bytes", limits.url_bytes, 64, 1 << 16)?,
        request_time: duration("limits.request_time", &limits.request_time)?,
        idle_time: duration("limits.idle_time", &limits.idle_time)?,
        write_time: duration("limits.write_time", &limits.write_time)?,
        connections: within("limits.connections", limits.connections, 1, MOST_CONNECTIONS)?,
        connections_per_address: limits
            .connections_per_address
            .map(|most| within("limits.connections_per_address", most, 1, MOST_CONNECTIONS))
            .transpose()?,
    })
}

fn signatures(raw: &RawConfig) -> Outcome<SignatureLimits> {
    let waiting = raw.limits.signatures_waiting;
    if !(1..=1 << 20).contains(&waiting) {
        return Err(at("limits.signatures_waiting", format!("{waiting} is not between 1 and {}", 1 << 20)));
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Ok(SignatureLimits::on_cores(cores, waiting))
}

fn ring_spec(name: &str, ring: &RawRing, jaas_rings: &BTreeSet<RingName>) -> Outcome<RingSpec> {
    let key = format!("rings.{name}");
    let name: RingName = parse(&key, name)?;
    let size = match ring.rsa_bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        other => return Err(at(&key, format!("rsa_bits {other} is not 2048, 3072 or 4096"))),
    };
    if ring.algorithm.is_symmetric() && ring.publish == Some(true) {
        let why = format!("keys for {} are secrets, which are never published; leave it out", ring.algorithm);
        return Err(at(&format!("{key}.publish"), why));
    }
    // 8x8 names the key of a JaaS ring, so it can only be imported, and somebody has to be given a
    // secret.
    let make_first_key = !jaas_rings.contains(&name) && !ring.algorithm.is_symmetric();
    let place = match ring.signer {
        RawSigner::Local => KeyPlace::Here,
        RawSigner::Kms => {
            let at = |why: &str| at(&format!("{key}.signer"), why);
            if !cfg!(feature = "kms") {
                return Err(at(kms::NOT_BUILT_IN));
            }
            if ring.algorithm.kms_name().is_none() {
                return Err(at(&format!("AWS KMS has no keys for {}", ring.algorithm)));
            }
            KeyPlace::Service
        }
    };
    Ok(RingSpec { name, algorithm: ring.algorithm, size, make_first_key, place })
}

/// The regions a ring's keys are replicated to. KMS says which exist.
fn kms_replicas(name: &str, ring: &RawRing) -> Outcome<Vec<String>> {
    let at = |why: String| Err(at(&format!("rings.{name}.kms_replicas"), why));
    if ring.signer != RawSigner::Kms {
        return at("only keys in KMS have replicas; set signer = \"kms\"".to_owned());
    }
    let mut seen = BTreeSet::new();
    for region in &ring.kms_replicas {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if region.len() > 32 || region.split('-').count() < 3 || !region.split('-').all(part) {
            return at(format!("{region:?} is not a region like eu-west-1"));
        }
        if !seen.insert(region) {
            return at(format!("{region} is there twice"));
        }
    }
    Ok(ring.kms_replicas.clone())
}

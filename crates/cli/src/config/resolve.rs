//! Raw → resolved: every text becomes what it stands for, and what cannot work is refused with the key that is wrong.

use super::{
    clients, consumers, grants, id_jags, meetings,
    raw::{RawAccessTokenTyp, RawConfig, RawFirstKeys, RawRing, RawSigner, RawStore, jaas_ring},
    rotation,
    sealing::SealingRef,
    uploads, webhooks,
};
use crate::{
    address,
    failure::{Failure, Outcome, configuration, refused},
    kms,
    stores::FirstKeys,
};
use countersign_consumers::Consumer;
use countersign_gateway::settings::{GateConfig, Surroundings};
use countersign_grants::Grants;
use countersign_issuer::{
    AccessTokenProfile, AccessTokenTyp, Clients, HttpIssuer, IdJagProfile, IssuerUrl, JaasProfile,
    JwksCertificates, JwtProfile, Profile, RequestLimits, SignatureLimits, TokenEndpoint,
    http::{Rate, RateLimits},
    is_jaas_app_id, is_jaas_kid,
};
use countersign_jose::{Algorithm, KeySize, MAX_CLAIMS_DEPTH, PrivateKey, SigningKey};
use countersign_keyring::{KeyPlace, LocalSigner, RingName, RingSpec, RotationPolicy, Signer};
use countersign_settings::{Environment, SecretRef, duration};
use countersign_webhooks::JaasWebhookSettings;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

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

/// A JaaS key that came from the environment and is in no store.
#[derive(Debug, Clone)]
pub(crate) struct JaasKey {
    pub(crate) ring: RingName,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) profile: JaasProfile,
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

    /// Tells that nobody finds a server on this machine where its issuer says. Behind a proxy that is named it is as it should be.
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
            duration::words(max_stale_signing),
            duration::words(refresh)
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

/// Refuses a ring that nobody has declared, which is a name that was mistyped: it would get a key of its own. Every configuration has
/// ring `default`, and profile jaas a ring of its own.
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

pub(super) fn at(key: &str, why: impl Display) -> Failure {
    configuration(format!("{key}: {why}"))
}

pub(super) fn parse<T: std::str::FromStr<Err: Display>>(key: &str, text: &str) -> Outcome<T> {
    text.parse().map_err(|why| at(key, why))
}

/// A time, within the range of its setting.
pub(super) fn duration(key: &str, text: &str) -> Outcome<Duration> {
    let range = RANGES.iter().find(|(name, _)| *name == key).map(|(_, range)| range.clone());
    duration::parse_within(text, range.unwrap_or(Duration::ZERO..=duration::LONGEST))
        .map_err(|why| at(key, why))
}

/// A time that must not be nothing.
pub(super) fn positive(key: &str, text: &str) -> Outcome<Duration> {
    let time = duration(key, text)?;
    if time.is_zero() { Err(at(key, "must be above 0")) } else { Ok(time) }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: Duration = seconds(3600);
const DAY: Duration = seconds(24 * 3600);
const MONTH: Duration = seconds(30 * 24 * 3600);
/// Below it, a client on a slow network could never be served.
const LEAST_LIMIT: Duration = Duration::from_millis(100);

/// Settings with a range of their own; all others may be from 0 to `duration::LONGEST`.
const RANGES: [(&str, RangeInclusive<Duration>); 16] = [
    ("webhooks.jaas.window", seconds(60)..=DAY),
    ("dpop.window", seconds(1)..=countersign_verifier::dpop::MAX_WINDOW),
    ("refresh.grace", Duration::ZERO..=seconds(600)),
    ("refresh.idle", seconds(1)..=seconds(400 * 24 * 3600)),
    ("refresh.absolute", seconds(1)..=seconds(400 * 24 * 3600)),
    ("store.refresh", Duration::ZERO..=DAY),
    ("store.max_stale", Duration::ZERO..=MONTH),
    ("store.max_stale_signing", Duration::ZERO..=MONTH),
    ("tokens.backdate", Duration::ZERO..=HOUR),
    ("jwks.max_age", Duration::ZERO..=MONTH),
    ("rotation.observe_every", Duration::ZERO..=HOUR),
    ("rotation.skew", Duration::ZERO..=DAY),
    ("limits.request_time", LEAST_LIMIT..=HOUR),
    ("limits.idle_time", LEAST_LIMIT..=DAY),
    ("limits.write_time", LEAST_LIMIT..=HOUR),
    ("server.drain", Duration::ZERO..=HOUR),
];

/// So many requests in a time are counted one by one; more would be no limit at all.
const MOST_REQUESTS: u32 = 1_000_000_000;

fn rate(key: &str, text: &str) -> Outcome<Option<Rate>> {
    if text == "off" {
        return Ok(None);
    }
    let parsed = text.split_once('/').and_then(|(number, per)| {
        let per = match per {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let requests = number.parse::<NonZeroU32>().ok().filter(|number| number.get() <= MOST_REQUESTS)?;
        Some(Rate { requests, per: Duration::from_secs(per) })
    });
    parsed.map(Some).ok_or_else(|| {
        at(
            key,
            format!("{text:?} is not a rate; write 100/s, 600/m, 1000/h or off, and at most {MOST_REQUESTS}"),
        )
    })
}

/// An AppID of 8x8. One that was copied from an example or cut by a page would be refused by 8x8 alone, later.
pub(super) fn jaas_app_id(key: &str, text: &str) -> Outcome<String> {
    if is_jaas_app_id(text) {
        return Ok(text.to_owned());
    }
    let odd = text.chars().find(|c| !is_jaas_app_id(&c.to_string()));
    let found = match odd {
        Some(c) => format!("found {c:?} in it"),
        None if text.is_empty() => "found nothing".to_owned(),
        None => format!("found {} characters", text.chars().count()),
    };
    // What stands there by mistake may be a key, so the rest of it is not repeated.
    let why =
        "must be the AppID of the JaaS console (API keys), vpaas-magic-cookie- and 32 digits and letters";
    Err(at(key, format!("{why}; {found}")))
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
    // 8x8 names the key of a JaaS ring, so it can only be imported, and somebody has to be given a secret.
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

/// `docker --env-file` and some panels keep the quotation marks that a shell would take off.
fn without_quotes(text: &str) -> &str {
    let text = text.trim();
    let inside = |mark: char| text.strip_prefix(mark)?.strip_suffix(mark);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

impl JaasKey {
    /// The three variables of the Lambda function this replaces: they are enough, without any file.
    pub(crate) fn from_environment(environment: &Environment) -> Outcome<Option<Self>> {
        let Some(app_id) = environment.get("JAAS_APP_ID") else { return Ok(None) };
        let need = |name: &str| {
            environment.get(name).ok_or_else(|| {
                let missing = environment.why_missing(name);
                at(name, format!("{missing}, and JAAS_APP_ID is; profile jaas needs JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY"))
            })
        };
        let (kid, pem) = (need("JAAS_API_KID")?, need("PRIVATE_KEY")?);
        let (app_id, kid) = (without_quotes(app_id), without_quotes(kid));
        let app_id = jaas_app_id("JAAS_APP_ID", app_id)?;
        let elsewhere = pem.parse().ok().filter(SecretRef::is_remote);
        let pem = match elsewhere {
            Some(reference) => {
                reference.read(&environment.folder, environment).map_err(|why| at("PRIVATE_KEY", why))?
            }
            None => Zeroizing::new(pem.to_owned()),
        };
        if !is_jaas_kid(kid, &app_id) {
            // A private key may stand there by mistake, so nothing of it is repeated.
            let found = match kid.split_once('/') {
                None => "found no slash in it",
                Some((app, _)) if app != app_id => {
                    "found another AppID than that of JAAS_APP_ID in front of the slash"
                }
                Some(_) => "found no plain key id behind the slash",
            };
            let why = "must be the AppID (JAAS_APP_ID), a slash and the key id, as the JaaS console shows it under API keys";
            return Err(at("JAAS_API_KID", format!("{why}; {found}")));
        }
        let key = PrivateKey::from_pem(&pem).map_err(|why| at("PRIVATE_KEY", why))?;
        let key = SigningKey::new(&key, Algorithm::RS256).map_err(|why| at("PRIVATE_KEY", why))?;
        let ring: RingName = parse("profiles.jaas.ring", &jaas_ring())?;
        Ok(Some(Self {
            profile: JaasProfile { app_id, ring: ring.clone() },
            signer: Arc::new(LocalSigner::new(kid.to_owned(), key)),
            ring,
        }))
    }
}

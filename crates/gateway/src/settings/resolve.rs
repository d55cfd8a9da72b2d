//! Raw → resolved: trusted issuers, credential sources, rules, and what the adapters need.

use super::{
    dpop,
    raw::{RawCredentials, RawGate, RawProxies, RawRoute, RawTrust},
};
use crate::{
    context::ContextRules,
    credential::CredentialSources,
    forward_auth::{self, Challenges, ForwardAuth, Proxies, is_same_header},
    gate::Gate,
    lambda::{ApiSettings, Authorizer, HttpApiResponse},
    resource::Resource,
    route::{Access, Requirement, Route},
};
use countersign_jose::{Algorithm, ClaimName, ClaimNameError, ClaimValue, SymmetricKey};
use countersign_settings::{Environment, SecretRef, duration, files::read_text};
use countersign_verifier::{
    AudienceFallback, DirectorySnapshots, KeyServer, KeySource, Preset, RefreshPolicy, Reread,
    RevocationSettings, TrustedIssuer, TrustedIssuerBuilder, Verifier,
};
use http::HeaderName;
use ipnet::IpNet;
use std::{
    collections::BTreeMap,
    fmt::Display,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// What of the gate's settings cannot work, by its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct SettingError {
    /// The key in the configuration.
    pub key: String,
    /// What is wrong, and what to do.
    pub why: String,
}

pub(super) fn at(key: impl Into<String>, why: impl Display) -> SettingError {
    SettingError { key: key.into(), why: why.to_string() }
}

/// What settings may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where relative paths begin: the folder of the configuration.
    pub folder: &'a Path,
    /// Where `env:NAME` is looked up.
    pub environment: &'a Environment,
    /// Where keys are kept if the settings do not say.
    pub key_cache: Option<&'a Path>,
}

/// The gate, ready to be put into one of its adapters.
#[derive(Debug)]
pub struct GateConfig {
    gate: Gate,
    api: ApiSettings,
    proxies: Vec<Proxies>,
    identity_headers: Vec<(HeaderName, ClaimName)>,
    resource: Option<Resource>,
    /// What an operator should be told at start: each check that was given up by name.
    pub warnings: Vec<String>,
}

impl GateConfig {
    /// As a Lambda authorizer.
    pub fn into_authorizer(self) -> Authorizer {
        Authorizer::new(self.gate, self.api)
    }

    /// Behind proxies; `None` if no proxy may ask.
    pub fn into_forward_auth(self) -> Option<ForwardAuth> {
        let asked = !self.proxies.is_empty();
        let challenges =
            Challenges { resource_metadata: self.resource.map(|resource| resource.url().to_owned()) };
        asked.then(|| ForwardAuth::new(self.gate, self.proxies, self.identity_headers, challenges))
    }

    /// What the service behind the gate says of itself.
    pub fn resource(&self) -> Option<&Resource> {
        self.resource.as_ref()
    }

    /// Checks that the server that answers proxies can also be an issuer at this path (empty for
    /// none). The gate is asked at the root and below the issuer's path before anything else, so
    /// an issuer behind the same name would answer nothing.
    pub fn check_issuer_path(&self, path: &str) -> Result<(), SettingError> {
        let name = forward_auth::PATH.trim_start_matches('/');
        if self.proxies.is_empty() || path.split('/').all(|segment| segment != name) {
            return Ok(());
        }
        let gate = forward_auth::PATH;
        Err(at(
            "issuer",
            format!(
                "its path {path} contains {gate}, where proxies ask the gate (gate.proxies); choose another path"
            ),
        ))
    }
}

/// Checks the settings of the gate and puts it together. Nothing is fetched yet.
pub fn resolve(
    trust: &[RawTrust],
    gate: &RawGate,
    around: Surroundings<'_>,
) -> Result<GateConfig, SettingError> {
    let mut builder = Verifier::builder();
    let mut warnings = Vec::new();
    let mut names = Vec::new();
    for (index, raw) in trust.iter().enumerate() {
        let issuer = trusted(raw, &format!("trust[{index}]"), around)?;
        warnings.extend(issuer.warnings().iter().cloned());
        names.push(issuer.name().to_owned());
        builder = builder.trust(issuer);
    }
    let cache = gate.key_cache.as_ref().map(|folder| around.folder.join(folder));
    if let Some(folder) = cache.or_else(|| around.key_cache.map(PathBuf::from)) {
        builder = builder.snapshots(Arc::new(DirectorySnapshots::new(folder)));
    }
    if let Some(entries) = NonZeroUsize::new(gate.token_cache) {
        if gate.token_cache > 1_000_000 {
            return Err(at("gate.token_cache", "at most 1000000"));
        }
        builder = builder.cache_verified_tokens(entries);
    }
    let verifier = builder.build().map_err(|why| at("trust", why))?;
    let routes = gate.routes.iter().enumerate();
    let mut routes = routes
        .map(|(i, raw)| route(raw, &format!("gate.routes[{i}]"), &names))
        .collect::<Result<Vec<_>, _>>()?;
    if routes.is_empty() {
        routes = Route::any_token();
    }
    let resource = dpop::resource(trust, gate, &verifier)?;
    let proxies = proxies(&gate.proxies)?;
    let dpop = dpop::resolve(trust, gate, &proxies, around)?;
    Ok(GateConfig {
        gate: Gate::new(verifier, credentials(&gate.credentials)?, routes, dpop),
        api: api(gate)?,
        proxies,
        resource,
        identity_headers: identity_headers(&gate.identity_headers)?,
        warnings,
    })
}

/// A trusted issuer as one entry describes it; `key` is where it stands in the configuration.
///
/// # Errors
///
/// The setting that is wrong.
pub fn trusted(raw: &RawTrust, key: &str, around: Surroundings<'_>) -> Result<TrustedIssuer, SettingError> {
    let of = |name: &str| format!("{key}.{name}");
    let mut builder = described(raw, key)?;
    if let Some(source) = source(raw, key, around)? {
        builder = builder.keys(source);
    }
    if let Some(server) = key_server(raw, key, around)? {
        builder = builder.key_server(server);
    }
    let algorithms = raw.algorithms.iter().map(|name| Algorithm::from_str(name));
    let algorithms = algorithms.collect::<Result<Vec<_>, _>>().map_err(|why| at(of("algorithms"), why))?;
    if !algorithms.is_empty() {
        builder = builder.algorithms(algorithms);
    } else if raw.preset.is_none() {
        builder = builder.algorithms([Algorithm::RS256]);
    }
    builder = builder.audiences(raw.audiences.iter().cloned()).tenants(raw.tenants.iter().cloned());
    for name in &raw.also_known_as {
        builder = builder.also_known_as(name);
    }
    if let Some(claim) = &raw.audience_fallback {
        let all = [AudienceFallback::ClientId, AudienceFallback::Cid, AudienceFallback::Azp];
        let found = all.into_iter().find(|fallback| fallback.claim() == claim);
        builder = builder.audience_fallback(
            found.ok_or_else(|| at(of("audience_fallback"), "write client_id, cid or azp"))?,
        );
    }
    if let Some(value) = &raw.token_use {
        builder = builder.token_use(value);
    }
    if let Some(typ) = &raw.typ {
        builder = builder.typ(typ);
    }
    for claim in &raw.require {
        builder = builder.require(claim);
    }
    for (claim, value) in &raw.claims {
        builder = builder.require_value(claim, value.clone());
    }
    if raw.dpop {
        builder = builder.require("/cnf/jkt");
    }
    if let Some(leeway) = &raw.leeway {
        builder = builder.leeway(duration(of("leeway"), leeway)?);
    }
    if raw.fractional_dates {
        builder = builder.accept_fractional_dates();
    }
    builder = builder.refresh(refresh(raw, key)?);
    if let Some(settings) = revocations(raw, key)? {
        builder = builder.revocations(settings);
    }
    if raw.dangerously_accept_any_audience {
        builder = builder.dangerously_accept_any_audience();
    }
    if raw.dangerously_ignore_expiry {
        builder = builder.dangerously_ignore_expiry();
    }
    builder.build().map_err(|why| at(key, why))
}

/// Where the issuer says what it has revoked, if that is asked.
fn revocations(raw: &RawTrust, key: &str) -> Result<Option<RevocationSettings>, SettingError> {
    let of = |name: &str| format!("{key}.{name}");
    let time = |name: &str, text: &Option<String>, default: u64| match text {
        Some(text) => duration(of(name), text),
        None => Ok(Duration::from_secs(default)),
    };
    let url = match raw.revocations.as_deref() {
        None | Some("off") => {
            let set = [
                ("revocations_every", &raw.revocations_every),
                ("revocations_stale", &raw.revocations_stale),
            ];
            return match set.into_iter().find(|(_, text)| text.is_some()) {
                Some((name, _)) => Err(at(of(name), "has no effect without revocations = \"on\"")),
                None => Ok(None),
            };
        }
        Some("on") => None,
        Some(url) if url.contains("://") => Some(url.to_owned()),
        Some(_) => return Err(at(of("revocations"), "write \"on\", \"off\" or the address of the list")),
    };
    let every = time("revocations_every", &raw.revocations_every, 30)?;
    let max_stale = time("revocations_stale", &raw.revocations_stale, 600)?;
    Ok(Some(RevocationSettings { url, every, max_stale }))
}

/// The preset, the issuer by name, or any issuer.
fn described(raw: &RawTrust, key: &str) -> Result<TrustedIssuerBuilder, SettingError> {
    if raw.preset.is_none() && !raw.replica_regions.is_empty() {
        return Err(at(format!("{key}.replica_regions"), "is for preset cognito; write also_known_as"));
    }
    match (&raw.preset, &raw.id, &raw.issuer, raw.dangerously_accept_any_issuer) {
        (Some(preset), Some(id), issuer, false) => of_preset(preset, id, issuer.as_deref(), raw, key),
        (Some(_), None, ..) => Err(at(format!("{key}.id"), "a preset needs the id it is made from")),
        (None, Some(_), ..) => Err(at(format!("{key}.id"), "only a preset has an id; write issuer = \"…\"")),
        (None, None, Some(issuer), false) => Ok(TrustedIssuer::builder(issuer).keys(KeySource::Discovery)),
        (None, None, None, true) => {
            let name = raw.keys_url.as_deref().unwrap_or("any issuer");
            Ok(TrustedIssuer::dangerously_of_any_issuer(name))
        }
        (_, _, _, true) => Err(at(
            format!("{key}.dangerously_accept_any_issuer"),
            "an issuer is named, and also any is accepted; choose one",
        )),
        (None, None, None, false) => Err(at(key, "name an issuer, or a preset and its id")),
    }
}

/// A well-known kind of issuer. Only a load balancer can have several issuers, and so is told which.
fn of_preset(
    name: &str,
    id: &str,
    issuer: Option<&str>,
    raw: &RawTrust,
    key: &str,
) -> Result<TrustedIssuerBuilder, SettingError> {
    let of = |name: &str| format!("{key}.{name}");
    let preset = Preset::from_str(name).map_err(|why| at(of("preset"), why))?;
    let builder = preset.builder(id).map_err(|why| at(of("id"), why))?;
    let builder = match (issuer, preset) {
        (Some(issuer), Preset::AwsAlb) => builder.load_balancer_issuer(issuer),
        (None, Preset::AwsAlb) => {
            let why = "preset aws-alb needs the issuer, as the action of the load balancer names it";
            return Err(at(of("issuer"), why));
        }
        (Some(_), _) => {
            return Err(at(of("issuer"), "the preset says who the issuer is; leave it out"));
        }
        (None, _) => builder,
    };
    preset.replicas(builder, id, &raw.replica_regions).map_err(|why| at(of("replica_regions"), why))
}

fn source(raw: &RawTrust, key: &str, around: Surroundings<'_>) -> Result<Option<KeySource>, SettingError> {
    let text = |name: &str, value: &String| match value.strip_prefix("file:") {
        None => Ok(value.clone()),
        Some(path) => {
            let path = around.folder.join(path);
            read_text(&path).map_err(|why| at(format!("{key}.{name}"), format!("{}: {why}", path.display())))
        }
    };
    let mut sources = Vec::new();
    if let Some(url) = &raw.discovery_url {
        sources.push(KeySource::DiscoveryAt(url.clone()));
    }
    if let Some(url) = &raw.keys_url {
        sources.push(KeySource::KeyDocument(url.clone()));
    }
    if let Some(value) = &raw.jwks {
        sources.push(KeySource::InlineJwks(text("jwks", value)?));
    }
    if let Some(value) = &raw.pem {
        sources.push(KeySource::InlinePem(text("pem", value)?));
    }
    if let Some(reference) = &raw.hmac_secret {
        let key = format!("{key}.hmac_secret");
        let reference: SecretRef = reference.parse().map_err(|why| at(&key, why))?;
        let secret = reference.read(around.folder, around.environment).map_err(|why| at(&key, why))?;
        // An editor puts a line end behind a secret, which is not part of it.
        let secret = secret.trim_end_matches(['\r', '\n']).as_bytes().to_vec();
        sources.push(KeySource::HmacSecret(SymmetricKey::new(secret.into())));
    }
    if sources.len() > 1 {
        return Err(at(
            key,
            "the keys have two sources; keep one of discovery_url, keys_url, jwks, pem and hmac_secret",
        ));
    }
    Ok(sources.pop())
}

/// What the server of the keys wants, which is read again each time.
fn key_server(
    raw: &RawTrust,
    key: &str,
    around: Surroundings<'_>,
) -> Result<Option<KeyServer>, SettingError> {
    let of = |name: &str| format!("{key}.{name}");
    if raw.keys_url.is_none() {
        let set = [("keys_ca", &raw.keys_ca), ("keys_bearer", &raw.keys_bearer)];
        return match set.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => {
                Err(at(of(name), "has no effect without keys_url; name the address of the keys"))
            }
            None => Ok(None),
        };
    }
    let reread = |name: &str, reference: SecretRef| -> Reread {
        let (key, folder) = (of(name), around.folder.to_owned());
        Arc::new(move || {
            let text = reference.read(&folder, &Environment::default());
            text.map_err(|why| format!("{key}: {why}"))
        })
    };
    let authorities = match &raw.keys_ca {
        None => None,
        Some(text) if text.contains("-----BEGIN") => {
            let text = text.clone();
            let reader: Reread = Arc::new(move || Ok(text.clone().into()));
            Some(reader)
        }
        Some(text) => match text.parse() {
            // Certificates are no secret.
            Ok(SecretRef::File(path) | SecretRef::SharedFile(path)) => {
                Some(reread("keys_ca", SecretRef::SharedFile(path)))
            }
            _ => {
                return Err(at(
                    of("keys_ca"),
                    "it is neither PEM (-----BEGIN CERTIFICATE-----) nor a reference to a file; write file:PATH, which is read again each time",
                ));
            }
        },
    };
    let bearer = match &raw.keys_bearer {
        None => None,
        Some(text) => match text.parse() {
            Ok(reference @ (SecretRef::File(_) | SecretRef::SharedFile(_))) => {
                Some(reread("keys_bearer", reference))
            }
            _ => {
                return Err(at(
                    of("keys_bearer"),
                    "write file:PATH or shared-file:PATH; it is read again each time",
                ));
            }
        },
    };
    let server = KeyServer { authorities, bearer };
    Ok((server.authorities.is_some() || server.bearer.is_some()).then_some(server))
}

fn refresh(raw: &RawTrust, key: &str) -> Result<RefreshPolicy, SettingError> {
    let mut policy = RefreshPolicy::default();
    if let Some(text) = &raw.keys_min_age {
        policy.floor = duration(format!("{key}.keys_min_age"), text)?;
        policy.default = policy.default.max(policy.floor);
    }
    if let Some(text) = &raw.keys_max_age {
        policy.ceiling = duration(format!("{key}.keys_max_age"), text)?;
        policy.default = policy.default.min(policy.ceiling);
    }
    if let Some(text) = &raw.keys_stale {
        policy.stale = duration(format!("{key}.keys_stale"), text)?;
    }
    Ok(policy)
}

fn credentials(raw: &RawCredentials) -> Result<CredentialSources, SettingError> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let token = |key: &str, text: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if text.chars().all(plain) {
            Ok(some(text))
        } else {
            Err(at(key, "may have letters, digits and !#$%&'*+-.^_`|~"))
        }
    };
    let sources = CredentialSources {
        authorization: raw.authorization,
        query: some(&raw.query),
        cookie: token("gate.credentials.cookie", &raw.cookie)?,
        websocket_marker: token("gate.credentials.websocket_marker", &raw.websocket_marker)?,
        load_balancer: raw.load_balancer,
    };
    let none = !sources.authorization
        && !sources.load_balancer
        && sources.query.is_none()
        && sources.cookie.is_none()
        && sources.websocket_marker.is_none();
    if none { Err(at("gate.credentials", "a token can be nowhere; switch a source on")) } else { Ok(sources) }
}

fn route(raw: &RawRoute, key: &str, issuers: &[String]) -> Result<Route, SettingError> {
    let plain =
        |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if let Some(method) = raw.methods.iter().find(|method| !plain(method)) {
        return Err(at(
            format!("{key}.methods"),
            format!("{method:?} is not a method in capitals, like GET"),
        ));
    }
    let claims = raw.claims.iter().map(|(claim, value)| {
        let at_claim = |why: &dyn Display| at(format!("{key}.claims"), format!("{claim:?}: {why}"));
        let name = claim.parse().map_err(|why: ClaimNameError| at_claim(&why))?;
        Ok((name, ClaimValue::of(value).map_err(|why| at_claim(&why))?))
    });
    let requirement = Requirement {
        issuers: raw.issuers.clone(),
        any_scope: raw.any_scope.clone(),
        all_scopes: raw.all_scopes.clone(),
        claims: claims.collect::<Result<_, SettingError>>()?,
        dpop: raw.dpop,
    };
    if raw.public && !requirement.is_empty() {
        return Err(at(key, "the route is public and also has requirements; choose one"));
    }
    if let Some(unknown) = raw.issuers.iter().find(|name| !issuers.contains(name)) {
        let known = issuers.join(", ");
        return Err(at(
            format!("{key}.issuers"),
            format!("{unknown:?} is not a trusted issuer; there is {known}"),
        ));
    }
    let mut scopes = raw.any_scope.iter().chain(&raw.all_scopes);
    if let Some(scope) = scopes.find(|scope| !is_scope(scope)) {
        return Err(at(key, format!("{scope:?} is not a scope (RFC 6749 section 3.3)")));
    }
    Ok(Route {
        methods: raw.methods.clone(),
        path: raw.path.parse().map_err(|why| at(format!("{key}.path"), why))?,
        access: if raw.public { Access::Public } else { Access::Token(requirement) },
    })
}

/// RFC 6749 §3.3; anything else could not be told apart in a header either.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn api(gate: &RawGate) -> Result<ApiSettings, SettingError> {
    for key in gate.context.keys() {
        if key.is_empty() || key == "claims" || key == "principalId" {
            return Err(at(
                "gate.context",
                format!("{key:?} cannot be a key; API Gateway keeps it for itself"),
            ));
        }
    }
    let http_api_response = match gate.http_api_response.as_str() {
        "simple" => HttpApiResponse::Simple,
        "policy" => HttpApiResponse::Policy,
        other => return Err(at("gate.http_api_response", format!("{other:?} is neither simple nor policy"))),
    };
    // The star is what the authorizer this replaces has when nothing is given.
    let apis: Vec<String> = gate.authorized_apis.iter().filter(|api| *api != "*").cloned().collect();
    if apis.len() < gate.authorized_apis.len() && !apis.is_empty() {
        return Err(at("gate.authorized_apis", "`*` and some ARNs; keep one or the other"));
    }
    if let Some(api) = apis.iter().find(|api| !is_api_arn(api)) {
        let why = format!(
            "{api:?} is not an ARN like arn:aws:execute-api:eu-west-1:123456789012:API/STAGE/*, of 512 characters at most"
        );
        return Err(at("gate.authorized_apis", why));
    }
    if !apis.is_empty() && !gate.routes.is_empty() {
        return Err(at("gate.authorized_apis", "cannot stand beside gate.routes; say it with rules"));
    }
    let entries = gate.context.iter().map(|(key, name)| {
        let named = claim(&format!("gate.context.{key}"), name)?;
        Ok((key.clone(), named))
    });
    let entries = entries.collect::<Result<_, SettingError>>()?;
    let usage = gate.usage_identifier_claim.as_ref();
    let appsync_ttl = duration("gate.appsync_ttl", &gate.appsync_ttl)?;
    if appsync_ttl > Duration::from_secs(3600) {
        return Err(at("gate.appsync_ttl", "AppSync remembers for an hour at most"));
    }
    Ok(ApiSettings {
        context: ContextRules { entries },
        principal_claim: claim("gate.principal_claim", &gate.principal_claim)?,
        usage_identifier_claim: usage.map(|name| claim("gate.usage_identifier_claim", name)).transpose()?,
        http_api_response,
        authorized_apis: apis,
        appsync_ttl,
        answers: dpop::answers(&gate.dpop)?,
    })
}

fn claim(key: &str, name: &str) -> Result<ClaimName, SettingError> {
    name.parse().map_err(|why| at(key, format!("{name:?}: {why}")))
}

fn is_api_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service) = (parts.next(), parts.next(), parts.next());
    arn == Some("arn")
        && partition.is_some_and(|partition| partition.starts_with("aws"))
        && service == Some("execute-api")
        && parts.nth(2).is_some_and(|resource| !resource.is_empty())
        && text.len() <= 512
        && !text.contains(char::is_whitespace)
}

fn proxies(raw: &[RawProxies]) -> Result<Vec<Proxies>, SettingError> {
    let mut proxies: Vec<Proxies> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let key = format!("gate.proxies[{index}]");
        let kind = raw
            .kind
            .parse()
            .map_err(|()| at(format!("{key}.kind"), "write nginx, ingress-nginx, traefik, caddy or envoy"))?;
        let mut networks = Vec::new();
        for text in &raw.networks {
            let network = text
                .parse::<IpNet>()
                .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()));
            let network = network.map_err(|_| {
                at(
                    format!("{key}.networks"),
                    format!("{text:?} is not a network; write 10.0.0.0/8 or ::1/128"),
                )
            })?;
            if network.prefix_len() == 0 {
                let why = "trusting every address lets any client say what it asks about; name the proxies";
                return Err(at(format!("{key}.networks"), why));
            }
            let others =
                proxies.iter().filter(|others| others.kind != kind).flat_map(|others| &others.networks);
            if let Some(other) = others.into_iter().find(|o| o.contains(&network) || network.contains(*o)) {
                let why = format!("{network} and {other} overlap, but are of two kinds of proxy");
                return Err(at(format!("{key}.networks"), why));
            }
            networks.push(network);
        }
        if networks.is_empty() {
            return Err(at(format!("{key}.networks"), "name the addresses the proxy connects from"));
        }
        proxies.push(Proxies { kind, networks });
    }
    Ok(proxies)
}

fn identity_headers(raw: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, ClaimName)>, SettingError> {
    let mut headers: Vec<(HeaderName, ClaimName)> = Vec::new();
    for (name, filled_from) in raw {
        let key = || format!("gate.identity_headers.{name}");
        let header = HeaderName::from_str(name).map_err(|_| at(key(), "not a header name"))?;
        if header.as_str().contains('_') {
            return Err(at(key(), "many proxies drop header names with underscores; write hyphens"));
        }
        if !header.as_str().starts_with("x-") {
            return Err(at(
                key(),
                "begin the name with X-, so that it cannot be mistaken for one of HTTP's own",
            ));
        }
        // The second would overwrite the first at the proxy, or in a service that folds names.
        let mut before = raw.keys().zip(&headers);
        if let Some((other, _)) = before.find(|(_, (other, _))| is_same_header(other, &header)) {
            return Err(at(key(), format!("is the same header as {other}; keep one")));
        }
        headers.push((header, claim(&key(), filled_from)?));
    }
    Ok(headers)
}

pub(super) fn duration(key: impl Into<String>, text: &str) -> Result<Duration, SettingError> {
    duration::parse(text).map_err(|why| at(key, why))
}

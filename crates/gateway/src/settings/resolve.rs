//! Raw → resolved: credential sources, rules, and what the adapters need; trusted issuers are in
//! `trust`.

use super::{
    dpop,
    raw::{RawCredentials, RawGate, RawProxies, RawRoute, RawTrust},
    trust::trusted,
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
use countersign_jose::{ClaimName, ClaimNameError, ClaimValue};
use countersign_settings::{Environment, duration};
use countersign_verifier::{DirectorySnapshots, Verifier};
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
    warnings.extend(unreachable(&routes));
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

/// Warnings about rules that are never used, because an earlier rule matches all of their requests.
/// What a rule requires of tokens does not select it, which is easily overlooked.
fn unreachable(routes: &[Route]) -> impl Iterator<Item = String> {
    routes.iter().enumerate().filter_map(|(index, later)| {
        let mut earlier = routes.iter().enumerate().take(index);
        let (first, route) = earlier.find(|(_, route)| route.covers(later))?;
        Some(format!(
            "gate.routes[{index}] ({}) is never used: gate.routes[{first}] ({}) comes first and matches all of its requests, and \
             `issuers`, scopes and `claims` do not select a rule; move the narrower rule up, or merge the two",
            later.path, route.path
        ))
    })
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

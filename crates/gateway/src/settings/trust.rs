//! Whose tokens are accepted: one entry of `[[trust]]` → a trusted issuer with its keys and checks.

use super::{
    raw::RawTrust,
    resolve::{SettingError, Surroundings, at, duration},
};
use countersign_jose::{Algorithm, SymmetricKey};
use countersign_settings::{Environment, SecretRef, files::read_text};
use countersign_verifier::{
    AudienceFallback, KeyServer, KeySource, Preset, RefreshPolicy, Reread, RevocationSettings, TrustedIssuer,
    TrustedIssuerBuilder,
};
use std::{str::FromStr, sync::Arc, time::Duration};

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

/// A well-known kind of issuer. Only a load balancer can have several issuers, and so is told
/// which.
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

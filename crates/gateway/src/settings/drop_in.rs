//! The four variables of the Lambda authorizer this replaces: enough by themselves, without any
//! file.
//!
//! `JWT_ISSUER_JWKS_URI` (a JWK Set, or Firebase's map of certificates), `JWT_AUTHORIZED_AUDIENCES`
//! (commas between; compared with `aud`, or with `client_id` where there is no `aud`),
//! `JWT_VERIFY_EXPIRATION` (`true` unless set) and `AUTHORIZED_APIS` (ARNs with commas between;
//! `*`, or not set, for the API that asks). `JWT_ISSUER` pins the issuer; without it, any issuer's
//! tokens that these keys sign are accepted, and a warning says so.

use super::{
    raw::{RawGate, RawTrust},
    resolve::{GateConfig, Surroundings, resolve},
};
use countersign_jose::Algorithm;
use countersign_settings::Environment;

const KEYS: &str = "JWT_ISSUER_JWKS_URI";
const AUDIENCES: &str = "JWT_AUTHORIZED_AUDIENCES";
const EXPIRATION: &str = "JWT_VERIFY_EXPIRATION";

/// What is wrong with the variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DropInError {
    /// Without audiences every token of the issuer would be taken, whomever it was made for.
    #[error("{KEYS} is set, but {AUDIENCES} is not; name the audiences of your tokens, with commas between")]
    NoAudiences,
    /// Neither true nor false.
    #[error(
        "{EXPIRATION} is neither true nor false: write true or 1, false or 0, or leave it out, which is true"
    )]
    Expiration,
    /// Nobody's tokens could be accepted.
    #[error("no issuer is trusted: give [[trust]] in the configuration, or set {KEYS} and {AUDIENCES}")]
    NothingTrusted,
}

/// The settings that count: the trusted issuers of the configuration if it has any, else that of
/// the variables.
pub fn choose(
    trust: Vec<RawTrust>,
    mut gate: RawGate,
    environment: &Environment,
) -> Result<(Vec<RawTrust>, RawGate), DropInError> {
    if trust.is_empty() {
        let trust = drop_in(environment)?.ok_or(DropInError::NothingTrusted)?;
        let apis = list(environment.get("AUTHORIZED_APIS"));
        if !apis.is_empty() {
            gate.authorized_apis = apis;
        }
        return Ok((vec![trust], gate));
    }
    if environment.get(KEYS).is_some() {
        tracing::warn!("{KEYS} is set, but the configuration has [[trust]]; the variable is not used");
    }
    Ok((trust, gate))
}

/// The gate of the settings that count. What is wrong with a variable is said of the variable.
pub fn resolve_chosen(
    trust: Vec<RawTrust>,
    gate: RawGate,
    around: Surroundings<'_>,
) -> Result<GateConfig, String> {
    let is_drop_in = trust.is_empty();
    let (trust, gate) = choose(trust, gate, around.environment).map_err(|why| why.to_string())?;
    resolve(&trust, &gate, around).map_err(|why| match variable(&why.key).filter(|_| is_drop_in) {
        Some(name) if around.environment.get(name).is_some() => {
            format!("the environment variable {name}: {}", why.why)
        }
        _ => why.to_string(),
    })
}

/// The variable that a setting has come from.
fn variable(key: &str) -> Option<&'static str> {
    match key {
        "gate.authorized_apis" => Some("AUTHORIZED_APIS"),
        "trust[0].issuer" => Some("JWT_ISSUER"),
        "trust[0].audiences" => Some(AUDIENCES),
        "trust[0]" | "trust[0].keys_url" => Some(KEYS),
        _ => None,
    }
}

/// The issuer these variables stand for; `None` if `JWT_ISSUER_JWKS_URI` is not set.
pub fn drop_in(environment: &Environment) -> Result<Option<RawTrust>, DropInError> {
    let Some(keys) = environment.get(KEYS) else { return Ok(None) };
    let audiences = list(environment.get(AUDIENCES));
    if audiences.is_empty() {
        return Err(DropInError::NoAudiences);
    }
    let verify_expiration = match environment.get(EXPIRATION).map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(_) => return Err(DropInError::Expiration),
    };
    let issuer = environment.get("JWT_ISSUER").map(str::to_owned);
    Ok(Some(RawTrust {
        dangerously_accept_any_issuer: issuer.is_none(),
        issuer,
        keys_url: Some(keys.trim().to_owned()),
        algorithms: Algorithm::ALL.into_iter().filter(|a| !a.is_symmetric()).map(|a| a.to_string()).collect(),
        audiences,
        audience_fallback: Some("client_id".to_owned()),
        dangerously_ignore_expiry: !verify_expiration,
        ..RawTrust::default()
    }))
}

fn list(text: Option<&str>) -> Vec<String> {
    let entries = text.unwrap_or_default().split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

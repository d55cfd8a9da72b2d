//! `POST /introspect` (RFC 7662): a resource server asks what a token is worth, and gets JSON or a
//! signed JWT (RFC 9701).
//!
//! Only a client whose entry says for which audiences it may ask is told anything; of a token for
//! others it hears what it hears of one that is expired, revoked or made up: `{"active":false}`.
//! Refresh tokens are nothing to a resource server, so they are not active here. Revocations count
//! at once: nothing is remembered between two requests.

use crate::{error::TokenError, form::Form, revocation::Revocations};
use axum::http::{HeaderMap, header};
use countersign_issuer::{Client, Issuer, Names, Statement};
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, Verified, json::Object};
use std::fmt::Write;

/// What a JWT answer is called, and asked for by (RFC 9701 §4).
pub(crate) const JWT: &str = "application/token-introspection+jwt";

/// What the answer says by itself: a claim of such a name is not told.
const OF_THE_ANSWER: [&str; 2] = ["active", "token_type"];

/// An answer on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Json(String),
    Jwt(String),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) client: &'a Client,
    /// For which audiences it may ask.
    pub(crate) audiences: &'a Names,
    pub(crate) headers: &'a HeaderMap,
}

/// What a token is worth to who asks.
pub(crate) async fn introspect(
    form: &Form,
    asking: &Asking<'_>,
    issuer: &Issuer,
    revocations: &Revocations,
    now: Timestamp,
) -> Result<Answer, TokenError> {
    let Asking { client, audiences, headers } = *asking;
    if *audiences == Names::default() {
        return Err(TokenError::MayNotIntrospect);
    }
    let token = form.require("token")?;
    let told = match issuer.own(token, now) {
        Some(token) if is_for(&token, audiences) && !revocations.list(now).await?.revokes(&token) => {
            told(&token)
        }
        _ => None,
    };
    let told = told.unwrap_or_else(|| r#"{"active":false}"#.to_owned());
    if !wants_jwt(headers) {
        return Ok(Answer::Json(told));
    }
    // Neither `sub` nor `exp` at the top: nobody may take it for a token (RFC 9701 §8.1).
    let (iss, aud) = (issuer.settings().issuer.as_str(), client.id.as_str());
    let iat = now.unix_seconds();
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let payload = format!(
        r#"{{"iss":{},"aud":{},"iat":{iat},"token_introspection":{told}}}"#,
        quoted(iss),
        quoted(aud)
    );
    let signed = issuer.state(Statement::Introspection, payload.as_bytes(), now).await;
    Ok(Answer::Jwt(signed.map_err(TokenError::Unsigned)?))
}

fn is_for(token: &Verified, audiences: &Names) -> bool {
    token.registered().aud.iter().any(|audience| audiences.allows(audience))
}

/// What is in the token, as it is there: all of it, for who asks could read as much in the token
/// (RFC 7662 §2.2).
fn told(token: &Verified) -> Option<String> {
    let claims = Object::parse(token.payload(), MAX_CLAIMS_DEPTH).ok()?;
    let kind =
        if claims.get("cnf").is_some_and(|cnf| cnf.get().contains("\"jkt\"")) { "DPoP" } else { "Bearer" };
    let mut text = format!(r#"{{"active":true,"token_type":"{kind}""#);
    for (name, value) in claims.members().filter(|(name, _)| !OF_THE_ANSWER.contains(name)) {
        let name = serde_json::Value::from(name);
        // Writing to a String does not fail.
        let _ = write!(text, ",{name}:{}", value.get());
    }
    text.push('}');
    Some(text)
}

/// Whether the request asks for a JWT: by that type, and not with a weight of nothing.
fn wants_jwt(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(JWT));
        let weight = parts.filter_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).next();
        named && weight.is_none_or(|weight| weight.bytes().any(|digit| matches!(digit, b'1'..=b'9')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_jwt_is_what_is_asked_for_by_its_type() {
        for (accept, jwt) in [
            ("application/json", false),
            ("*/*", false),
            ("application/*", false),
            (JWT, true),
            ("application/json, application/Token-Introspection+JWT;q=0.5", true),
            ("application/token-introspection+jwt;q=0", false),
            ("application/token-introspection+jwt; q=0.000", false),
            ("application/token-introspection+jwt2", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_jwt(&headers), jwt, "{accept}");
        }
        assert!(!wants_jwt(&HeaderMap::new()));
    }
}

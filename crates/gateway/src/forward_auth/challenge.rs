//! What a refused request is told: status, a line of JSON, and `WWW-Authenticate` (RFC 6750 §3, RFC
//! 9449 §7.1, RFC 9728 §5.1).
//!
//! No more than the standard errors; of a proof also what is wrong with it, which holds no secret.
//! Where there are challenges of two schemes, they are in one field, because some proxies pass on
//! one.

use crate::{
    credential::Scheme,
    decision::{Denial, Refusal, RefusalKind},
    dpop::{Dpop, DpopRefusal},
    route::Unmet,
};
use countersign_verifier::dpop::ALGORITHMS;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use std::fmt::Write;

pub(super) const DPOP: HeaderName = HeaderName::from_static("dpop");
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What every challenge says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenges {
    /// Where the metadata of the protected resource is.
    pub resource_metadata: Option<String>,
}

impl Challenges {
    pub(super) fn refuse(&self, denial: &Denial, dpop: &Dpop) -> Response<String> {
        let refusal = &denial.refusal;
        let (status, error) = match refusal.kind() {
            RefusalKind::Unauthenticated => (StatusCode::UNAUTHORIZED, None),
            RefusalKind::InvalidToken => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
            RefusalKind::InvalidProof => (StatusCode::UNAUTHORIZED, Some(proof_error(refusal))),
            RefusalKind::Forbidden if matches!(refusal, Refusal::Unmet(Unmet::Scope(_))) => {
                (StatusCode::FORBIDDEN, Some("insufficient_scope"))
            }
            // Another token is needed, and not other rights.
            RefusalKind::Forbidden if *refusal == Refusal::Unmet(Unmet::Dpop) => {
                (StatusCode::UNAUTHORIZED, Some("invalid_token"))
            }
            RefusalKind::Forbidden => (StatusCode::FORBIDDEN, None),
            RefusalKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let body = match (error, status) {
            (Some(error), _) => format!(r#"{{"error":"{error}"}}"#),
            (None, StatusCode::UNAUTHORIZED) => r#"{"error":"unauthorized"}"#.to_owned(),
            (None, StatusCode::FORBIDDEN) => r#"{"error":"access_denied"}"#.to_owned(),
            (None, _) => r#"{"error":"temporarily_unavailable"}"#.to_owned(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // RFC 6750 §3.1: no error code for a request without credentials.
        let challenge = match (status, error) {
            (StatusCode::UNAUTHORIZED, None) if dpop.is_announced => {
                Some(format!("{}, {}", self.bearer(None, refusal), self.dpop(None, refusal)))
            }
            (StatusCode::UNAUTHORIZED, None) => Some(self.bearer(None, refusal)),
            (_, Some(error)) => Some(match scheme(denial) {
                Scheme::Bearer => self.bearer(Some(error), refusal),
                Scheme::Dpop => self.dpop(Some(error), refusal),
            }),
            _ => None,
        };
        if let Some(value) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }

    fn bearer(&self, error: Option<&str>, refusal: &Refusal) -> String {
        self.challenge("Bearer", error.map(|error| ("error", error)), refusal)
    }

    fn dpop(&self, error: Option<&str>, refusal: &Refusal) -> String {
        let algorithms = ALGORITHMS.map(|algorithm| algorithm.name()).join(" ");
        let description = match refusal {
            Refusal::Dpop(why @ DpopRefusal::Proof(_)) => Some(plain(&why.to_string())),
            _ => None,
        };
        let description = description.as_deref().map(|text| ("error_description", text));
        let parameters = error.map(|error| ("error", error)).into_iter().chain(description);
        self.challenge("DPoP", parameters.chain([("algs", algorithms.as_str())]), refusal)
    }

    fn challenge<'c>(
        &'c self,
        scheme: &str,
        own: impl IntoIterator<Item = (&'c str, &'c str)>,
        refusal: &Refusal,
    ) -> String {
        let scopes = match refusal {
            Refusal::Unmet(Unmet::Scope(scopes)) => Some(scopes.join(" ")),
            _ => None,
        };
        let mut parameters: Vec<(&str, &str)> = own.into_iter().collect();
        // The scopes that would do (RFC 6750 §3, `scope`).
        parameters.extend(scopes.as_deref().map(|scopes| ("scope", scopes)));
        parameters.extend(self.resource_metadata.as_deref().map(|url| ("resource_metadata", url)));
        let mut text = scheme.to_owned();
        for (at, (name, value)) in parameters.into_iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(text, "{} {name}=\"{value}\"", if at == 0 { "" } else { "," });
        }
        text
    }
}

fn proof_error(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Dpop(DpopRefusal::Proof(why)) => why.error(),
        _ => "invalid_dpop_proof",
    }
}

/// How the caller has to show its token, or the next one: as it showed this one, unless that is
/// what is wrong (RFC 9449 §7.1).
fn scheme(denial: &Denial) -> Scheme {
    match &denial.refusal {
        // One that is not bound is good as a bearer token.
        Refusal::Dpop(DpopRefusal::NotBound) => Scheme::Bearer,
        Refusal::Dpop(_) | Refusal::Unmet(Unmet::Dpop) => Scheme::Dpop,
        _ => denial.shown.unwrap_or(Scheme::Bearer),
    }
}

/// What may be in a description (RFC 6750 §3): no quote, no backslash, nothing that is not ASCII.
fn plain(text: &str) -> String {
    let plain = |c| match c {
        '"' => '\'',
        ' '..='~' if c != '\\' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

//! The gate behind a proxy: `/gate` answers whether the request the proxy asks about may pass.
//!
//! 200 with identity headers, each of them always there and empty where there is nothing to say, so
//! that the proxy overwrites whatever the client sent; 401 and 403 with `WWW-Authenticate`
//! (`challenge`); 503 when an issuer's keys cannot be had. Only addresses of configured proxies may
//! ask. A request that carries an identity header in another spelling is refused: many services
//! take `X_Auth_Subject` or `X.Auth.Subject` for `X-Auth-Subject`. Refusals say no more than the
//! standard error; the log has the reason. Called by the server of the program. Pinned by
//! `tests/forward_auth.rs`, and by real proxies in the end-to-end tests.

mod challenge;
mod proxy;

pub use challenge::Challenges;
pub use proxy::{Proxies, ProxyKind};

use crate::{
    claims::Claims,
    context::plain_text,
    decision::{Decision, Denial, Grant, Refusal, RefusalKind},
    gate::Gate,
};
use countersign_jose::{ClaimName, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use std::{borrow::Cow, net::IpAddr};

/// Where the route is.
pub const PATH: &str = "/gate";

/// The gate with the forms of forward-auth around it.
#[derive(Debug)]
pub struct ForwardAuth {
    gate: Gate,
    proxies: Vec<Proxies>,
    identity_headers: Vec<(HeaderName, ClaimName)>,
    challenges: Challenges,
}

/// An answer to a proxy, and the stable name of what was decided.
#[derive(Debug)]
pub struct Answer {
    /// What to send; the body is a line of JSON, or empty.
    pub response: Response<String>,
    /// `allow`, or the code of the refusal.
    pub code: &'static str,
}

impl ForwardAuth {
    /// Asks `gate` for these proxies. Each identity header is filled from a claim.
    pub fn new(
        gate: Gate,
        proxies: Vec<Proxies>,
        identity_headers: Vec<(HeaderName, ClaimName)>,
        challenges: Challenges,
    ) -> Self {
        Self { gate, proxies, identity_headers, challenges }
    }

    /// Whether connections from this address are a proxy's.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxies| proxies.contains(address))
    }

    /// Takes over from the one before it in the same process: DPoP proofs that were taken are not
    /// taken again.
    pub fn follow(&mut self, before: &Self) {
        self.gate.dpop_mut().follow(before.gate.dpop());
    }

    /// The gate it asks.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Answers a request to [`PATH`] or, for Envoy, below it. `rest` is what of the path follows
    /// it; `connection` is the address the connection comes from, and nothing that a header says.
    pub async fn answer(&self, request: &Parts, rest: &str, connection: IpAddr, now: Timestamp) -> Answer {
        let decided = self.decide(request, rest, connection, now).await;
        let decided = match decided {
            Decision::Allow(grant) => {
                self.identity(&grant).map(|headers| (grant, headers)).map_err(Denial::of)
            }
            Decision::Deny(denial) => Err(denial),
        };
        match decided {
            Ok((grant, headers)) => {
                let subject = grant.caller().and_then(|caller| caller.verified().registered().sub.as_deref());
                tracing::debug!(target: "countersign::gate", decision = "allow", subject, route = grant.route());
                let mut response = Response::new(String::new());
                *response.headers_mut() = headers;
                if request.headers.contains_key(challenge::DPOP) {
                    self.add_nonce(&mut response, now);
                }
                Answer { response: uncached(response), code: "allow" }
            }
            Err(denial) => {
                log(&denial, connection);
                let mut response = self.challenges.refuse(&denial, self.gate.dpop());
                if denial.refusal.kind() == RefusalKind::InvalidProof {
                    self.add_nonce(&mut response, now);
                }
                Answer { response: uncached(response), code: denial.refusal.code() }
            }
        }
    }

    /// A nonce for the client's next proof (RFC 9449 §9).
    fn add_nonce(&self, response: &mut Response<String>, now: Timestamp) {
        let nonce = self.gate.dpop().nonce(now).and_then(|nonce| HeaderValue::try_from(nonce).ok());
        if let Some(nonce) = nonce {
            response.headers_mut().insert(challenge::DPOP_NONCE, nonce);
        }
    }

    async fn decide(&self, request: &Parts, rest: &str, connection: IpAddr, now: Timestamp) -> Decision {
        let deny = |refusal| Decision::Deny(Denial::of(refusal));
        let Some(proxies) = self.proxies.iter().find(|proxies| proxies.contains(connection)) else {
            return deny(Refusal::UnknownProxy);
        };
        if self.has_spoofed_header(&request.headers) {
            return deny(Refusal::SpoofedHeader);
        }
        match proxies.kind.facts(request, rest) {
            Ok(facts) => self.gate.decide(&facts, now).await,
            Err(refusal) => deny(refusal),
        }
    }

    /// Whether a header is one of the identity headers to some services, and another one to the
    /// proxy.
    fn has_spoofed_header(&self, headers: &HeaderMap) -> bool {
        let spoofs = |name: &HeaderName| {
            self.identity_headers.iter().any(|(header, _)| header != name && is_same_header(header, name))
        };
        headers.keys().any(spoofs)
    }

    /// Every identity header, with the caller's claim or empty.
    fn identity(&self, grant: &Grant) -> Result<HeaderMap, Refusal> {
        let claims = grant.caller().and_then(|caller| Claims::of(caller.verified()));
        let mut headers = HeaderMap::with_capacity(self.identity_headers.len() + 2);
        for (name, claim) in &self.identity_headers {
            let text = claims.as_ref().and_then(|claims| match claims.scope_with_scp(claim) {
                Some(scopes) => Some(Cow::Owned(scopes)),
                None => claims.get(claim).map(plain_text),
            });
            let text = text.unwrap_or_default();
            // The reader of the header must get what was signed: blanks at the ends would be lost
            // on the way.
            let value = Some(&text).filter(|text| text.trim() == text.as_ref());
            let value = value.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
            headers.insert(name.clone(), value.ok_or_else(|| Refusal::UnfitForHeader(claim.to_string()))?);
        }
        Ok(headers)
    }
}

/// Whether two names are one to a service that folds what is no letter or digit, as CGI, WSGI and
/// PHP do. They are in lower case already.
pub(crate) fn is_same_header(one: &HeaderName, other: &HeaderName) -> bool {
    fn folded(name: &HeaderName) -> impl Iterator<Item = u8> + '_ {
        name.as_str().bytes().map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' })
    }
    folded(one).eq(folded(other))
}

fn uncached(mut response: Response<String>) -> Response<String> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn log(denial: &Denial, connection: IpAddr) {
    let (code, reason) = (denial.refusal.code(), denial.refusal.to_string());
    let address = tracing::field::display(connection);
    match &denial.caller {
        Some(caller) => {
            let subject = caller.verified().registered().sub.as_deref();
            tracing::info!(target: "countersign::gate", decision = "deny", address, subject, code, reason);
        }
        // Anybody can cause the others, as often as it likes; by their name the log sums them up.
        None if denial.refusal.kind() == RefusalKind::Unavailable => tracing::error!(
            name: "unauthenticated", target: "countersign::gate", decision = "deny", address, code, reason
        ),
        None => tracing::info!(
            name: "unauthenticated", target: "countersign::gate", decision = "deny", address, code, reason
        ),
    }
}

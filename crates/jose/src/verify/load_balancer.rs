//! `LoadBalancerToken`: what an Application Load Balancer of AWS puts into `x-amzn-oidc-data`,
//! taken apart.
//!
//! It is a compact JWS in all but two things: its parts are padded with `=`, which RFC 7515 §2
//! forbids, and the signature is over the padded text; and of its header `signer`, `client`, `iss`
//! and `exp` have to be checked, so they are read. Every part has exactly the padding that belongs
//! to it, so that there is still one text for each token. Nothing else takes this form:
//! `Unverified::parse` refuses it. Source: Elastic Load Balancing, "Authenticate users using an
//! Application Load Balancer". Called by `countersign-verifier` for issuers that are described so,
//! whose `tests/suite/load_balancer.rs` pins it.

use super::{MAX_CLAIMS_DEPTH, MAX_TOKEN_BYTES, TokenError, TokenPart, Unverified};
use crate::{
    Timestamp, base64url,
    json::{Object, WrongType},
};
use std::fmt;

/// A token of a load balancer taken apart. Nothing in it may be believed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadBalancerToken<'a> {
    /// The token, to be verified like any other.
    pub token: Unverified<'a>,
    /// What its header says besides, signed with the rest.
    pub header: LoadBalancerHeader,
}

/// What only the header of such a token says.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadBalancerHeader {
    /// The ARN of the load balancer.
    pub signer: String,
    /// The client id with which the load balancer has asked the identity provider.
    pub client: String,
    /// The issuer, as the load balancer's action names it.
    pub iss: String,
    /// When the token expires.
    pub exp: Timestamp,
}

impl fmt::Debug for LoadBalancerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.token.fmt(f)
    }
}

impl fmt::Debug for LoadBalancerHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerHeader").finish_non_exhaustive()
    }
}

impl<'a> LoadBalancerToken<'a> {
    /// Whether a text could be one: a signature of ES256 is of 64 bytes, so it always ends in
    /// padding, which no other token has.
    pub fn is_padded(token: &str) -> bool {
        token.ends_with('=')
    }

    /// Takes a token apart: exactly three parts of padded base64url, and a header with all that has
    /// to be checked.
    ///
    /// # Errors
    ///
    /// What is wrong with its form.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let not_compact = || TokenError::NotCompact { parts: token.split('.').count() };
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(not_compact)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(not_compact)?;
        if payload.contains('.') {
            return Err(not_compact());
        }
        if signature.trim_end_matches('=').is_empty() {
            return Err(TokenError::Unsigned);
        }
        base64url::decode_padded(signature).map_err(TokenPart::Signature.not_base64url())?;
        let header = base64url::decode_padded(header).map_err(TokenPart::Header.not_base64url())?;
        let header = Object::parse(&header, MAX_CLAIMS_DEPTH).map_err(TokenError::Header)?;
        let payload = base64url::decode_padded(payload).map_err(TokenPart::Claims.not_base64url())?;
        let text = |name| {
            let text = header.string(name).map_err(TokenError::HeaderType)?;
            let missing = TokenError::HeaderType(WrongType { name, expected: "a string" });
            text.map(|text| text.into_owned()).ok_or(missing)
        };
        let exp = header.get("exp").and_then(|exp| exp.get().parse().ok());
        let exp: i64 =
            exp.ok_or(TokenError::HeaderType(WrongType { name: "exp", expected: "a whole number" }))?;
        let balancer = LoadBalancerHeader {
            signer: text("signer")?,
            client: text("client")?,
            iss: text("iss")?,
            exp: Timestamp::from_unix_seconds(exp),
        };
        let signature = signature.trim_end_matches('=');
        let token = Unverified::of_parts(signing_input, &header, Ok(payload), signature)?;
        Ok(Self { token, header: balancer })
    }
}

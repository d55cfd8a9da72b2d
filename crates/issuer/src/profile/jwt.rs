//! `jwt`: any claims the client's policy allows, around them those that only the issuer sets (RFC 7519 §4.1).

use super::{Facts, Profile, ProfileError, Refusal, Shaped};
use crate::{
    policy::MintPolicy,
    request::{AudienceRequest, SignRequest},
};
use countersign_jose::json::string;
use countersign_keyring::{RingName, Signer};
use std::io::Write;

/// Claims that come from the issuer only.
const RESERVED: [&str; 6] = ["iss", "aud", "iat", "nbf", "exp", "jti"];

/// The plain profile.
#[derive(Debug, Clone)]
pub struct JwtProfile {
    /// The ring that signs.
    pub ring: RingName,
}

impl Profile for JwtProfile {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn ring(&self) -> &RingName {
        &self.ring
    }

    fn typ(&self) -> &'static str {
        "JWT"
    }

    fn check_signer(&self, _: &dyn Signer) -> Result<(), ProfileError> {
        Ok(())
    }

    fn shape(
        &self,
        request: &SignRequest<'_>,
        policy: &MintPolicy,
        facts: &Facts<'_>,
    ) -> Result<Shaped, Refusal> {
        if let Some(name) = request.data.names().find_map(|name| RESERVED.iter().find(|r| **r == name)) {
            return Err(Refusal::Invalid(
                format!("the claim `{name}` is set by the issuer; leave it out of `data`").into(),
            ));
        }
        let audience = policy.audience(request.audience.as_ref())?;
        let lifetime = policy.lifetime(request.duration)?;
        policy.check_claims(&request.data)?;

        let issued = facts.now.minus(facts.backdate).unix_seconds();
        let expires = facts.now.plus(lifetime).unix_seconds();
        let mut payload = Vec::with_capacity(512);
        // Writing to a Vec and serialising strings do not fail; the results are folded all the same.
        let written = (|| {
            payload.extend_from_slice(b"{\"iss\":");
            serde_json::to_writer(&mut payload, facts.issuer)?;
            payload.extend_from_slice(b",\"aud\":");
            match &audience {
                AudienceRequest::One(one) => serde_json::to_writer(&mut payload, one)?,
                AudienceRequest::Many(many) => serde_json::to_writer(&mut payload, many)?,
            }
            write!(payload, ",\"iat\":{issued},\"nbf\":{issued},\"exp\":{expires},\"jti\":\"{}\"", facts.id)
                .map_err(serde_json::Error::io)?;
            let fixed = policy.claims.fixed.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
            let is_fixed = |name: &str| policy.claims.fixed.iter().any(|(fixed, _)| fixed == name);
            for (name, value) in fixed.chain(request.data.members().filter(|(name, _)| !is_fixed(name))) {
                payload.push(b',');
                serde_json::to_writer(&mut payload, name)?;
                payload.push(b':');
                payload.extend_from_slice(value.get().as_bytes());
            }
            payload.push(b'}');
            Ok::<_, serde_json::Error>(())
        })();
        written.map_err(|_| Refusal::Invalid("the claims can not be written as JSON".into()))?;

        let subject = request.data.get("sub").and_then(string).map(|sub| sub.into_owned());
        Ok(Shaped { payload, lifetime, jti: Some(facts.id.to_owned()), subject })
    }
}

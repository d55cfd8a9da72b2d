//! `jwt`: any claims the client's policy allows, around them those that only the issuer sets (RFC 7519 §4.1).

use super::{Facts, Profile, ProfileError, Refusal, Shaped, Takes};
use crate::{admission::Admitted, policy::Audience};
use countersign_jose::json::string;
use countersign_keyring::{RingName, Signer};
use std::io::Write;

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

    fn takes(&self) -> Takes {
        Takes::Claims
    }

    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal> {
        let (begins, ends) = (facts.validity.begins().unix_seconds(), facts.validity.ends().unix_seconds());
        let mut payload = Vec::with_capacity(512);
        // Writing to a Vec and serialising strings do not fail; the results are folded all the same.
        let written = (|| {
            payload.extend_from_slice(b"{\"iss\":");
            serde_json::to_writer(&mut payload, facts.issuer)?;
            payload.extend_from_slice(b",\"aud\":");
            match admitted.audience() {
                Some(Audience::One(one)) => serde_json::to_writer(&mut payload, one)?,
                Some(Audience::Many(many)) => serde_json::to_writer(&mut payload, many)?,
                None => return Err(serde::ser::Error::custom("no audience")),
            }
            write!(payload, ",\"iat\":{begins},\"nbf\":{begins},\"exp\":{ends},\"jti\":\"{}\"", facts.id)
                .map_err(serde_json::Error::io)?;
            for (name, value) in admitted.claims().members() {
                payload.push(b',');
                serde_json::to_writer(&mut payload, name)?;
                payload.push(b':');
                payload.extend_from_slice(value.get().as_bytes());
            }
            payload.push(b'}');
            Ok::<_, serde_json::Error>(())
        })();
        written.map_err(|_| Refusal::Invalid("the claims cannot be written as JSON".into()))?;

        let subject = admitted.claims().get("sub").and_then(string).map(|sub| sub.into_owned());
        Ok(Shaped { payload, jti: Some(facts.id.to_owned()), subject })
    }
}

//! `jwt`: any claims the client's policy allows, around them those that only the issuer sets (RFC
//! 7519 §4.1).

use super::{Facts, Profile, ProfileError, Refusal, Shaped, Takes, registered, unwritable, write_claims};
use crate::admission::Admitted;
use countersign_jose::json::string;
use countersign_keyring::{RingName, Signer};

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
        let mut payload = registered(admitted, facts)?;
        write_claims(&mut payload, admitted.claims()).map_err(|_| unwritable())?;
        let subject = admitted.claims().get("sub").and_then(string).map(|sub| sub.into_owned());
        Ok(Shaped { payload, live: None, jti: Some(facts.id.to_owned()), subject, object: None })
    }
}

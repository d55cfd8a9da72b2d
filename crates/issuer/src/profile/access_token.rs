//! `access_token`: the JWT profile for OAuth 2.0 access tokens (RFC 9068 §2), minted by the grants
//! of `POST /token`.
//!
//! `sub`, `client_id`, `scope` and `act` come from the grant, never from what is sent and never
//! from `claims.fixed`. `typ` is `at+jwt`, or `JWT` for verifiers that refuse every other one.

use super::{Facts, Profile, ProfileError, Refusal, Shaped, Takes, Ways, registered};
use crate::{
    admission::{Admitted, Claims, GRANT_CLAIMS},
    policy::MintPolicy,
};
use countersign_keyring::{RingName, Signer};

/// The profile of access tokens.
#[derive(Debug, Clone)]
pub struct AccessTokenProfile {
    /// The ring that signs.
    pub ring: RingName,
    /// The header's `typ`.
    pub typ: AccessTokenTyp,
}

/// What access tokens call themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessTokenTyp {
    /// `at+jwt` (RFC 9068 §2.1).
    #[default]
    AtJwt,
    /// `JWT`, for verifiers that know no other.
    Jwt,
}

/// Claims that only a grant sets (RFC 9068 §2.2, RFC 8693 §4.1); more of them have no place in any
/// profile.
const OF_THE_GRANT: [&str; 2] = ["sub", "scope"];

impl Profile for AccessTokenProfile {
    fn name(&self) -> &'static str {
        "access_token"
    }

    fn ring(&self) -> &RingName {
        &self.ring
    }

    fn typ(&self) -> &'static str {
        match self.typ {
            AccessTokenTyp::AtJwt => "at+jwt",
            AccessTokenTyp::Jwt => "JWT",
        }
    }

    fn check_signer(&self, _: &dyn Signer) -> Result<(), ProfileError> {
        Ok(())
    }

    fn takes(&self) -> Takes {
        Takes::Claims
    }

    fn ways(&self) -> Ways {
        Ways::Granted
    }

    fn check_fixed(&self, fixed: Claims<'_>, _: &MintPolicy) -> Result<(), Refusal> {
        check_names(fixed)
    }

    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal> {
        check_names(admitted.claims())?;
        let granted = admitted.granted().ok_or(Refusal::Invalid(
            "tokens of profile access_token are minted by the grants of POST /token".into(),
        ))?;
        let subject = granted.subject.unwrap_or(facts.client);
        let mut payload = registered(admitted, facts)?;
        let written = (|| {
            for (name, value) in
                [("sub", Some(subject)), ("client_id", Some(facts.client)), ("scope", granted.scope)]
            {
                let Some(value) = value else { continue };
                payload.extend_from_slice(b",\"");
                payload.extend_from_slice(name.as_bytes());
                payload.extend_from_slice(b"\":");
                serde_json::to_writer(&mut payload, value)?;
            }
            if let Some(jkt) = granted.jkt {
                payload.extend_from_slice(b",\"cnf\":{\"jkt\":");
                serde_json::to_writer(&mut payload, jkt)?;
                payload.push(b'}');
            }
            write_actors(&mut payload, granted.actors)?;
            super::write_claims(&mut payload, admitted.claims())
        })();
        // Writing to a Vec and serialising strings do not fail; the results are folded all the
        // same.
        written.map_err(|_| super::unwritable())?;
        Ok(Shaped {
            payload,
            live: None,
            jti: Some(facts.id.to_owned()),
            subject: Some(subject.to_owned()),
            object: None,
        })
    }
}

/// `act`: each actor around the one before it (RFC 8693 §4.1).
fn write_actors(payload: &mut Vec<u8>, actors: &[String]) -> serde_json::Result<()> {
    for actor in actors {
        payload.extend_from_slice(b",\"act\":{\"sub\":");
        serde_json::to_writer(&mut *payload, actor)?;
    }
    payload.extend(actors.iter().map(|_| b'}'));
    Ok(())
}

fn check_names(claims: Claims<'_>) -> Result<(), Refusal> {
    let is_reserved = |name: &str| OF_THE_GRANT.contains(&name) || GRANT_CLAIMS.contains(&name);
    match claims.members().find(|(name, _)| is_reserved(name)) {
        Some((name, _)) => {
            let why = format!("the claim `{name}` is set by the grant in profile access_token");
            Err(Refusal::Invalid(why.into()))
        }
        None => Ok(()),
    }
}

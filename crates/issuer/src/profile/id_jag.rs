//! `id_jag`: identity assertion authorization grants
//! (draft-ietf-oauth-identity-assertion-authz-grant §4.3), by which the authorization server of
//! somebody else's API gives a client a token for one of our users.
//!
//! Minted by token exchange alone, by rules that say for which authorization server; everything but
//! the issuer's own claims comes from there. Five minutes is the longest life of one. It is no
//! access token, and has a `typ` of its own so that it is never taken for one (RFC 8725 §3.11).

use super::{Facts, Profile, ProfileError, Refusal, Shaped, Takes, Ways, registered};
use crate::{
    admission::{Admitted, Claims},
    policy::{Audience, MintPolicy},
};
use countersign_keyring::{RingName, Signer};

/// The profile of ID-JAGs.
#[derive(Debug, Clone)]
pub struct IdJagProfile {
    /// The ring that signs.
    pub ring: RingName,
}

impl IdJagProfile {
    /// Its name in a client's `profiles`.
    pub const NAME: &'static str = "id_jag";
    /// The header's `typ`.
    pub const TYP: &'static str = "oauth-id-jag+jwt";
}

/// Claims that only the grant sets.
const OF_THE_GRANT: [&str; 6] = ["sub", "client_id", "scope", "resource", "cnf", "act"];

impl Profile for IdJagProfile {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ring(&self) -> &RingName {
        &self.ring
    }

    fn typ(&self) -> &'static str {
        Self::TYP
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
        let by_rule =
            || Refusal::Invalid("tokens of profile id_jag are minted by rules that have `id_jags`".into());
        let granted = admitted.granted().ok_or_else(by_rule)?;
        let (id_jag, subject) = granted.id_jag.zip(granted.subject).ok_or_else(by_rule)?;
        if !matches!(admitted.audience(), Some(Audience::One(_))) {
            return Err(Refusal::Invalid("an ID-JAG is for one authorization server".into()));
        }
        let mut payload = registered(admitted, facts)?;
        let resource = match id_jag.resources {
            [] => None,
            [one] => Some(serde_json::to_value(one)),
            many => Some(serde_json::to_value(many)),
        };
        let written = (|| {
            let text = |value: &str| serde_json::Value::from(value);
            let members = [
                ("sub", Some(text(subject))),
                ("client_id", Some(text(id_jag.client_id))),
                ("scope", granted.scope.map(text)),
                ("resource", resource.transpose()?),
            ];
            for (name, value) in members {
                let Some(value) = value else { continue };
                payload.extend_from_slice(b",\"");
                payload.extend_from_slice(name.as_bytes());
                payload.extend_from_slice(b"\":");
                serde_json::to_writer(&mut payload, &value)?;
            }
            if let Some(jkt) = granted.jkt {
                payload.extend_from_slice(b",\"cnf\":{\"jkt\":");
                serde_json::to_writer(&mut payload, jkt)?;
                payload.push(b'}');
            }
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

fn check_names(claims: Claims<'_>) -> Result<(), Refusal> {
    match claims.members().find(|(name, _)| OF_THE_GRANT.contains(name)) {
        Some((name, _)) => {
            let why = format!("the claim `{name}` is set by the grant in profile id_jag");
            Err(Refusal::Invalid(why.into()))
        }
        None => Ok(()),
    }
}

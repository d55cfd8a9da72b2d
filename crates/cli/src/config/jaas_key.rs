//! A JaaS key from the three variables of the function that this replaces.

use super::{
    raw::jaas_ring,
    values::{at, jaas_app_id, parse},
};
use crate::failure::Outcome;
use countersign_issuer::{JaasProfile, is_jaas_kid};
use countersign_jose::{Algorithm, PrivateKey, SigningKey};
use countersign_keyring::{LocalSigner, RingName, Signer};
use countersign_settings::{Environment, SecretRef};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A JaaS key that came from the environment and is in no store.
#[derive(Debug, Clone)]
pub(crate) struct JaasKey {
    pub(crate) ring: RingName,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) profile: JaasProfile,
}

/// `docker --env-file` and some panels keep the quotation marks that a shell would take off.
fn without_quotes(text: &str) -> &str {
    let text = text.trim();
    let inside = |mark: char| text.strip_prefix(mark)?.strip_suffix(mark);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

impl JaasKey {
    /// The three variables of the Lambda function this replaces: they are enough, without any file.
    pub(crate) fn from_environment(environment: &Environment) -> Outcome<Option<Self>> {
        let Some(app_id) = environment.get("JAAS_APP_ID") else { return Ok(None) };
        let need = |name: &str| {
            environment.get(name).ok_or_else(|| {
                let missing = environment.why_missing(name);
                at(name, format!("{missing}, and JAAS_APP_ID is; profile jaas needs JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY"))
            })
        };
        let (kid, pem) = (need("JAAS_API_KID")?, need("PRIVATE_KEY")?);
        let (app_id, kid) = (without_quotes(app_id), without_quotes(kid));
        let app_id = jaas_app_id("JAAS_APP_ID", app_id)?;
        let elsewhere = pem.parse().ok().filter(SecretRef::is_remote);
        let pem = match elsewhere {
            Some(reference) => {
                reference.read(&environment.folder, environment).map_err(|why| at("PRIVATE_KEY", why))?
            }
            None => Zeroizing::new(pem.to_owned()),
        };
        if !is_jaas_kid(kid, &app_id) {
            // A private key may stand there by mistake, so nothing of it is repeated.
            let found = match kid.split_once('/') {
                None => "found no slash in it",
                Some((app, _)) if app != app_id => {
                    "found another AppID than that of JAAS_APP_ID in front of the slash"
                }
                Some(_) => "found no plain key id behind the slash",
            };
            let why = "must be the AppID (JAAS_APP_ID), a slash and the key id, as the JaaS console shows it under API keys";
            return Err(at("JAAS_API_KID", format!("{why}; {found}")));
        }
        let key = PrivateKey::from_pem(&pem).map_err(|why| at("PRIVATE_KEY", why))?;
        let key = SigningKey::new(&key, Algorithm::RS256).map_err(|why| at("PRIVATE_KEY", why))?;
        let ring: RingName = parse("profiles.jaas.ring", &jaas_ring())?;
        Ok(Some(Self {
            profile: JaasProfile { app_id, ring: ring.clone() },
            signer: Arc::new(LocalSigner::new(kid.to_owned(), key)),
            ring,
        }))
    }
}

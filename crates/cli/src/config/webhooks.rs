//! Events that others send to this server: the webhook of 8x8 JaaS.
//!
//! Secrets are read here, and an address that would take people's names over a network in clear
//! text is refused.

use super::{
    raw::RawConfig,
    values::{at, duration, jaas_app_id, parse},
};
use crate::failure::Outcome;
use countersign_settings::{Environment, SecretRef};
use countersign_webhooks::{JaasWebhookSettings, MAX_SECRETS, Target, TargetToken, WebhookSecret};
use std::{path::Path, time::Duration};
use zeroize::Zeroizing;

/// The webhook of JaaS, where there is one. `app_id` is that of profile `jaas`.
pub(super) fn jaas(
    raw: &RawConfig,
    app_id: Option<&str>,
    folder: &Path,
    environment: &Environment,
) -> Outcome<Option<JaasWebhookSettings>> {
    let Some(webhook) = &raw.webhooks.jaas else { return Ok(None) };
    let key = |name: &str| format!("webhooks.jaas.{name}");
    let secret = |key: &str, reference: &str| -> Outcome<Zeroizing<String>> {
        let reference: SecretRef = parse(key, reference)?;
        let text = reference.read(folder, environment).map_err(|why| at(key, why))?;
        // An editor puts a line end behind a secret, which is not part of it.
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    };
    if let Some(app_id) = &webhook.app_id {
        jaas_app_id(&key("app_id"), app_id)?;
    }
    let Some(app_id) = webhook.app_id.as_deref().or(app_id).filter(|id| !id.is_empty()) else {
        return Err(at(&key("app_id"), "whose events? name the AppID, or set up profile jaas"));
    };
    if !(1..=MAX_SECRETS).contains(&webhook.secrets.len()) {
        let why = format!(
            "{} secrets; give the one of the webhook, and while it changes both",
            webhook.secrets.len()
        );
        return Err(at(&key("secrets"), why));
    }
    let mut secrets = Vec::new();
    for (index, reference) in webhook.secrets.iter().enumerate() {
        let key = key(&format!("secrets[{index}]"));
        secrets.push(WebhookSecret::new(&secret(&key, reference)?).map_err(|why| at(&key, why))?);
    }
    let token = match &webhook.target_token {
        None => None,
        Some(_) if webhook.target.is_none() => {
            return Err(at(&key("target_token"), "has no effect without `target`; leave it out"));
        }
        Some(reference) => {
            let key = key("target_token");
            Some(TargetToken::new(&secret(&key, reference)?).map_err(|why| at(&key, why))?)
        }
    };
    let target = match &webhook.target {
        None if webhook.allow_http => {
            return Err(at(&key("allow_http"), "has no effect without `target`; leave it out"));
        }
        None if !raw.log.keeps_events() => {
            return Err(at(
                &key("target"),
                "without a target events go to the log, which leaves them out or may lose them; name one, or set log.audit = \"wait\" \
                 and a log.level with `info` for countersign::webhooks::event",
            ));
        }
        None => None,
        Some(address) => {
            let target = Target::new(address, webhook.allow_http, token);
            Some(target.map_err(|why| at(&key("target"), why))?)
        }
    };
    let window: Duration = duration("webhooks.jaas.window", &webhook.window)?;
    Ok(Some(JaasWebhookSettings { app_id: app_id.to_owned(), secrets, window, target }))
}

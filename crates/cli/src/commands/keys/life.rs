//! Moving keys along by hand: publish, activate, retire, remove. All of it is idempotent.

use super::{
    Context,
    reached::{self, Reached},
};
use crate::{
    authority::Authority,
    config::{Config, RingConfig},
    failure::{Failure, Outcome, refused},
    journal, output,
};
use countersign_keyring::{Change, Force, KeyringError, LifecycleError, RingName};

pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) authority: Authority,
}

impl Opened {
    pub(super) async fn new(context: &Context<'_>) -> Outcome<Self> {
        let config = context.load().await?;
        let authority = Authority::open(&config, context.environment).await?;
        Ok(Self { config, authority })
    }

    pub(super) fn ring(&self, name: &RingName) -> Outcome<&RingConfig> {
        self.config.ring(name)
    }

    async fn ring_of(&self, kid: &str) -> Outcome<&RingConfig> {
        let keyring = self.authority.keyring.read().await?;
        let ring = keyring.find(kid).map(|(ring, _)| ring);
        self.ring(ring.or(keyring.revocation(kid).map(|key| &key.ring)).ok_or_else(|| unknown(kid))?)
    }
}

fn unknown(kid: &str) -> Failure {
    let why = format!("there is no key {kid:?} in the keyring; `countersign keys list` shows its keys");
    refused("keyring_unknown_key", why)
}

/// Says what became of a key.
pub(super) async fn tell(context: &Context<'_>, opened: &Opened, kid: &str, change: Change) -> Outcome {
    let keyring = opened.authority.keyring.read().await?;
    let state = |ring, key| reached::state(&opened.config, ring, key);
    let living = keyring.find(kid).map(|(ring, key)| (ring.to_string(), state(ring, key)));
    let revoked = || keyring.revocation(kid).map(|key| (key.ring.to_string(), "revoked"));
    let (ring, state) = living.or_else(revoked).unwrap_or_default();
    if context.json {
        let line =
            serde_json::json!({ "ring": ring, "kid": kid, "state": state, "changed": change.was_made() });
        output::line(&line.to_string());
    } else {
        let already = if change.was_made() { "" } else { " already" };
        output::line(&format!("key {kid} in ring {ring} is {state}{already}"));
    }
    Ok(())
}

pub(super) async fn publish(context: &Context<'_>, kid: &str) -> Outcome {
    let opened = Opened::new(context).await?;
    let change = opened.authority.keyring.publish(kid, opened.authority.clock.now()).await?;
    tell(context, &opened, kid, change).await
}

pub(super) async fn activate(context: &Context<'_>, kid: &str, force: bool) -> Outcome {
    let opened = Opened::new(context).await?;
    let (ring, now) = (opened.ring_of(kid).await?, opened.authority.clock.now());
    let (policy, mut keyring) = (&ring.rotation, opened.authority.keyring.clone());
    let before = keyring.read().await?;
    let algorithm = before.find(kid).map(|(_, key)| key.algorithm);
    let reached = Reached::of(&opened.config, &ring.spec.name, algorithm);
    if force {
        let known_at = before
            .ring(&ring.spec.name)
            .and_then(|ring| ring.known_at(kid, policy, before.observations(), now));
        if known_at.is_none_or(|at| at > now) {
            keyring = keyring.with_journal(journal::of(Some("forced")));
            tracing::warn!(kid, "activated by force: {}", reached.who_refuses(policy.propagation));
        }
    }
    let change = keyring.activate(kid, policy, if force { Force::Yes } else { Force::No }, now).await;
    let change = change.map_err(|why| match &why {
        KeyringError::Lifecycle(LifecycleError::NotKnown { known_at, .. })
            if reached != Reached::Published =>
        {
            let advice = reached.not_yet(&ring.spec.name, policy.propagation, *known_at);
            refused(why.code(), format!("key {kid:?} {advice}"))
        }
        _ => why.into(),
    })?;
    tell(context, &opened, kid, change).await
}

pub(super) async fn retire(context: &Context<'_>, kid: &str) -> Outcome {
    let opened = Opened::new(context).await?;
    let change = opened.authority.keyring.retire(kid, opened.authority.clock.now()).await?;
    tell(context, &opened, kid, change).await
}

pub(super) async fn remove(context: &Context<'_>, kid: &str, signed_nothing: bool) -> Outcome {
    let opened = Opened::new(context).await?;
    let (keyring, now) = (&opened.authority.keyring, opened.authority.clock.now());
    let before = keyring.read().await?;
    let Some((ring, _)) = before.find(kid) else {
        return match before.revocation(kid) {
            Some(revoked) => stays_revoked(context, kid, &revoked.ring),
            None => Err(unknown(kid)),
        };
    };
    let change = if signed_nothing {
        // It may be in a ring that no configuration has.
        keyring.undo_import(kid, now).await?
    } else {
        let policy = &opened.ring(ring)?.rotation;
        keyring.remove(kid, policy.keep_retired, policy.skew, now).await?
    };
    if keyring.read().await?.revocation(kid).is_some() {
        // It was marked, or somebody has revoked it meanwhile.
        return stays_revoked(context, kid, ring);
    }
    if context.json {
        let changed = change.was_made();
        let line = serde_json::json!({ "ring": ring, "kid": kid, "state": null, "changed": changed });
        output::line(&line.to_string());
    } else {
        let already = if change.was_made() { "" } else { " already" };
        output::line(&format!("key {kid} is removed from ring {ring}{already}"));
    }
    Ok(())
}

/// A revoked key is gone already, and its name is not forgotten.
fn stays_revoked(context: &Context<'_>, kid: &str, ring: &RingName) -> Outcome {
    if context.json {
        let line = serde_json::json!({ "ring": ring, "kid": kid, "state": "revoked", "changed": false });
        output::line(&line.to_string());
    } else {
        output::line(&format!(
            "key {kid} in ring {ring} is revoked and stays so: nothing is there to remove"
        ));
    }
    Ok(())
}

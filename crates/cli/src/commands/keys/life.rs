//! Moving keys along by hand: prepare, publish, activate, retire, revoke, and one turn of the rotation. All of it twice is once.

use super::{Context, reached::Reached};
use crate::{
    authority::Authority,
    config::{Config, RingConfig},
    failure::{Failure, Outcome, refused},
    journal, output,
    rotation::{self, Rotation, Turn},
};
use countersign_keyring::{Change, Force, KeyringError, LifecycleError, RingName};

struct Opened {
    config: Config,
    authority: Authority,
}

impl Opened {
    async fn new(context: &Context<'_>) -> Outcome<Self> {
        let config = context.load().await?;
        let authority = Authority::open(&config, context.environment).await?;
        Ok(Self { config, authority })
    }

    fn ring(&self, name: &RingName) -> Outcome<&RingConfig> {
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
async fn tell(context: &Context<'_>, opened: &Opened, kid: &str, change: Change) -> Outcome {
    let keyring = opened.authority.keyring.read().await?;
    let living = keyring.find(kid).map(|(ring, key)| (ring.to_string(), key.state.name()));
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

pub(super) async fn prepare(context: &Context<'_>, ring: &RingName) -> Outcome {
    let opened = Opened::new(context).await?;
    let ring = opened.ring(ring)?;
    let spec = &ring.spec;
    if !spec.make_first_key {
        return Err(refused(
            "ring_imports",
            "the keys of this ring are made elsewhere; use `countersign keys import`",
        ));
    }
    let key = opened.authority.keyring.prepare(spec, opened.authority.clock.now()).await?;
    let change = if key.made { Change::Made } else { Change::AlreadySo };
    if key.made {
        ring.warn_of_refusals(spec.algorithm);
    }
    tell(context, &opened, &key.kid, change).await
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
    let change = change.map_err(|why| match (&why, reached.not_to_be_seen()) {
        (KeyringError::Lifecycle(LifecycleError::NotKnown { .. }), Some(advice)) => {
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
    let ring = if signed_nothing {
        // It may be in a ring that no configuration has.
        let found = keyring.read().await?.find(kid).map(|(ring, _)| ring.clone());
        let ring = found.ok_or_else(|| unknown(kid))?;
        keyring.undo_import(kid, now).await?;
        ring
    } else {
        let ring = opened.ring_of(kid).await?;
        keyring.remove(kid, ring.rotation.keep_retired, now).await?;
        ring.spec.name.clone()
    };
    if context.json {
        let line = serde_json::json!({ "ring": ring, "kid": kid, "state": null, "changed": true });
        output::line(&line.to_string());
    } else {
        output::line(&format!("key {kid} is removed from ring {ring}"));
    }
    Ok(())
}

pub(super) async fn rotate(context: &Context<'_>) -> Outcome {
    let opened = Opened::new(context).await?;
    let rotation = Rotation::new(&opened.config, &opened.authority);
    let turn = rotation.turn(opened.authority.clock.now()).await?;
    let outcome = unseen(&turn, &rotation.address);
    if context.json {
        let mut report = rotation::report(&turn);
        if let (Some(members), Some(Ok(seen))) = (report.as_object_mut(), &turn.look) {
            members.insert("seen_keys".into(), seen.iter().cloned().collect());
        }
        if outcome.is_ok() {
            output::line(&report.to_string());
        }
        return outcome.map_err(|why| why.with("turn", report));
    }
    match &turn.look {
        None => {}
        Some(Ok(seen)) => {
            let kids = seen.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            output::line(&format!(
                "seen {} at {}: {kids}",
                output::counted(seen.len(), "key"),
                rotation.address
            ));
        }
        Some(Err(why)) => output::line(&format!("nothing seen at {}: {why}", rotation.address)),
    }
    for done in &turn.done {
        output::line(&format!("{} key {} in ring {}", rotation::name(&done.step), done.kid, done.ring));
    }
    if turn.done.is_empty() && outcome.is_ok() {
        output::line("nothing is due");
    }
    outcome
}

/// Whether the world can verify what is signed.
fn unseen(turn: &Turn, address: &str) -> Outcome {
    let Some((ring, kid)) = turn.unseen.first() else { return Ok(()) };
    let why = format!(
        "key {kid:?} signs in ring {ring} and is not at {address}, so that verifiers refuse its tokens; \
         run `countersign publish`, or see what stands at that address"
    );
    Err(refused("active_key_not_public", why))
}

//! `countersign keys revoke`: the emergency path. It says what was done, what could not be, and
//! what is left to do.
//!
//! A key is revoked when its mark is written or the keyring says so; the exit code is that and
//! nothing else. The mark needs the store alone, so the command goes on without a sealing key. A
//! successor is looked after last. What is left to do depends on how verifiers came to the key: by
//! the public documents, or by hand. Pinned by crates/keyring/tests/suite/revocation.rs and
//! tests/e2e/test_revoke.py.

use super::{
    Context,
    reached::{self, Reached},
};
use crate::{
    authority::{self, Authority},
    config::{Config, RingConfig},
    failure::{Failure, Outcome, configuration, internal, refused},
    hints, output,
    stores::{self, FirstKeys},
};
use countersign_jose::Timestamp;
use countersign_keyring::{Replaced, Revocation, RingName, SealingKey, StoredKeyring};
use countersign_store::{Clock, SystemClock};
use std::sync::Arc;

pub(super) async fn run(context: &Context<'_>, kid: &str) -> Outcome {
    let config = context.load().await?;
    let now = SystemClock.now();
    let (keyring, unsealed) = match Authority::open(&config, context.environment).await {
        Ok(authority) => (authority.keyring, None),
        Err(why) => (without_sealing_key(context, &config).await?, Some(why)),
    };
    let revocation = keyring.revoke(kid, now).await?;
    if !revocation.counts() {
        let mark = revocation.mark.and_then(Result::err);
        let why = mark.or(revocation.record.err());
        return Err(why.map_or_else(|| internal("the key is not revoked"), Failure::from));
    }
    if let Some(others) = &revocation.others {
        return Err(nobodys_name(kid, others));
    }
    if let Some(Ok(Replaced::Yes)) = &revocation.mark {
        tracing::error!(
            "the store's marks of revocation were damaged or too many, and were replaced: somebody else may write to \
             the store; revoke again what was revoked and is not in `countersign keys list`"
        );
    }
    let ring = revocation.revoked.as_ref().map(|key| key.ring.clone());
    let configured = ring.as_ref().and_then(|name| config.rings.iter().find(|ring| ring.spec.name == *name));
    let (active, replacement) = successor(&keyring, &revocation, configured, now).await;
    let recorded = match (&revocation.record, unsealed) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(why)) => Err(why.to_string()),
        (Err(why), None) => Err(why.to_string()),
    };
    if context.json {
        let line = serde_json::json!({
            "kid": kid, "ring": ring, "state": "revoked", "changed": !revocation.was_revoked(),
            "recorded": recorded.is_ok(), "not_recorded": recorded.as_ref().err(),
            "active": active, "no_replacement": replacement,
        });
        output::line(&line.to_string());
        return Ok(());
    }
    let refresh = humantime::format_duration(config.refresh);
    let already = if revocation.was_revoked() { " already" } else { "" };
    let of = ring.as_ref().map_or_else(String::new, |ring| format!(" in ring {ring}"));
    output::line(&format!("key {kid}{of} is revoked{already}"));
    if let Err(why) = &recorded {
        output::line(&format!(
            "It is marked, which counts for every server within {refresh}. It could not be recorded in the keyring: {why}. \
             The next server or command that has the sealing key records it; until then, somebody who can write to the \
             store can remove the mark from servers that have not seen it."
        ));
    } else {
        output::line(&format!(
            "Running servers stop signing with it and showing it within {refresh} (store.refresh)."
        ));
    }
    let algorithm = revocation.revoked.as_ref().map(|key| key.algorithm);
    let reached = ring.as_ref().map(|ring| Reached::of(&config, ring, algorithm));
    for line in reached::left_to_do(reached) {
        output::line(&hints::carry(line));
    }
    if let Some(ring) = &ring {
        output::line(&now_signs(
            ring,
            configured,
            active.as_deref(),
            replacement.as_deref(),
            &refresh.to_string(),
        ));
    }
    if let Some(arn) = revocation.revoked.as_ref().and_then(|key| key.remote_name()) {
        output::line(&format!(
            "The KMS key itself is still there and signs for anyone who may use it: aws kms disable-key --key-id {arn}"
        ));
        if arn.contains(":key/mrk-") {
            output::line(
                "So does each of its replicas: the same again with `--region` and the name it has there.",
            );
        }
    }
    Ok(())
}

/// A name that no key has, as far as a keyring can be believed that does not open. Its mark is
/// written all the same, because somebody who can write to the store may have taken the key out.
fn nobodys_name(kid: &str, others: &[String]) -> Failure {
    let has = if others.is_empty() { "none at all".to_owned() } else { others.join(", ") };
    let why = format!(
        "key {kid:?} is marked as revoked, but no key may have that name: the keyring cannot be verified, and it names {has}; if the \
         name was mistyped, revoke the key that was meant"
    );
    refused("keyring_unknown_key", why)
}

/// The store alone: what is sealed does not open, and a mark can be written.
async fn without_sealing_key(context: &Context<'_>, config: &Config) -> Outcome<StoredKeyring> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = stores::of(config, context.environment, FirstKeys::Refuse, clock).await?;
    let store = store.ok_or_else(|| configuration("there is no store, so there is no key to revoke"))?;
    let (nobodys, _) = SealingKey::generate().map_err(internal)?;
    Ok(authority::keyring(config, store, Arc::new(nobodys).into()))
}

/// The key that signs in the ring now; one is made where that is possible, or why it is not.
async fn successor(
    keyring: &StoredKeyring,
    revocation: &Revocation,
    ring: Option<&RingConfig>,
    now: Timestamp,
) -> (Option<String>, Option<String>) {
    if revocation.active.is_some() || revocation.record.is_err() {
        return (revocation.active.clone(), None);
    }
    let Some(ring) = ring.filter(|ring| ring.spec.make_first_key) else { return (None, None) };
    match keyring.replace(&ring.spec, now).await {
        Ok(active) => (active, None),
        Err(why) => (None, Some(why.to_string())),
    }
}

fn now_signs(
    ring: &RingName,
    configured: Option<&RingConfig>,
    active: Option<&str>,
    replacement: Option<&str>,
    refresh: &str,
) -> String {
    match (active, replacement, configured) {
        (Some(active), _, _) => {
            format!("Key {active} signs in ring {ring}; running servers use it within {refresh}.")
        }
        (None, Some(why), _) => format!(
            "Ring {ring} has no key to sign with now, because none could be made: {why}. A running server, or `countersign \
             keys rotate --once`, makes one as soon as that is possible."
        ),
        (None, None, Some(ring)) if ring.spec.make_first_key => {
            format!("Ring {} has no key to sign with now; a running server makes one.", ring.spec.name)
        }
        (None, None, Some(ring)) if ring.spec.algorithm.is_symmetric() => format!(
            "Ring {0} has no key to sign with now; `countersign keys prepare --ring {0} --show-secret` makes one, which signs at once.",
            ring.spec.name
        ),
        (None, None, Some(ring)) => {
            format!("Ring {} has no key to sign with now; import one.", ring.spec.name)
        }
        (None, None, None) => format!("Ring {ring} is not in the configuration, so no key was made for it."),
    }
}

//! `countersign keys init`: the first keys of a new authority whose configuration was written by
//! hand.
//!
//! The way to say that there never were any: no other command makes a keyring, because a store that
//! is lost, mistyped or not mounted looks just like a new one. Idempotent: of an authority that has
//! its keys, nothing is changed.

use super::Context;
use crate::{
    authority::{Authority, FirstKey},
    config::RingConfig,
    failure::Outcome,
    output,
};

pub(super) async fn run(context: &Context<'_>) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open_new(&config, context.environment).await?;
    let (keyring, made) = authority.load_and_tell(&config).await?;
    if context.json {
        let made: Vec<_> = made
            .iter()
            .map(|FirstKey { ring, kid }| serde_json::json!({ "ring": ring, "kid": kid }))
            .collect();
        output::line(&serde_json::json!({ "made": made }).to_string());
        return Ok(());
    }
    for FirstKey { ring, kid } in &made {
        output::line(&format!("made key {kid}, the first of ring {ring}"));
    }
    let signs = |ring: &RingConfig| keyring.ring(&ring.spec.name).is_some_and(|ring| ring.active().is_some());
    for ring in config.rings.iter().filter(|ring| ring.spec.algorithm.is_symmetric() && !signs(ring)) {
        output::line(&format!(
            "ring {0} has no key yet: `countersign keys prepare --ring {0} --show-secret` makes a secret and shows it",
            ring.spec.name
        ));
    }
    if made.is_empty() {
        output::line("every ring that makes its own keys has one already; nothing was changed");
    }
    Ok(())
}

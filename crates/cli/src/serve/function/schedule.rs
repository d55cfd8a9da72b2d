//! What a scheduled event does: one turn of the rotation, as `countersign keys rotate --once` takes
//! it, then what `[publish]` says.
//!
//! Everything is read anew, so that a key which is changed is changed in what is there now. Several
//! schedules, or one that comes round twice, do no harm. What fails is the error of the invocation:
//! Lambda tries again, and an alarm on errors tells.

use super::{AtWork, Function, load};
use crate::{
    authority::{self, Authority},
    commands,
    failure::{Outcome, internal, refused},
    rotation::{self, Rotation, Witness},
};
use countersign_issuer::Concern;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};

/// How long the end of an event waits for the keys that it has changed. The next request takes them
/// up otherwise.
const LOOK: Duration = Duration::from_secs(10);

impl Function<'_> {
    pub(super) async fn scheduled(&self) -> Outcome<Box<RawValue>> {
        let mut at_work = self.at_work.lock().await;
        let config = load(self.context).await?;
        let (clock, environment) = (Arc::clone(&self.clock), self.context.environment);
        let mut authority = Authority::open_by(clock, config.first_keys, &config, environment).await?;
        if let Some(at_work) = at_work.as_ref() {
            may_turn(at_work)?;
            authority.keyring = authority.keyring.with_memory_of(&at_work.refresh.keyring);
        }
        authority.load(&config).await?;
        let rotation = Rotation::new(&config, &authority);
        let at_work_now = at_work.as_ref();
        let witness = at_work_now.map_or(Witness::Answer, |at_work| Witness::Running(&at_work.issuer));
        let turn = rotation.turn(self.clock.now(), witness).await?;
        turn.record(&rotation.address);
        let mut report = rotation::report(&turn);
        if let Some(publish) = config.raw.publish.clone() {
            let keyring = authority.load(&config).await?;
            let issuer = authority::issuer(config, keyring, Arc::clone(&self.clock))?;
            let written = commands::publish::as_configured(&publish, &issuer).await?;
            if let Some(report) = report.as_object_mut() {
                report.insert("published".to_owned(), written.into());
            }
        }
        if let Some(at_work) = at_work.as_mut() {
            at_work.look(self.clock.moment(), LOOK).await;
        }
        tracing::info!(%report, "a scheduled turn of the key rotation is done");
        serde_json::value::to_raw_value(&report).map_err(internal)
    }
}

/// As the rotator of the server: not by a clock that was set, and not on less than was seen.
fn may_turn(at_work: &AtWork) -> Outcome {
    let refuse = |why: String| Err(refused("rotation_refused", why));
    if let Some(jump) = at_work.issuer.clock_jump() {
        return refuse(format!("no key is made, activated or removed: {jump}"));
    }
    if at_work.issuer.concerns().contains(&Concern::StoreWentBack) {
        return refuse("no key is changed while the store holds less than this function has seen".to_owned());
    }
    Ok(())
}

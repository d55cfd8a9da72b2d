//! The background task that rotates keys: a turn every now and then, not at the same moment as
//! other instances.
//!
//! While the clock shows another time than has passed since the server was started, it takes none
//! (`rotation`).

use crate::rotation::{Rotation, TurnError, Witness};
use countersign_issuer::{Concern, Issuer};
use countersign_store::Clock;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

/// Runs until it is aborted. What fails is tried again with the next turn; of several instances one
/// takes each step.
pub(super) async fn run(rotation: Rotation, clock: Arc<dyn Clock>, issuer: Arc<Issuer>) {
    loop {
        tokio::time::sleep(jittered(rotation.every())).await;
        // Read before it is judged: a jump that comes later does not change it.
        let now = clock.now();
        if issuer.concerns().contains(&Concern::StoreWentBack) {
            tracing::error!(
                "no key is made, activated or removed while the store holds less than this server has seen"
            );
            continue;
        }
        match rotation.turn(now, Witness::Running(&issuer)).await {
            Ok(turn) => {
                turn.record(&rotation.address);
                if let Some((kids, at)) = turn.found {
                    issuer.saw_in_public(&kids, at);
                }
            }
            Err(why @ TurnError::Clock(_)) => tracing::error!("{why}"),
            Err(why) => tracing::error!("a turn of the key rotation failed: {why}"),
        }
    }
}

/// Up to a tenth less. The standard library's hash keys are random, which is all that is asked for.
fn jittered(every: Duration) -> Duration {
    let tenth = u64::try_from(every.as_millis() / 10).unwrap_or(u64::MAX);
    let less = RandomState::new().build_hasher().finish().checked_rem(tenth).unwrap_or_default();
    every.saturating_sub(Duration::from_millis(less))
}

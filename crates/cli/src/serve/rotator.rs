//! The background task that rotates keys: a turn every now and then, not at the same moment as other instances.

use crate::rotation::Rotation;
use countersign_store::Clock;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

/// Runs until it is aborted. What fails is tried again with the next turn; of several instances one takes each step.
pub(super) async fn run(rotation: Rotation, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(jittered(rotation.every())).await;
        if let Err(why) = rotation.turn(clock.now()).await {
            tracing::error!("a turn of the key rotation failed: {why}");
        }
    }
}

/// Up to a tenth less. The standard library's hash keys are random, which is all that is asked for.
fn jittered(every: Duration) -> Duration {
    let tenth = u64::try_from(every.as_millis() / 10).unwrap_or(u64::MAX);
    let less = RandomState::new().build_hasher().finish().checked_rem(tenth).unwrap_or_default();
    every.saturating_sub(Duration::from_millis(less))
}

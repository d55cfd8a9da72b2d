//! `countersign keys correct-times`: times of the keyring that lie in the future become now, and
//! what followed from them.
//!
//! For a keyring that a machine wrote to whose clock was ahead. Nobody but a person can say whether
//! that or the clock at hand is wrong, so no other command does it.

use super::Context;
use crate::{authority::Authority, failure::Outcome, output};

pub(super) async fn run(context: &Context<'_>) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let now = authority.clock.now();
    let corrected = authority.keyring.correct_times(config.skew, now).await?;
    if context.json {
        let rows = corrected
            .iter()
            .map(|time| serde_json::json!({ "kid": time.kid, "time": time.name, "was": time.at, "is": time.corrected }));
        output::line(&serde_json::json!({ "corrected": rows.collect::<Vec<_>>() }).to_string());
        return Ok(());
    }
    for time in &corrected {
        output::line(&format!("key {}: {} was {}, and is {}", time.kid, time.name, time.at, time.corrected));
    }
    if corrected.is_empty() {
        output::line("no time lies in the future; nothing was changed");
    }
    Ok(())
}

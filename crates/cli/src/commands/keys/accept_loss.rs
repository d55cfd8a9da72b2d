//! `countersign keys accept-loss`: keys that running servers know and the store has lost are given
//! up by name.
//!
//! The servers go on with what they know until somebody does this or restores the store, and their
//! message has the command with the names and the number to give. Tokens that the lost keys signed
//! are refused from then on.

use super::Context;
use crate::{authority::Authority, failure::Outcome, output};

pub(super) async fn run(context: &Context<'_>, kids: &[String], sequence: u64) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let accepted = authority.keyring.accept_losses(kids, sequence, authority.clock.now()).await?;
    let keyring = authority.keyring.read().await?;
    if context.json {
        let report = serde_json::json!({ "accepted": accepted, "sequence": keyring.sequence() });
        output::line(&report.to_string());
    } else {
        output::line(&format!(
            "accepted the loss of {}; the keyring has sequence {} now, and running servers take it over",
            output::counted(accepted.len(), "key"),
            keyring.sequence()
        ));
    }
    Ok(())
}

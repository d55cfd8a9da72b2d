//! `countersign keys reseal`: every private key under the current sealing key, by one change. Twice
//! is once.

use super::Context;
use crate::{
    authority::Authority,
    failure::{Outcome, refused},
    output,
};
use countersign_keyring::{DataKey, Resealed};

pub(super) async fn run(context: &Context<'_>, new_data_key: bool) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let data_key = if new_data_key { DataKey::New } else { DataKey::Same };
    let Some(report) = authority.keyring.reseal(data_key, authority.clock.now()).await? else {
        let why = format!(
            "sealing.key is {}, which is not a KMS key; make a new one by hand, and put the old one into sealing.also",
            config.sealing
        );
        return Err(refused("no_data_key", why));
    };
    let Resealed { sealing_key, resealed, unchanged, remote, before } = report;
    if context.json {
        let line = serde_json::json!({
            "sealing_key": sealing_key, "resealed": resealed, "unchanged": unchanged, "kms": remote,
            "before": before,
        });
        output::line(&line.to_string());
        return Ok(());
    }
    let before = if before.is_empty() {
        String::new()
    } else {
        format!(", before under {}", before.into_iter().collect::<Vec<_>>().join(", "))
    };
    let remote = if remote == 0 { String::new() } else { format!("; in KMS and not sealed: {remote}") };
    let resealed = output::counted(resealed, "key");
    output::line(&format!(
        "sealed {resealed} again under sealing key {sealing_key}{before}; under it already: {unchanged}{remote}"
    ));
    Ok(())
}

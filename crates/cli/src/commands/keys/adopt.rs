//! `countersign keys adopt`: a keyring of a format that was not authenticated, shown and then taken
//! over.
//!
//! Without a digest it changes nothing and shows every key; with the digest that was shown it takes
//! over exactly that. A key that the operator does not know, or a revoked one that is shown as
//! retired, was put there by somebody else: then the keyring is to be restored from a backup.
//! Pinned by tests/e2e/test_adopt.py.

use super::Context;
use crate::{authority::Authority, failure::Outcome, output};
use countersign_keyring::{Adoptable, AdoptableKey};

pub(super) async fn run(context: &Context<'_>, digest: Option<&str>) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let (found, adopted) = match digest {
        None => (authority.keyring.adoptable().await?, false),
        Some(digest) => {
            let now = authority.clock.now();
            (authority.keyring.adopt(digest, &config.needs(), now).await?, true)
        }
    };
    match found {
        Some(found) if context.json => output::line(&json(&found, adopted).to_string()),
        Some(found) => show(&found, adopted),
        None if context.json => {
            output::line(&serde_json::json!({ "adopted": false, "keys": [] }).to_string())
        }
        None => output::line("nothing to adopt: the store has no keyring of an older format"),
    }
    Ok(())
}

fn show(found: &Adoptable, adopted: bool) {
    let keys = output::counted(found.keys.len(), "key");
    output::line(&format!("format {}, which is not authenticated; {keys}", found.format));
    for AdoptableKey { ring, kid, algorithm, state, created_at, remote_name, sealed_by, certificate } in
        &found.keys
    {
        let place = match (remote_name, sealed_by) {
            (Some(name), _) => format!("in KMS as {name}"),
            (None, Some(id)) => format!("sealed by {id}"),
            (None, None) => String::new(),
        };
        let certificate = certificate.as_deref().unwrap_or("none");
        output::line(&format!(
            "  {ring}  {state}  {algorithm}  {created_at}  {place}  certificate {certificate}  {kid}"
        ));
    }
    output::line(&if adopted {
        "adopted: the keyring is authenticated from now on; delete backups of the old format".to_owned()
    } else {
        format!(
            "Nothing was changed. If these are your keys, in the states you know: countersign keys adopt --digest {}",
            found.digest
        )
    });
}

fn json(found: &Adoptable, adopted: bool) -> serde_json::Value {
    let keys = found.keys.iter().map(|key| {
        serde_json::json!({
            "ring": key.ring, "kid": key.kid, "algorithm": key.algorithm, "state": key.state,
            "created_at": key.created_at, "kms": key.remote_name, "sealed_by": key.sealed_by,
            "certificate": key.certificate,
        })
    });
    serde_json::json!({
        "adopted": adopted, "format": found.format, "digest": found.digest, "keys": keys.collect::<Vec<_>>(),
    })
}

//! `countersign client new`: a secret, shown once, and the configuration to paste. Writes nothing.

use super::Context;
use crate::{
    args::ClientCommand,
    failure::{Outcome, internal},
    output, scaffold,
};
use countersign_issuer::ClientSecret;

pub(super) fn run(context: &Context<'_>, command: ClientCommand) -> Outcome {
    let ClientCommand::New { id, audience, claim } = command;
    let secret =
        ClientSecret::generate().ok_or_else(|| internal("the operating system gives no random numbers"))?;
    let audiences = if audience.is_empty() { vec!["api://default".to_owned()] } else { audience };
    let claims = if claim.is_empty() { vec!["sub".to_owned()] } else { claim };
    let snippet = scaffold::client_snippet(id.as_str(), &secret, &audiences, &claims);
    if context.json {
        let body = serde_json::json!({
            "client_id": id.as_str(), "client_secret": secret.expose(),
            "secret_hash": secret.hash().to_string(), "toml": snippet,
        });
        output::line(&body.to_string());
        return Ok(());
    }
    output::line(&format!(
        "client_id:     {id}\nclient_secret: {}   (shown only once)\n\nAdd this to {} and restart the server:\n\n{}",
        secret.expose(),
        context.file().display(),
        snippet.trim_end(),
    ));
    Ok(())
}

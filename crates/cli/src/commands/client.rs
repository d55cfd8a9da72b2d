//! `countersign client new`: a secret, shown once, and the configuration to paste. Writes nothing.
//!
//! A client that signs assertions has no secret: its keys are its own, and only where the public ones are is told.

use super::Context;
use crate::{
    args::{ClientAuth, ClientCommand, NewClientArgs},
    failure::{Outcome, internal, usage},
    output,
    scaffold::{self, Authentication, NewClient, NewTokens},
};
use countersign_issuer::{ClientSecret, GrantType};

pub(super) fn run(context: &Context<'_>, command: ClientCommand) -> Outcome {
    let ClientCommand::New(args) = command;
    match args.auth {
        ClientAuth::Secret if args.jwks.is_some() => {
            Err(usage("--jwks is for a client that signs assertions; add --auth private_key_jwt"))
        }
        ClientAuth::Secret => with_secret(context, &args),
        ClientAuth::PrivateKeyJwt => with_assertions(context, &args),
    }
}

fn with_secret(context: &Context<'_>, args: &NewClientArgs) -> Outcome {
    let secret =
        ClientSecret::generate().ok_or_else(|| internal("the operating system gives no random numbers"))?;
    let (id, snippet) = (&args.id, snippet(args, Authentication::Secret(&secret)));
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

fn with_assertions(context: &Context<'_>, args: &NewClientArgs) -> Outcome {
    let keys = match &args.jwks {
        None => format!("file:{}.jwks.json", args.id),
        Some(url) if url.contains("://") => url.clone(),
        Some(file) => format!("file:{}", file.strip_prefix("file:").unwrap_or(file)),
    };
    let (id, snippet) = (&args.id, snippet(args, Authentication::Assertion(&keys)));
    if context.json {
        let body = serde_json::json!({ "client_id": id.as_str(), "toml": snippet });
        output::line(&body.to_string());
        return Ok(());
    }
    output::line(&format!(
        "client_id: {id}\n\nIts public keys are read from {keys}. Add this to {} and restart the server:\n\n{}",
        context.file().display(),
        snippet.trim_end(),
    ));
    Ok(())
}

fn snippet(args: &NewClientArgs, authentication: Authentication<'_>) -> String {
    let default = |given: &[String], default: &str| {
        if given.is_empty() { vec![default.to_owned()] } else { given.to_vec() }
    };
    let (audiences, claims) = (default(&args.audience, "api://default"), default(&args.claim, "sub"));
    let tokens = match args.grant.as_slice() {
        [] => NewTokens::Claims(&claims),
        grants => NewTokens::Grants(grants.iter().copied().map(GrantType::name).collect(), &args.scope),
    };
    scaffold::client_snippet(&NewClient {
        id: args.id.as_str(),
        authentication,
        audiences: &audiences,
        tokens,
    })
}

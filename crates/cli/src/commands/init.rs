//! `countersign init`: the configuration, store, sealing key and first client, without serving.
//!
//! With `--key` the first key is one that is there already, so that an issuer can go on with it.
//! What variables say of issuer, store and sealing key is what is made and written.

use super::{Context, keys};
use crate::{
    args::InitArgs,
    failure::{Outcome, refused, usage},
    hints, output,
    scaffold::{self, FirstClients, Made},
};
use countersign_issuer::IssuerUrl;
use countersign_jose::Algorithm;
use countersign_settings::log;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) async fn run(context: &Context<'_>, args: &InitArgs) -> Outcome {
    log::start(&context.quiet_level("warn,countersign::audit=info"))?;
    context.location.check_free()?;
    let key = args
        .key
        .as_deref()
        .map(|file| keys::read_one(file, args.kid.as_deref(), args.algorithm))
        .transpose()?;
    let algorithm = key.as_ref().map(|key| key.algorithm).or(args.algorithm).unwrap_or(Algorithm::RS256);
    if algorithm.is_symmetric() {
        return Err(usage(
            "an issuer whose keys are published needs an asymmetric algorithm, like RS256 or ES256",
        ));
    }
    let (said_by, issuer) = match (&args.issuer, context.environment.get("COUNTERSIGN_ISSUER")) {
        (Some(issuer), _) => ("--issuer", issuer.clone()),
        (None, Some(issuer)) => ("COUNTERSIGN_ISSUER", issuer.to_owned()),
        (None, None) => ("issuer", "http://127.0.0.1:8080".to_owned()),
    };
    let parsed = IssuerUrl::parse(&issuer, context.http).map_err(|why| usage(format!("{said_by}: {why}")))?;
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), parsed.loopback_port().unwrap_or(8080));
    let plan = scaffold::Plan {
        file: context.file(),
        issuer,
        listen,
        algorithm,
        http: context.http,
        key,
        clients: if args.no_client { FirstClients::Nobody } else { FirstClients::One },
    };
    let Some(Made { issuer, client }) = scaffold::create(&plan, context.environment).await? else {
        return Err(refused("already_there", "another program made the configuration at the same moment"));
    };
    let file = context.file().display();
    if context.json {
        let body = match &client {
            Some(client) => client.json(),
            None => serde_json::json!({ "issuer": issuer.as_str() }),
        };
        output::line(&body.to_string());
        return Ok(());
    }
    let next = match &client {
        Some(client) => format!(
            "Start it with `countersign serve`, then mint a token (this secret is shown only once):\n  {}",
            client.curl()
        ),
        None => "Declare who may ask for tokens with `countersign client new`, then start it with `countersign serve`.".to_owned(),
    };
    output::line(&format!("Made {file}.\nissuer: {issuer}\n\n{}", hints::carry(&next)));
    Ok(())
}
